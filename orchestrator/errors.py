"""Errors of the orchestrator, beside those of the rooms that it calls.

OrchestratorError
├── NotFoundError
│   ├── UnknownImageError
│   ├── UnknownDataCentreError
│   ├── UnknownDeploymentError
│   ├── UnknownLinkError
│   ├── UnknownKeyIdError
│   └── UnknownOperationError
├── ImageRefusedError          not an image that can be catalogued; `detail` says why
├── ImageInUseError            a deployment uses it
├── DeploymentStateError       the deployment's state does not allow this
├── CircuitWaitError           no free port within the time that the user wanted to wait
├── PadTooLargeError           policy gives no one-time pad of that size
├── KeyWaitError               no key within the time that the user wanted to wait
├── TransferFailedError        the image could not be brought over
├── ReceiptError               the data centre's receipt does not hold
└── AccessError                token, Host or Origin of a request are not right
"""

from __future__ import annotations

from problem_details import ProblemError


class OrchestratorError(ProblemError):
    slug = "orchestrator"
    title = "The orchestrator cannot do that"


class NotFoundError(OrchestratorError):
    slug = "not-found"
    title = "There is no such thing"


class UnknownImageError(NotFoundError):
    slug = "unknown-image"
    title = "There is no such image"


class UnknownDataCentreError(NotFoundError):
    slug = "unknown-data-centre"
    title = "There is no such data centre"


class UnknownDeploymentError(NotFoundError):
    slug = "unknown-deployment"
    title = "There is no such deployment"


class UnknownLinkError(NotFoundError):
    slug = "unknown-link"
    title = "There is no such QKD link"


class UnknownKeyIdError(NotFoundError):
    slug = "unknown-key-id"
    title = "There is no such key"


class UnknownOperationError(NotFoundError):
    slug = "unknown-operation"
    title = "There is no such operation"


class ImageRefusedError(OrchestratorError):
    slug = "image-refused"
    title = "This is no image that can be catalogued"


class ImageInUseError(OrchestratorError):
    slug = "image-in-use"
    title = "The image is in use"


class DeploymentStateError(OrchestratorError):
    slug = "wrong-deployment-state"
    title = "The deployment's state does not allow this"


class CircuitWaitError(OrchestratorError):
    slug = "no-free-circuit"
    title = "No optical circuit is free"


class KeyWaitError(OrchestratorError):
    slug = "no-key-yet"
    title = "There is no key yet"


class PadTooLargeError(OrchestratorError):
    slug = "pad-too-large"
    title = "The image is too large for a one-time pad"


class TransferFailedError(OrchestratorError):
    slug = "transfer-failed"
    title = "The image could not be brought over"


class ReceiptError(OrchestratorError):
    slug = "receipt-refused"
    title = "The data centre's receipt does not hold"


class AccessError(OrchestratorError):
    slug = "access-refused"
    title = "Access refused"
