"""From error to HTTP status: the one table of this service."""

from __future__ import annotations

from idq3p.errors import Idq3pError
from key_management import errors as keys
from nfv_stack.contract import errors as slave
from orchestrator import errors
from orchestrator.schedule import errors as schedule
from orchestrator.sol003 import errors as sol003
from orchestrator.sol003.notifications import errors as notifications
from orchestrator.uploads import errors as uploads
from problem_details import Problem, ProblemError
from problem_details.answers import status_for
from sdn_client import errors as sdn

STATUS_OF: dict[type[ProblemError], int] = {
    errors.NotFoundError: 404,
    errors.ImageRefusedError: 422,
    errors.ImageInUseError: 409,
    errors.DeploymentStateError: 409,
    errors.OperationStateError: 409,
    errors.OperationCancelledError: 409,
    errors.KeyWaitError: 409,
    errors.PadTooLargeError: 422,
    errors.CircuitWaitError: 409,
    errors.AccessError: 403,
    errors.NobodyError: 401,
    errors.StrangeHostError: 421,
    errors.AccountError: 422,
    errors.NameTakenError: 409,
    errors.ProjectInUseError: 409,
    errors.ProjectChoiceError: 422,
    errors.LastAdministratorError: 409,
    errors.SignInError: 401,
    errors.TooManyTriesError: 429,
    errors.BodyTooLargeError: 413,
    errors.BodyTooSlowError: 408,
    uploads.UploadOffsetError: 409,
    uploads.UploadLimitError: 409,
    uploads.UploadTooLargeError: 413,
    uploads.UploadFormError: 415,
    uploads.UploadDamagedError: 422,
    uploads.UploadBrokenOffError: 400,
    sol003.MalformedRequestError: 400,
    sol003.AdditionalParamsError: 422,
    sol003.ScaleRefusedError: 422,
    sol003.VnfInstanceStateError: 409,
    sol003.StaleTagError: 412,
    sol003.ApiVersionError: 406,
    sol003.UnknownVnfdError: 422,
    sol003.VnfPackageStateError: 409,
    sol003.PackageRefusedError: 422,
    sol003.PackageTooLargeError: 413,
    sol003.PackageLimitError: 409,
    sol003.PackageBrokenOffError: 400,
    sol003.UnacceptableFormError: 406,
    notifications.CallbackRefusedError: 422,
    notifications.CallbackTestsBusyError: 503,
    notifications.SubscriptionLimitError: 409,
    schedule.PromiseRefusedError: 409,
    schedule.OrderRefusedError: 409,
    schedule.AbsurdWishError: 422,
    keys.NoKeyAvailableError: 409,
    keys.KeyManagementError: 409,
    slave.SlaveUnreachableError: 503,
    slave.SlaveError: 502,
    sdn.UnknownName: 404,
    sdn.RequestRefused: 409,
    sdn.SwitchUnreachable: 503,
    sdn.SdnError: 502,
    Idq3pError: 502,
}


def problem_of(error: ProblemError) -> Problem:
    """The problem document that REST would answer for this error."""
    return Problem.of(error, status_for(error, STATUS_OF) or 500)
