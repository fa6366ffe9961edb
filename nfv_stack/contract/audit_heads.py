"""Heads of an orchestrator's audit chain, signed, as data centres keep them (docs/audit.md)."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from nfv_stack.contract.errors import HeadRefusedError
from nfv_stack.contract.schemas import Name
from trust import Credentials, Identity, Role

_MAGIC = b"qnfv-audit-head-1\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SignedHead(BaseModel):
    """Where a chain ended, said by the orchestrator `orchestrator` at a moment."""

    model_config = ConfigDict(extra="forbid")

    orchestrator: Name
    sequence: int = Field(ge=1, lt=2**63)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    at: AwareDatetime
    signature: str = Field(max_length=256)
    """ECDSA P-256 with SHA-256 over the canonical bytes; DER, in Base64."""
    certificate: str = Field(max_length=8192)
    """The signer's, in PEM."""


MOST_HEADS = 10_000
"""A witness is asked for so many at most: its newest thousand, and one a day for two decades."""


class HeadsView(BaseModel):
    """What a data centre keeps of one orchestrator, newest first."""

    heads: list[SignedHead]


def sign_head(
    name: str, sequence: int, hash_: bytes, at: datetime, credentials: Credentials
) -> SignedHead:
    """Sign with the service's own key. Raises OSError or ValueError for an unusable key file."""
    key = serialization.load_pem_private_key(credentials.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{credentials.key} holds no key of an elliptic curve")
    # Microseconds are what is signed, so no more than those are told.
    at = _EPOCH + timedelta(microseconds=_microseconds(at))
    signature = key.sign(_bytes(name, sequence, hash_, at), ec.ECDSA(hashes.SHA256()))
    return SignedHead(
        orchestrator=name,
        sequence=sequence,
        hash=hash_.hex(),
        at=at,
        signature=base64.b64encode(signature).decode(),
        certificate=_leaf(credentials.certificate.read_bytes()),
    )


def _leaf(chain: bytes) -> str:
    """Without the authorities between, which a certificate's file may hold too."""
    pem = x509.load_pem_x509_certificate(chain).public_bytes(serialization.Encoding.PEM)
    return pem.decode()


def _check_issuer(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> None:
    """Raises ValueError or InvalidSignature."""
    issuers = [one for one in authorities if one.subject == certificate.issuer]
    if not issuers:
        raise ValueError("another authority issued it")
    certificate.verify_directly_issued_by(issuers[0])


def check_head(signed: SignedHead, authority_pem: bytes) -> None:
    """Whether an orchestrator that our authority knew then signed it. Raises HeadRefusedError."""
    try:
        certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
        _check_issuer(certificate, x509.load_pem_x509_certificates(authority_pem))
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the signer's key is of another kind")
        key.verify(
            base64.b64decode(signed.signature, validate=True),
            _bytes(signed.orchestrator, signed.sequence, bytes.fromhex(signed.hash), signed.at),
            ec.ECDSA(hashes.SHA256()),
        )
        signer = Identity.from_certificate(certificate)
    except (ValueError, TypeError, binascii.Error, InvalidSignature, x509.ExtensionNotFound) as e:
        raise _refused(f"its signature does not hold ({type(e).__name__})") from e
    if signer != Identity(Role.ORCHESTRATOR, signed.orchestrator):
        raise _refused(f"{signer or 'nobody'} signed for orchestrator:{signed.orchestrator}")
    if not certificate.not_valid_before_utc <= signed.at <= certificate.not_valid_after_utc:
        raise _refused("its signer's certificate was not valid at that moment")


def _refused(why: str) -> HeadRefusedError:
    return HeadRefusedError(
        f"This head of an audit chain is refused: {why}.",
        next_step="See whose certificates the authority issued, and when.",
    )


def _bytes(name: str, sequence: int, hash_: bytes, at: datetime) -> bytes:
    encoded = name.encode()
    return b"".join(
        (
            _MAGIC,
            struct.pack(">I", len(encoded)),
            encoded,
            struct.pack(">Qq", sequence, _microseconds(at)),
            hash_,
        )
    )


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
