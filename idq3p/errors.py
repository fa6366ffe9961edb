"""What can go wrong between us and a QKD unit.

    Idq3pError
    ├── MalformedDatagramError      bytes that are not a valid IDQ3P datagram
    ├── KeyServerSilentError        no valid answer within all attempts
    ├── KeyServerNotListeningError  nothing listens at the address
    ├── UnsoundKeyError             an answer of status Success that cannot be a key
    └── KeyServerRefusalError       the server answered with an error status
        ├── NoMoreKeysError         nothing in store now (an ordinary outcome)
        ├── KeyIdUnknownError       no key under this id
        ├── WrongKeyLengthError     the server does not serve this length
        └── InvalidKeyRequestError  the server finds the request invalid

No error carries key octets.
"""

from __future__ import annotations

from problem_details import ProblemError


class Idq3pError(ProblemError):
    """Root of this package's errors."""

    slug = "idq3p-error"
    title = "The QKD unit could not be used"


class MalformedDatagramError(Idq3pError):
    slug = "idq3p-malformed-datagram"
    title = "A datagram is not valid IDQ3P"


class KeyServerSilentError(Idq3pError):
    slug = "key-server-silent"
    title = "The key server does not answer"


class KeyServerNotListeningError(Idq3pError):
    slug = "key-server-not-listening"
    title = "No key server listens at this address"


class UnsoundKeyError(Idq3pError):
    slug = "unsound-key"
    title = "The key server delivered something that cannot be a key"


class KeyServerRefusalError(Idq3pError):
    slug = "key-server-refusal"
    title = "The key server refused the request"


class NoMoreKeysError(KeyServerRefusalError):
    slug = "no-more-keys"
    title = "The key server has no key in store"


class KeyIdUnknownError(KeyServerRefusalError):
    slug = "key-id-unknown"
    title = "The key server holds no key under this id"


class WrongKeyLengthError(KeyServerRefusalError):
    slug = "wrong-key-length"
    title = "The key server does not serve this key length"


class InvalidKeyRequestError(KeyServerRefusalError):
    slug = "invalid-key-request"
    title = "The key server finds the request invalid"
