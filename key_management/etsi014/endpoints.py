"""ETSI GS QKD 014 V1.1.1, north-bound: `/api/v1/keys/{SAE_ID}/status|enc_keys|dec_keys`.

The standard knows the error statuses 400, 401 and 503 only, with a document of its own form; so
this is an application of its own, and nothing of it answers anything else.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from key_management.etsi014.documents import (
    DEFAULT_NUMBER,
    KEYS_NOT_FOUND,
    MANDATORY_UNSUPPORTED,
    ErrorDocument,
    KeyIds,
    KeyRequest,
    Status,
)
from key_management.kme import errors
from key_management.kme.service import DeliveredKey, Kme
from problem_details import ProblemError
from trust.errors import NotAllowedError
from trust.server import caller_of

PREFIX = "/api/v1/keys"
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_STATUS_OF: dict[type[ProblemError], int] = {
    errors.CallerNotKnownError: 401,
    errors.NotNamedError: 401,
    NotAllowedError: 401,
    errors.UnknownSaeError: 400,
    errors.KeyRequestError: 400,
    errors.KeysNotFoundError: 400,
}
"""Everything else is a 503: the KME, not the caller, cannot do it now."""
log = logging.getLogger(__name__)


def build_etsi014(kme: Kme) -> FastAPI:
    """The application to be mounted at `PREFIX`, behind mutual TLS."""
    app = FastAPI(title="ETSI GS QKD 014", version="1.1.1", docs_url=None, redoc_url=None)
    _install_errors(app)

    def caller(request: Request) -> str:
        return kme.directory.caller(caller_of(request))

    @app.get("/{slave_sae_id}/status", response_model=None)
    def status(slave_sae_id: str, master: str = Depends(caller)) -> Response:
        return JSONResponse(
            _status(kme, master, slave_sae_id).model_dump(exclude_none=True), headers=_NO_STORE
        )

    @app.get("/{slave_sae_id}/enc_keys", response_model=None)
    def get_enc_keys(
        slave_sae_id: str,
        number: Annotated[int, Query()] = DEFAULT_NUMBER,
        size: Annotated[int | None, Query()] = None,
        master: str = Depends(caller),
    ) -> Response:
        return _container(kme.new_keys(master, slave_sae_id, number=number, size_bit=size))

    @app.post("/{slave_sae_id}/enc_keys", response_model=None)
    def post_enc_keys(
        slave_sae_id: str, body: KeyRequest | None = None, master: str = Depends(caller)
    ) -> Response:
        wanted = body or KeyRequest()
        _refuse_mandatory(wanted.extension_mandatory)
        return _container(
            kme.new_keys(
                master,
                slave_sae_id,
                number=wanted.number,
                size_bit=wanted.size,
                additional_slaves=wanted.additional_slave_SAE_IDs,
            )
        )

    @app.get("/{master_sae_id}/dec_keys", response_model=None)
    def get_dec_keys(
        master_sae_id: str, key_ID: Annotated[UUID, Query()], slave: str = Depends(caller)
    ) -> Response:
        return _container(kme.keys_by_ids(slave, master_sae_id, [key_ID]))

    @app.post("/{master_sae_id}/dec_keys", response_model=None)
    def post_dec_keys(master_sae_id: str, body: KeyIds, slave: str = Depends(caller)) -> Response:
        ids = [item.key_ID for item in body.key_IDs]
        return _container(kme.keys_by_ids(slave, master_sae_id, ids))

    return app


def _status(kme: Kme, master: str, slave: str) -> Status:
    supply = kme.supply(master, slave)
    limits = kme.limits
    return Status(
        source_KME_ID=kme.directory.kme,
        target_KME_ID=supply.target_kme,
        master_SAE_ID=master,
        slave_SAE_ID=slave,
        key_size=limits.key_size_bit,
        stored_key_count=supply.stored_keys,
        max_key_count=supply.capacity_keys,
        max_key_per_request=limits.max_key_per_request,
        max_key_size=limits.max_key_size_bit,
        min_key_size=limits.min_key_size_bit,
        max_SAE_ID_count=limits.max_sae_id_count,
        status_extension={"source": _source(supply.emulated)},
    )


def _source(emulated: bool) -> str:
    return "emulated" if emulated else "quantum"


def _refuse_mandatory(extensions: Any) -> None:
    """No extension parameter is defined by the standard, and none is supported here."""
    if not extensions:
        return
    asked = extensions if isinstance(extensions, list) else [extensions]
    names = [name for one in asked for name in (one if isinstance(one, dict) else [str(one)])]
    raise errors.KeyRequestError(
        MANDATORY_UNSUPPORTED,
        next_step="Send the request without extension_mandatory.",
        faults={str(name)[:64]: "not supported" for name in names},
    )


def _container(keys: Sequence[DeliveredKey]) -> Response:
    """Section 6.3. Written into one buffer, which is wiped once it was sent."""
    body = bytearray(b'{"keys":[')
    try:
        for place, key in enumerate(keys):
            extension = json.dumps({"source": _source(key.emulated)})
            body += b"," if place else b""
            body += f'{{"key_ID":"{key.key_id}","key_extension":{extension},"key":"'.encode()
            body += base64.b64encode(key.key)
            body += b'"}'
        body += b"]}"
    finally:
        for key in keys:
            key.wipe()

    def wipe() -> None:
        body[:] = bytes(len(body))

    return Response(
        memoryview(body),
        media_type="application/json",
        headers=_NO_STORE,
        background=BackgroundTask(wipe),
    )


def _install_errors(app: FastAPI) -> None:
    def answer(status: int, message: str, details: list[dict[str, Any]]) -> JSONResponse:
        document = ErrorDocument(message=message, details=details)
        return JSONResponse(document.model_dump(), status_code=status, headers=_NO_STORE)

    def on_problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)
        status = next((_STATUS_OF[cls] for cls in type(error).__mro__ if cls in _STATUS_OF), 503)
        details: list[dict[str, Any]] = []
        message = error.detail
        if isinstance(error, errors.KeyRequestError):
            details += [{name: why} for name, why in error.faults.items()]
        if isinstance(error, errors.KeysNotFoundError):
            message = KEYS_NOT_FOUND
        if status == 503:
            log.warning("keys were not delivered: %s", error.detail)
        if error.next_step:
            details.append({"next_step": error.next_step})
        return answer(status, message, details)

    def on_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        details = [
            {".".join(str(part) for part in fault["loc"]): fault["msg"]} for fault in error.errors()
        ]
        return answer(400, "the request has not the form of ETSI GS QKD 014", details)

    def on_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return answer(
            400,
            f"there is no such request in ETSI GS QKD 014: {error.detail}",
            [{"next_step": "Use status, enc_keys or dec_keys with GET or POST."}],
        )

    def on_anything(request: Request, error: Exception) -> JSONResponse:
        log.error("unhandled error at %s %s", request.method, request.url.path, exc_info=error)
        return answer(
            503, "the KME failed; its log says why", [{"next_step": "Tell its administrator."}]
        )

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_anything)
