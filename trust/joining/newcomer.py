"""The new side: makes its keys here, and gets certificates for them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict, ValidationError

from problem_details.answers import read
from trust.authority import key_pem
from trust.credentials import Credentials
from trust.errors import JoinRefusedError
from trust.files import Owner, write_secret, write_whole
from trust.identity import Identity
from trust.joining.token import MAC_HEADER, JoinToken

_TIMEOUT_S = 30.0


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    certificates: dict[str, str]
    authority: str
    revocations: str
    terms: dict[str, Any]


def join(token: JoinToken, folder: Path, *, owner: Owner | None = None) -> dict[str, Any]:
    """Get a certificate for each service of the token, into `folder`; what we are told beside.

    The keys are `owner`'s, or ours. Can be repeated after a break: the keys that were made the
    first time are used again. Raises JoinRefusedError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = {identity: _key(folder, identity) for identity in token.identities}
    if owner is not None:
        for identity in keys:
            os.chown(Credentials.in_folder(folder, identity).key, owner.uid, owner.gid)
    requests = {str(identity): _request(identity, key) for identity, key in keys.items()}
    with httpx.Client(base_url=f"http://{token.address}", timeout=_TIMEOUT_S) as http:
        given = _ask(http, token, json.dumps({"requests": requests}).encode())
        _check(given, token, keys)
        for identity in token.identities:
            files = Credentials.in_folder(folder, identity)
            write_whole(files.certificate, given.certificates[str(identity)].encode())
            write_whole(files.authority, given.authority.encode())
            assert files.revocations is not None
            write_whole(files.revocations, given.revocations.encode())
        _tell_received(http, token)
    return given.terms


def _ask(http: httpx.Client, token: JoinToken, body: bytes) -> _Answer:
    answer = _post(http, token, "/join", "request", body)
    if not token.is_true("answer", answer.content, answer.headers.get(MAC_HEADER, "")):
        raise JoinRefusedError(
            f"{token.address} does not have the token: its answer is not believed.",
            next_step="Somebody else may answer at that address; see who.",
        )
    try:
        return _Answer.model_validate_json(answer.content)
    except ValidationError as error:
        raise JoinRefusedError(
            "The answer has another form.", next_step="Run the same version of qnfv on both sides."
        ) from error


def _tell_received(http: httpx.Client, token: JoinToken) -> None:
    _post(http, token, "/join/received", "received", b"{}")


def _post(
    http: httpx.Client, token: JoinToken, path: str, kind: str, body: bytes
) -> httpx.Response:
    try:
        answer = http.post(path, content=body, headers={MAC_HEADER: token.mac(kind, body)})
    except httpx.TransportError as error:
        raise JoinRefusedError(
            f"{token.address} does not answer ({type(error).__name__}: {error}).",
            next_step="`qnfv dc add` must still wait there, and be reachable from here; then try"
            " again with the same token.",
        ) from error
    if not answer.is_success:
        kind_of_content = answer.headers.get("content-type", "")
        problem = read(answer.status_code, kind_of_content, answer.content)
        raise JoinRefusedError(
            f"{token.address} refused: {problem.detail or problem.title}",
            next_step=problem.next_step or "",
        )
    return answer


def _check(
    given: _Answer, token: JoinToken, keys: dict[Identity, ec.EllipticCurvePrivateKey]
) -> None:
    """Whether the certificates are for our keys, and by the authority that the token names."""
    try:
        authority = x509.load_pem_x509_certificate(given.authority.encode())
        if authority.fingerprint(hashes.SHA256()).hex() != token.authority:
            raise ValueError("it is another authority")
        for identity, key in keys.items():
            certificate = x509.load_pem_x509_certificate(given.certificates[str(identity)].encode())
            certificate.verify_directly_issued_by(authority)
            if certificate.public_key() != key.public_key():
                raise ValueError("it is for another key")
    except (ValueError, TypeError, KeyError) as error:
        raise JoinRefusedError(
            f"The certificates that came are of no use: {error}.",
            next_step="Let a new token be made with `qnfv dc add`.",
        ) from error


def _key(folder: Path, identity: Identity) -> ec.EllipticCurvePrivateKey:
    file = Credentials.in_folder(folder, identity).key
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_secret(file, key_pem(key))
    except ValueError as error:
        raise JoinRefusedError(
            f"{file} holds no key.", next_step="Remove it, or choose another folder."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise JoinRefusedError(
            f"{file} holds a key of another kind.",
            next_step="Remove it, or choose another folder.",
        )
    return key


def _request(identity: Identity, key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.dns_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()
