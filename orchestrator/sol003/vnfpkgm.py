"""`/vnfpkgm/v1`: the images of the catalogue as VNF packages, to be read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from orchestrator.sol003 import manners
from orchestrator.sol003.documents import VnfPkgInfo
from orchestrator.sol003.packages import VnfPackages

_DEFAULT = ("softwareImages", "checksum")
"""Left out of lists unless asked for (SOL003, 10.4.2.3.2)."""


def vnfpkgm_router(packages: VnfPackages, *, page: int = manners.PAGE) -> APIRouter:
    router = APIRouter(tags=["SOL003 vnfpkgm"], route_class=manners.Sol003Route)
    base = "/vnfpkgm/v1"

    @router.get("/vnfpkgm/api_versions", operation_id="vnfpkgm_versions")
    @router.get(f"{base}/api_versions", operation_id="vnfpkgm_v1_versions")
    def versions() -> dict[str, Any]:
        return manners.versions_of("vnfpkgm")

    @router.get(f"{base}/vnf_packages")
    def query(request: Request) -> JSONResponse:
        return manners.listed(
            request,
            packages.documents(manners.root_of(request)),
            VnfPkgInfo,
            default_excluded=_DEFAULT,
            page=page,
        )

    @router.get(f"{base}/vnf_packages/{{vnf_package_id}}")
    def show(request: Request, vnf_package_id: UUID) -> JSONResponse:
        return manners.one(packages.document(vnf_package_id, manners.root_of(request)))

    @router.get(f"{base}/vnf_packages/{{vnf_package_id}}/vnfd")
    def vnfd(vnf_package_id: UUID) -> Response:
        """The VNFD as one YAML file."""
        return Response(packages.vnfd(vnf_package_id), media_type="text/plain")

    return router
