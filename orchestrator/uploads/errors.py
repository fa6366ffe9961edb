"""Errors of uploads.

OrchestratorError
├── UploadOffsetError      what comes does not go on where the upload stands
├── UploadTooLargeError    more bytes than any image has, or than were announced
├── UploadLimitError       somebody has as many uploads open as he may
├── UploadFormError        the request does not look like a piece of an upload
├── UploadDamagedError     what came has another digest than was announced
└── UploadBrokenOffError   its connection ended before the body did
"""

from __future__ import annotations

from orchestrator.errors import NotFoundError, OrchestratorError


class UnknownUploadError(NotFoundError):
    slug = "unknown-upload"
    title = "There is no such upload"


class UploadOffsetError(OrchestratorError):
    slug = "upload-offset"
    title = "The upload stands elsewhere"


class UploadTooLargeError(OrchestratorError):
    slug = "upload-too-large"
    title = "The upload is too large"


class UploadLimitError(OrchestratorError):
    slug = "too-many-uploads"
    title = "Too much is being uploaded"


class UploadFormError(OrchestratorError):
    slug = "upload-form"
    title = "This is no piece of an upload"


class UploadDamagedError(OrchestratorError):
    slug = "upload-damaged"
    title = "What came is not what was announced"


class UploadBrokenOffError(OrchestratorError):
    slug = "upload-broken-off"
    title = "The upload broke off"
