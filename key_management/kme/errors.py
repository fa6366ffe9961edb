"""Errors of a KME. Their answers at ETSI 014 are decided in `key_management.etsi014.endpoints`.

KmeError
├── UnknownSaeError         no such SAE is known here, or it cannot be reached from here
├── CallerNotKnownError     the caller's certificate belongs to no SAE of this KME
├── NotNamedError           the key was made for other SAEs
├── KeyRequestError         the request breaks a limit of this KME
├── KeysNotFoundError       no such keys, or they were delivered already, or are over
├── EmulatedKeysRefusedError    the store holds emulated keys, and this KME delivers none
├── QuotaError              the pair of SAEs took as many keys as it may for now
├── UnknownKmeLinkError     no such link ends here
├── BatchEndedError         this allocation was given up at the other end
└── PeerError               the KME at the other end of the link
    ├── PeerNotReachedError     could not be asked; nothing was sent
    ├── PeerSilentError         did not answer; nobody knows what it did
    └── PeerRefusedError        refused, with its reason
"""

from __future__ import annotations

from typing import Any

from key_management.errors import KeyManagementError
from problem_details import Problem


class KmeError(KeyManagementError):
    slug = "kme"
    title = "The KME cannot do that"


class UnknownSaeError(KmeError):
    slug = "unknown-sae"
    title = "This SAE is not known"


class CallerNotKnownError(KmeError):
    slug = "caller-not-known"
    title = "The caller is no SAE of this KME"


class NotNamedError(KmeError):
    slug = "not-named"
    title = "The key was made for other SAEs"


class KeyRequestError(KmeError):
    """`faults` say which members of the request are wrong: (member, what is wrong)."""

    slug = "bad-key-request"
    title = "The request for keys is not valid"

    def __init__(self, message: str, *, next_step: str = "", faults: dict[str, Any]) -> None:
        super().__init__(message, next_step=next_step)
        self.faults = faults


class KeysNotFoundError(KmeError):
    slug = "keys-not-found"
    title = "One or more keys are not found"


class EmulatedKeysRefusedError(KmeError):
    slug = "emulated-keys-refused"
    title = "Emulated keys are not delivered here"


class QuotaError(KmeError):
    slug = "sae-quota"
    title = "This pair of SAEs took its keys"


class UnknownKmeLinkError(KmeError):
    slug = "unknown-kme-link"
    title = "There is no such link"


class BatchEndedError(KmeError):
    slug = "batch-ended"
    title = "This allocation was given up"


class PeerError(KmeError):
    slug = "kme-peer"
    title = "The KME at the other end did not take part"


class PeerNotReachedError(PeerError):
    slug = "kme-peer-not-reached"
    title = "The KME at the other end is not reached"


class PeerSilentError(PeerError):
    slug = "kme-peer-silent"
    title = "The KME at the other end did not answer"


class PeerRefusedError(PeerError):
    slug = "kme-peer-refused"
    title = "The KME at the other end refused"

    def __init__(self, peer: str, problem: Problem) -> None:
        super().__init__(
            f"{peer} refused: {problem.detail or problem.title}.".replace("..", "."),
            next_step=problem.next_step,
            peer=peer,
        )
        self.problem = problem
