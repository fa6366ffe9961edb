"""The files with which a service proves itself and checks its peers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trust.identity import Identity


@dataclass(frozen=True)
class Credentials:
    """PEM files of one service; each connection is made with what they hold at that time.

    `revocations` is the authority's list of revoked certificates; without it nobody is asked.
    `allowed_peers` names who may call this service, as `ROLE:NAME`; empty lets in whomever the
    authority knows. `tls_key_log` is for the laboratory's capture mode alone: the session keys of
    every connection are written there (the form of NSS), so that whoever has the file can read
    what was captured.
    """

    certificate: Path
    key: Path
    authority: Path
    tls_key_log: Path | None = None
    revocations: Path | None = None
    allowed_peers: tuple[str, ...] = ()

    @classmethod
    def in_folder(cls, folder: Path, identity: Identity) -> Credentials:
        stem = f"{identity.name}.{identity.role.value}"
        return cls(
            folder / f"{stem}.pem",
            folder / f"{stem}.key",
            folder / AUTHORITY_FILE,
            revocations=folder / REVOCATIONS_FILE,
        )

    @property
    def table(self) -> dict[str, str]:
        """The settings' table `credentials` that names these files."""
        table = {
            "certificate": str(self.certificate),
            "key": str(self.key),
            "authority": str(self.authority),
        }
        return table if self.revocations is None else table | {"revocations": str(self.revocations)}

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a connection rests on."""
        files = (self.certificate, self.key, self.authority)
        return files if self.revocations is None else (*files, self.revocations)


AUTHORITY_FILE = "authority.pem"
REVOCATIONS_FILE = "revoked.pem"
