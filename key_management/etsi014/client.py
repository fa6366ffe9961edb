"""A client of ETSI GS QKD 014 V1.1.1: what an application (SAE) says to its KME."""

from __future__ import annotations

import base64
import binascii
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import ValidationError

from key_management.etsi014.documents import ErrorDocument, Status
from key_management.etsi014.errors import (
    Etsi014Error,
    KmeRefusedError,
    KmeUnavailableError,
    KmeUnreachableError,
)
from trust import Credentials, Identity, Role
from trust.client import open_client
from trust.errors import CredentialsError


@dataclass
class ReceivedKey:
    """A key as the KME delivered it; never shown."""

    key_id: UUID
    key: bytearray = field(repr=False)
    emulated: bool

    def wipe(self) -> None:
        self.key[:] = bytes(len(self.key))


class Etsi014Client:
    """Speaks to one KME through an `httpx.Client` that shows the SAE's certificate.

    Raises KmeUnreachableError, KmeUnavailableError (503) or KmeRefusedError (400, 401). No request
    is repeated: an answer that was lost has lost its keys.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def close(self) -> None:
        self._http.close()

    def status(self, slave_sae: str) -> Status:
        answer = self._ask("GET", slave_sae, "status")
        try:
            return Status.model_validate_json(answer.content)
        except ValidationError as error:
            raise _no_014("status") from error

    def enc_keys(
        self,
        slave_sae: str,
        *,
        number: int = 1,
        size_bit: int | None = None,
        additional_slave_saes: Sequence[str] = (),
    ) -> list[ReceivedKey]:
        """New keys, of which the slaves fetch the same ones."""
        body: dict[str, Any] = {"number": number}
        if size_bit is not None:
            body["size"] = size_bit
        if additional_slave_saes:
            body["additional_slave_SAE_IDs"] = list(additional_slave_saes)
        return _keys(self._ask("POST", slave_sae, "enc_keys", body))

    def dec_keys(self, master_sae: str, key_ids: Sequence[UUID]) -> list[ReceivedKey]:
        """The keys that `master_sae` got under these ids."""
        body = {"key_IDs": [{"key_ID": str(key_id)} for key_id in key_ids]}
        return _keys(self._ask("POST", master_sae, "dec_keys", body))

    def _ask(
        self, method: str, sae: str, what: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        path = f"/api/v1/keys/{quote(sae, safe='')}/{what}"
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise KmeUnreachableError(
                f"The KME at {self._http.base_url} does not answer "
                f"({type(error).__name__}: {error}).",
                next_step="Check its address, and the certificates of both.",
            ) from error
        if answer.status_code == 200:
            return answer
        try:
            document = ErrorDocument.model_validate_json(answer.content)
        except ValidationError:
            document = ErrorDocument(message=f"HTTP {answer.status_code}")
        details = "; ".join(
            f"{name}: {why}" for detail in document.details for name, why in detail.items()
        )
        kind = KmeUnavailableError if answer.status_code == 503 else KmeRefusedError
        raise kind(
            f"The KME answered {answer.status_code} to {what}: {document.message}."
            + (f" ({details})" if details else ""),
            next_step="Wait for new keys." if answer.status_code == 503 else "Correct the request.",
            status=answer.status_code,
        )


def open_etsi014(
    url: str, credentials: Credentials, *, kme: str | None = None, timeout_s: float = 20.0
) -> Etsi014Client:
    """A client of the KME at `url`; `kme` is its name where our own authority named it.

    Another vendor's KME is checked by the host name in `url`, with TLS 1.2 or newer.
    """
    if kme is not None:
        peer = Identity(Role.KME, kme)
        return Etsi014Client(
            open_client(url, credentials=credentials, peer=peer, timeout_s=timeout_s)
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(credentials.authority)
        context.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ssl.SSLError) as error:
        raise CredentialsError(
            f"Cannot use {credentials.certificate} with its key and {credentials.authority}: "
            f"{error}.",
            next_step="Check the paths, and that key and certificate belong together.",
        ) from error
    return Etsi014Client(httpx.Client(base_url=url, verify=context, timeout=timeout_s))


def _keys(answer: httpx.Response) -> list[ReceivedKey]:
    keys: list[ReceivedKey] = []
    try:
        for item in json.loads(answer.content)["keys"]:
            extension = item.get("key_extension")
            source = extension.get("source") if isinstance(extension, dict) else None
            keys.append(
                ReceivedKey(
                    UUID(item["key_ID"]),
                    bytearray(base64.b64decode(item["key"], validate=True)),
                    source == "emulated",
                )
            )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        for key in keys:
            key.wipe()
        # Without its cause: that would show what the answer holds.
        raise _no_014("keys") from None
    return keys


def _no_014(what: str) -> Etsi014Error:
    return Etsi014Error(
        f"The KME's {what} are not of the form of ETSI GS QKD 014 V1.1.1.",
        next_step="Check that the address is that of a KME.",
    )
