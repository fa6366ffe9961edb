"""Errors of this package.

TrustError
├── CredentialsError        a certificate or key file is missing, unreadable or of no use
├── AuthorityExistsError    `init` would overwrite an authority
├── UnknownCertificateError the authority never issued such a certificate
├── RevocationListError     a list of revoked certificates is not the authority's, or too old
├── JoinTokenError          a join token that cannot be read
├── JoinRefusedError        one side of joining does not believe the other
└── NotAllowedError         the caller's certificate has no role for this
"""

from __future__ import annotations

from problem_details import ProblemError


class TrustError(ProblemError):
    slug = "trust"
    title = "A question of certificates"


class CredentialsError(TrustError):
    slug = "bad-credentials"
    title = "The certificate or key cannot be used"


class AuthorityExistsError(TrustError):
    slug = "authority-exists"
    title = "There is an authority already"


class UnknownCertificateError(TrustError):
    slug = "unknown-certificate"
    title = "The authority issued no such certificate"


class RevocationListError(TrustError):
    slug = "bad-revocation-list"
    title = "The list of revoked certificates is refused"


class JoinTokenError(TrustError):
    slug = "bad-join-token"
    title = "The join token cannot be used"


class JoinRefusedError(TrustError):
    slug = "join-refused"
    title = "Joining was refused"


class NotAllowedError(TrustError):
    slug = "not-allowed"
    title = "This certificate has no right to do that"
