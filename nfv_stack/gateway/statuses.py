"""From error to HTTP status: the one table of this service."""

from __future__ import annotations

from idq3p.errors import Idq3pError
from image_transfer.errors import TransferError
from key_management import errors as keys
from nfv_stack import errors as stack
from nfv_stack.contract.errors import HeadRefusedError
from problem_details import ProblemError
from trust.errors import NotAllowedError

STATUS_OF: dict[type[ProblemError], int] = {
    NotAllowedError: 403,
    stack.UnknownTransferError: 404,
    stack.UnknownInstanceError: 404,
    stack.UnknownLinkError: 404,
    stack.UnknownRouteError: 404,
    stack.TransferStateError: 409,
    stack.AnnouncementConflictError: 409,
    stack.InstanceConflictError: 409,
    stack.LateCommandError: 409,
    stack.ChainWentBackError: 409,
    HeadRefusedError: 422,
    stack.ImageFormatRefusedError: 422,
    stack.QuotaExceededError: 422,
    stack.BootFailedError: 502,
    stack.VimUnreachableError: 503,
    stack.VimError: 502,
    keys.UnknownKeyError: 404,
    keys.KeyManagementError: 409,
    keys.KeySourceError: 502,
    TransferError: 409,
    Idq3pError: 502,
}
