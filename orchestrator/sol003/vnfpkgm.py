"""`/vnfpkgm/v1`: VNF packages, uploaded ones and images of the catalogue."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import anyio
from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from orchestrator.audit.subjects import name_subjects
from orchestrator.bodies import in_large_pieces
from orchestrator.sol003 import manners
from orchestrator.sol003.documents import (
    CreateVnfPkgInfoRequest,
    VnfPkgInfo,
    VnfPkgInfoModifications,
)
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.packages import VnfPackages

_DEFAULT = ("softwareImages", "additionalArtifacts", "userDefinedData", "checksum")
"""Left out of lists unless asked for (SOL003, 10.4.2.3.2)."""


def vnfpkgm_router(
    packages: VnfPackages,
    store: PackageStore,
    intake: PackageIntake,
    quota: PackageQuota,
    *,
    page: int = manners.PAGE,
) -> APIRouter:
    router = APIRouter(
        tags=["SOL003 vnfpkgm"], route_class=manners.Sol003Route, responses=manners.PROBLEMS
    )
    base = "/vnfpkgm/v1"
    one = f"{base}/vnf_packages/{{vnf_package_id}}"

    @router.get("/vnfpkgm/api_versions", operation_id="vnfpkgm_versions")
    @router.get(f"{base}/api_versions", operation_id="vnfpkgm_v1_versions")
    def versions() -> dict[str, Any]:
        return manners.versions_of("vnfpkgm")

    @router.post(f"{base}/vnf_packages", status_code=201)
    def create(request: Request, wanted: CreateVnfPkgInfoRequest) -> JSONResponse:
        """Create a package without content."""
        row = store.create(wanted.user_defined_data or {}, quota)
        name_subjects(vnf_package=row.package_id)
        document = packages.document(row.package_id, manners.root_of(request))
        return manners.one(document, status_code=201, location=document.links.self.href)

    @router.get(f"{base}/vnf_packages")
    def query(request: Request) -> JSONResponse:
        return manners.listed(
            request,
            packages.documents(manners.root_of(request)),
            VnfPkgInfo,
            default_excluded=_DEFAULT,
            page=page,
        )

    @router.get(one)
    def show(request: Request, vnf_package_id: UUID) -> JSONResponse:
        return manners.one(packages.document(vnf_package_id, manners.root_of(request)))

    @router.patch(one)
    def modify(
        request: Request,
        vnf_package_id: UUID,
        patch: Annotated[VnfPkgInfoModifications, Body(media_type="application/merge-patch+json")],
    ) -> JSONResponse:
        """Enable or disable it, or change userDefinedData by a merge patch."""
        row = packages.uploaded(vnf_package_id)
        document = packages.document(vnf_package_id, manners.root_of(request))
        manners.check_tag(request, manners.etag_of(document))
        state, merge = patch.operational_state, None
        if "user_defined_data" in patch.model_fields_set:
            merge = partial(_merged, patch.user_defined_data)
        changed = store.modify(
            vnf_package_id,
            is_enabled=None if state is None else state == "ENABLED",
            merge=merge,
            as_read=row if "if-match" in request.headers else None,
        )
        name_subjects(vnf_package=vnf_package_id)
        return JSONResponse(
            VnfPkgInfoModifications(
                operational_state=state,
                user_defined_data=None if merge is None else changed.user_data,
            ).json_document()
        )

    @router.delete(one, status_code=204)
    def delete(vnf_package_id: UUID) -> Response:
        """Only a DISABLED one that no VNF instance is of, or one that was never onboarded."""
        packages.uploaded(vnf_package_id)
        intake.discard(*store.delete(vnf_package_id))
        name_subjects(vnf_package=vnf_package_id)
        return Response(status_code=204)

    @router.put(f"{one}/package_content", status_code=202, response_class=Response)
    async def upload(request: Request, vnf_package_id: UUID) -> Response:
        """Take in the request's body: a zip archive (ETSI GS NFV-SOL 004), or one bare image."""
        await run_in_threadpool(packages.uploaded, vnf_package_id)
        arrival = await run_in_threadpool(intake.begin, vnf_package_id, quota)
        name_subjects(vnf_package=vnf_package_id)
        failed: BaseException | None = None
        try:
            await in_large_pieces(
                request,
                arrival.write,
                after_silence="Send it again, over a better connection.",
            )
            await run_in_threadpool(arrival.whole)
        except BaseException as error:
            failed = error
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(arrival.end, failed)
        return Response(status_code=202)

    return router


def _merged(patch: dict[str, Any] | None, user_data: dict[str, Any]) -> dict[str, Any]:
    return manners.merged_pairs(user_data, patch, "userDefinedData")
