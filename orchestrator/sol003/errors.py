"""Errors of the SOL003 interfaces.

OrchestratorError
├── MalformedRequestError      400: a body or query that is not as SOL003 or SOL013 say
├── AdditionalParamsError      422: additionalParams that cannot be meant
├── ScaleRefusedError          422: a scaling that the VNFD does not allow
├── VnfInstanceStateError      409: not in this state
├── StaleTagError              412: If-Match holds another version than there is
├── ApiVersionError            406: a Version of the interface that is not spoken
├── UnknownVnfInstanceError    404
├── UnknownVnfPackageError     404
├── UnknownArtifactError       404: the package has no such file
├── VnfPackageStateError       409: the package is not in this state
├── PackageRefusedError        422: its content cannot be onboarded; told by the package itself
├── PackageTooLargeError       413: more bytes than any package has
├── PackageLimitError          409: its project holds as much of packages as it may
├── PackageBrokenOffError      400: its connection ended before its content did
├── UnacceptableFormError      406: it is not answered in the form that was asked for
└── UnknownVnfdError           422: no package has a VNFD of this id
"""

from __future__ import annotations

from orchestrator.errors import NotFoundError, OrchestratorError


class MalformedRequestError(OrchestratorError):
    slug = "malformed-request"
    title = "The request is not as the standard says"


class AdditionalParamsError(OrchestratorError):
    slug = "additional-params-refused"
    title = "The additionalParams cannot be like this"


class ScaleRefusedError(OrchestratorError):
    slug = "scaling-refused"
    title = "The VNF cannot be scaled like this"


class VnfInstanceStateError(OrchestratorError):
    slug = "wrong-vnf-instance-state"
    title = "The VNF instance's state does not allow this"


class StaleTagError(OrchestratorError):
    slug = "stale-etag"
    title = "It has changed since it was read"


class ApiVersionError(OrchestratorError):
    slug = "version-not-supported"
    title = "This version of the interface is not spoken here"


class UnknownVnfInstanceError(NotFoundError):
    slug = "unknown-vnf-instance"
    title = "There is no such VNF instance"


class UnknownVnfPackageError(NotFoundError):
    slug = "unknown-vnf-package"
    title = "There is no such VNF package"


class UnknownArtifactError(NotFoundError):
    slug = "unknown-artifact"
    title = "There is no such artifact"


class VnfPackageStateError(OrchestratorError):
    slug = "wrong-vnf-package-state"
    title = "The VNF package's state does not allow this"


class PackageRefusedError(OrchestratorError):
    slug = "vnf-package-refused"
    title = "This is no VNF package that can be onboarded"


class PackageTooLargeError(OrchestratorError):
    slug = "vnf-package-too-large"
    title = "The VNF package is too large"


class PackageLimitError(OrchestratorError):
    slug = "too-many-vnf-packages"
    title = "The project holds as much of VNF packages as it may"


class PackageBrokenOffError(OrchestratorError):
    slug = "vnf-package-broken-off"
    title = "The VNF package did not come whole"


class UnacceptableFormError(OrchestratorError):
    slug = "not-acceptable"
    title = "It is not answered in this form"


class UnknownVnfdError(OrchestratorError):
    slug = "unknown-vnfd"
    title = "There is no such VNFD"
