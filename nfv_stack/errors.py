"""Errors of a slave stack.

NfvStackError
├── UnknownTransferError     no such transfer here
├── TransferStateError       the transfer is in a state that does not allow this
├── AnnouncementConflictError     the same transfer id was announced with other content
├── UnknownInstanceError     no such instance here
├── UnknownLinkError         this data centre has no such QKD link
├── UnknownRouteError        this trusted node has no part in such a route
├── ImageFormatRefusedError  the VIM runs no images of this format
├── QuotaExceededError       the image is larger than this data centre takes
├── InstanceConflictError    the same instance id was asked for with another image
├── LateCommandError         a later command to the same instance came before it
├── ChainWentBackError       an audit chain does not follow what was said of it before
├── BootFailedError          the instance did not become healthy
└── VimError
    ├── VimUnreachableError  the VIM does not answer
    ├── ImageRejectedError   the VIM did not take the image, or found another one in the stream
    ├── ImageVanishedError   somebody removed the image while it was taken in; send it again
    └── VimRefusedError      the VIM refused, with its reason
"""

from __future__ import annotations

from problem_details import ProblemError


class NfvStackError(ProblemError):
    slug = "nfv-stack"
    title = "The data centre cannot do that"


class UnknownTransferError(NfvStackError):
    slug = "unknown-transfer"
    title = "There is no such transfer"


class TransferStateError(NfvStackError):
    slug = "wrong-transfer-state"
    title = "The transfer's state does not allow this"


class AnnouncementConflictError(NfvStackError):
    slug = "announcement-conflict"
    title = "This transfer was announced with other content"


class UnknownInstanceError(NfvStackError):
    slug = "unknown-instance"
    title = "There is no such instance"


class UnknownLinkError(NfvStackError):
    slug = "unknown-link"
    title = "There is no such QKD link"


class UnknownRouteError(NfvStackError):
    slug = "unknown-route"
    title = "There is no such relay route"


class ImageFormatRefusedError(NfvStackError):
    slug = "image-format-refused"
    title = "The VIM runs no images of this format"


class QuotaExceededError(NfvStackError):
    slug = "quota-exceeded"
    title = "The image is larger than this data centre takes"


class InstanceConflictError(NfvStackError):
    slug = "instance-conflict"
    title = "This instance was asked for with another image"


class LateCommandError(NfvStackError):
    slug = "late-command"
    title = "This command came too late"


class ChainWentBackError(NfvStackError):
    slug = "audit-chain-went-back"
    title = "The audit chain does not follow what was said before"


class BootFailedError(NfvStackError):
    slug = "boot-failed"
    title = "The instance did not become healthy"


class VimError(NfvStackError):
    slug = "vim-error"
    title = "The VIM could not do that"


class VimUnreachableError(VimError):
    slug = "vim-unreachable"
    title = "The VIM does not answer"


class ImageRejectedError(VimError):
    slug = "image-rejected"
    title = "The VIM did not take the image"


class ImageVanishedError(VimError):
    slug = "image-vanished"
    title = "The image was removed while it was taken in"


class VimRefusedError(VimError):
    slug = "vim-refused"
    title = "The VIM refused"
