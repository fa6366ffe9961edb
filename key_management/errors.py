"""Errors of this package.

KeyManagementError
├── NoKeyAvailableError    the pool of a link is empty now
├── UnknownKeyError        this end does not hold that key id
├── KeyStateError          the key is in a state that does not allow this
├── KeyAlreadyUsedError    the key protected another message; it never protects a second one
├── KeySourceError         the QKD unit's key server does not answer as it should
├── KeyAgreementError      the two ends extracted different keys; the batch was burned
├── WrappingKeyError       a wrapping key is missing, so its keys cannot be opened
└── AccountsDifferError    keys are missing from the store, or there are too many
"""

from __future__ import annotations

from problem_details import ProblemError


class KeyManagementError(ProblemError):
    slug = "key-management"
    title = "The key store cannot do that"


class NoKeyAvailableError(KeyManagementError):
    slug = "no-key-available"
    title = "No key is available"


class UnknownKeyError(KeyManagementError):
    slug = "unknown-key"
    title = "This end does not hold that key"


class KeyStateError(KeyManagementError):
    slug = "wrong-key-state"
    title = "The key's state does not allow this"


class KeyAlreadyUsedError(KeyManagementError):
    slug = "key-already-used"
    title = "A key protects one message, once"


class KeySourceError(KeyManagementError):
    slug = "key-source"
    title = "The QKD unit did not deliver"


class KeyAgreementError(KeyManagementError):
    slug = "keys-disagree"
    title = "The two ends hold different keys"


class WrappingKeyError(KeyManagementError):
    slug = "wrapping-key-missing"
    title = "The wrapping key is missing"


class AccountsDifferError(KeyManagementError):
    slug = "accounts-differ"
    title = "The key store does not add up"
