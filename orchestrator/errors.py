"""Errors of the orchestrator, beside those of the rooms that it calls.

OrchestratorError
├── NotFoundError
│   ├── UnknownImageError
│   ├── UnknownDataCentreError
│   ├── UnknownDeploymentError
│   ├── UnknownInstanceError   the data centre has none for this deployment
│   ├── UnknownLinkError
│   ├── UnknownKeyIdError
│   ├── UnknownOperationError
│   ├── UnknownUserError
│   ├── UnknownProjectError
│   └── UnknownTokenError
├── ImageRefusedError          not an image that can be catalogued; `detail` says why
├── ImageInUseError            a deployment uses it
├── DeploymentStateError       the deployment's state does not allow this
├── OperationStateError        the operation's state does not allow this
├── OperationCancelledError    somebody cancelled it; what it then was ended with
├── CircuitWaitError           no free port within the time that the user wanted to wait
├── PadTooLargeError           policy gives no one-time pad of that size
├── KeyWaitError               no key within the time that the user wanted to wait
├── TransferFailedError        the image could not be brought over
├── ReceiptError               the data centre's receipt does not hold
├── AccountError               a user or token cannot be like this; `detail` says why
│   ├── NameTakenError
│   ├── WeakPasswordError
│   └── LastAdministratorError
├── ProjectChoiceError         which project something belongs to is not clear, or cannot be
├── ProjectInUseError          it owns something
├── SignInError                user and password do not belong together
├── TooManyTriesError          signing in failed too often
├── BodyTooLargeError          a request's document is larger than any can be
├── BodyTooSlowError           a request's document did not come within its time
└── AccessError                role, Origin or CSRF token of a request are not right
    ├── NobodyError            neither a valid token nor a session
    └── StrangeHostError       the Host is none of ours
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


class UnknownInstanceError(NotFoundError):
    slug = "unknown-instance"
    title = "There is no such instance"


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


class OperationStateError(OrchestratorError):
    slug = "wrong-operation-state"
    title = "The operation's state does not allow this"


class OperationCancelledError(OrchestratorError):
    slug = "operation-cancelled"
    title = "The operation was cancelled"


class ClaimLostError(OrchestratorError):
    slug = "claim-lost"
    title = "Another replica works on the operation"


class JobboardError(OrchestratorError):
    slug = "jobboard-unusable"
    title = "The replicas' jobboard cannot be used"


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


class NobodyError(AccessError):
    """The kind that people know stays one; its status tells the two apart."""


class StrangeHostError(AccessError):
    pass


class UnknownUserError(NotFoundError):
    slug = "unknown-user"
    title = "There is no such user"


class UnknownTokenError(NotFoundError):
    slug = "unknown-token"
    title = "There is no such token"


class AccountError(OrchestratorError):
    slug = "account-refused"
    title = "The account cannot be like this"


class UnknownProjectError(NotFoundError):
    slug = "unknown-project"
    title = "There is no such project"


class ProjectChoiceError(OrchestratorError):
    slug = "project-choice"
    title = "It is not clear which project this belongs to"


class ProjectInUseError(OrchestratorError):
    slug = "project-in-use"
    title = "The project owns something"


class NameTakenError(AccountError):
    slug = "name-taken"
    title = "The name is taken"


class WeakPasswordError(AccountError):
    slug = "weak-password"
    title = "The password is too weak"


class LastAdministratorError(AccountError):
    slug = "last-administrator"
    title = "Somebody must be administrator"


class SignInError(OrchestratorError):
    slug = "sign-in-refused"
    title = "Not signed in"


class TooManyTriesError(OrchestratorError):
    slug = "too-many-tries"
    title = "Too many tries"


class BodyTooLargeError(OrchestratorError):
    slug = "body-too-large"
    title = "The request is too large"


class BodyTooSlowError(OrchestratorError):
    slug = "body-too-slow"
    title = "The request came too slowly"
