"""The trusted side: signs for one newcomer, once."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from problem_details import rest
from trust.authority import SERVICE_DAYS, Authority
from trust.bodies import body_within
from trust.errors import JoinRefusedError
from trust.identity import Identity
from trust.joining.token import MAC_HEADER, JoinToken

_MOST_BYTES = 64 * 1024
_LOOK_EVERY_S = 0.2


class _Requests(BaseModel):
    model_config = ConfigDict(extra="forbid")

    requests: dict[str, str]


class JoinDesk:
    """One token, one newcomer. Thread-safe."""

    def __init__(
        self,
        authority: Authority,
        identities: Mapping[Identity, tuple[str, ...]],
        *,
        address: str,
        terms: Mapping[str, Any],
        valid_s: float,
        days: int = SERVICE_DAYS,
    ) -> None:
        """`identities` with the further addresses of each certificate; `terms` is what the newcomer
        is told beside; `address` is where the newcomer reaches us."""
        self.token = JoinToken(
            address,
            tuple(identities),
            authority.fingerprint,
            secrets.token_bytes(32),
            datetime.now(UTC) + timedelta(seconds=valid_s),
        )
        self._authority = authority
        self._identities = dict(identities)
        self._terms = dict(terms)
        self._days = days
        self._lock = threading.Lock()
        self._bound_to = b""
        self._answer = b""
        self.has_joined = threading.Event()

    def sign(self, body: bytes, mac: str) -> bytes:
        """The answer to a newcomer's request. Raises JoinRefusedError."""
        self._check("request", body, mac)
        keys = self._keys(body)
        wanted = hashlib.sha256()
        for identity in sorted(keys, key=str):
            wanted.update(f"{identity}\n".encode() + _spki(keys[identity]))
        with self._lock:
            if self._bound_to and self._bound_to != wanted.digest():
                raise JoinRefusedError(
                    "This token was used with other keys.",
                    next_step="If that was not you, revoke those certificates (`qnfv pki revoke`);"
                    " then let a new token be made.",
                )
            if not self._bound_to:
                self._answer = self._signed(keys)
                self._bound_to = wanted.digest()
            return self._answer

    def received(self, body: bytes, mac: str) -> None:
        """The newcomer has its certificates. Raises JoinRefusedError."""
        self._check("received", body, mac)
        self.has_joined.set()

    def _check(self, kind: str, body: bytes, mac: str) -> None:
        if not self.token.is_true(kind, body, mac):
            raise JoinRefusedError(
                "Whoever sent this does not have the token.",
                next_step="Use the token that was printed here.",
            )
        if self.token.is_over():
            raise JoinRefusedError(
                f"The token ended at {self.token.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
                next_step="Let a new one be made with `qnfv dc add`.",
            )

    def _keys(self, body: bytes) -> dict[Identity, ec.EllipticCurvePublicKey]:
        try:
            requests = _Requests.model_validate_json(body).requests
            keys = {Identity.parse(name): _key_of(csr) for name, csr in requests.items()}
        except (ValidationError, ValueError, TypeError) as error:
            raise JoinRefusedError(
                f"The certificate requests cannot be read ({type(error).__name__}).",
                next_step="Run the same version of qnfv on both sides.",
            ) from error
        if keys.keys() != self._identities.keys():
            raise JoinRefusedError(
                f"The token is for {', '.join(sorted(map(str, self._identities)))}, the requests"
                f" are for {', '.join(sorted(map(str, keys))) or 'nobody'}.",
                next_step="Join with the token as it was printed.",
            )
        return keys

    def _signed(self, keys: Mapping[Identity, ec.EllipticCurvePublicKey]) -> bytes:
        certificates = {
            str(identity): self._authority.sign(
                key, identity, addresses=self._identities[identity], days=self._days
            ).decode()
            for identity, key in keys.items()
        }
        answer = {
            "certificates": certificates,
            "authority": self._authority.certificate_pem.decode(),
            "revocations": self._authority.revocations.read_bytes().decode(),
            "terms": self._terms,
        }
        return json.dumps(answer).encode()

    # --- serving

    def serve(self, host: str, port: int) -> bool:
        """Wait for the newcomer; whether it joined before the token ended, or we were stopped."""
        server = uvicorn.Server(
            uvicorn.Config(
                self._app(), host=host, port=port, log_config=None, access_log=False,
                timeout_graceful_shutdown=2,
            )
        )  # fmt: skip
        over = threading.Event()

        def watch() -> None:
            while not (self.has_joined.wait(_LOOK_EVERY_S) or over.is_set()):
                if self.token.is_over():
                    break
            server.should_exit = True

        watcher = threading.Thread(target=watch, name="join-desk", daemon=True)
        watcher.start()
        try:
            server.run()
        finally:
            over.set()
            watcher.join()
        return self.has_joined.is_set()

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        rest.install(app, {JoinRefusedError: 403})

        @app.post("/join")
        async def ask(request: Request) -> Response:
            body = await _limited(request)
            answer = self.sign(body, request.headers.get(MAC_HEADER, ""))
            mac = self.token.mac("answer", answer)
            return Response(answer, media_type="application/json", headers={MAC_HEADER: mac})

        @app.post("/join/received", status_code=204)
        async def received(request: Request) -> Response:
            self.received(await _limited(request), request.headers.get(MAC_HEADER, ""))
            return Response(status_code=204)

        return app


async def _limited(request: Request) -> bytes:
    too_large = JoinRefusedError(
        f"The message has more than {_MOST_BYTES} bytes.",
        next_step="Run the same version of qnfv on both sides.",
    )
    return await body_within(request, _MOST_BYTES, too_large)


def _key_of(csr_pem: str) -> ec.EllipticCurvePublicKey:
    csr = x509.load_pem_x509_csr(csr_pem.encode())
    key = csr.public_key()
    if not csr.is_signature_valid:
        raise ValueError("the request is not signed by its key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TypeError("the key is of another kind")
    return key


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
