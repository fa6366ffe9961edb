"""Keys from an ID Quantique key server, by IDQ3P."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idq3p.client import Idq3pClient, IssuedKey
from idq3p.codec import PORT
from idq3p.errors import Idq3pError, KeyIdUnknownError, NoMoreKeysError
from key_management.errors import KeySourceError
from key_management.sources.port import VENDOR_KEY_ID_BYTES, VendorKey


class Idq3pSource:
    """The key server of one Clavis2 unit."""

    def __init__(self, client: Idq3pClient, *, emulated: bool) -> None:
        self._client = client
        self.emulated = emulated

    def new_keys(self, limit: int) -> list[VendorKey]:
        taken: list[VendorKey] = []
        try:
            while len(taken) < limit:
                taken.append(_vendor_key(self._client.new_key()))
        except NoMoreKeysError:
            pass
        except Idq3pError as error:
            # What was delivered before is good; the server will not deliver it again.
            if not taken:
                raise KeySourceError(error.detail, next_step=error.next_step) from error
        return taken

    def keys_by_ids(self, vendor_key_ids: Sequence[bytes]) -> list[VendorKey]:
        found: list[VendorKey] = []
        for vendor_key_id in vendor_key_ids:
            try:
                found.append(
                    _vendor_key(self._client.key_by_id(int.from_bytes(vendor_key_id, "big")))
                )
            except (KeyIdUnknownError, NoMoreKeysError):
                continue
            except Idq3pError as error:
                for key in found:
                    key.wipe()
                raise KeySourceError(error.detail, next_step=error.next_step) from error
        return found

    def close(self) -> None:
        self._client.close()


def _vendor_key(issued: IssuedKey) -> VendorKey:
    try:
        return VendorKey(
            issued.key_id.to_bytes(VENDOR_KEY_ID_BYTES, "big"), bytearray(issued.key.reveal())
        )
    finally:
        issued.key.wipe()


def open_source(options: Mapping[str, Any]) -> Idq3pSource:
    """The driver `idq3p`. Options: address, port (5323), device_id (1), timeout_s, attempts,
    emulated (False)."""
    return Idq3pSource(
        Idq3pClient(
            options["address"],
            int(options.get("port", PORT)),
            device_id=int(options.get("device_id", 1)),
            timeout_s=float(options.get("timeout_s", 5.0)),
            attempts=int(options.get("attempts", 3)),
        ),
        emulated=bool(options.get("emulated", False)),
    )
