"""`/vnfpkgm/v1`: the files of VNF packages."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from orchestrator.sol003 import manners
from orchestrator.sol003.package_files import PackageFiles


def package_files_router(files: PackageFiles) -> APIRouter:
    router = APIRouter(
        tags=["SOL003 vnfpkgm"], route_class=manners.Sol003Route, responses=manners.PROBLEMS
    )
    one = "/vnfpkgm/v1/vnf_packages/{vnf_package_id}"

    @router.get(f"{one}/package_content", response_class=Response)
    def content(vnf_package_id: UUID) -> Response:
        """What was uploaded; ranges of it where asked for."""
        return FileResponse(
            files.content(vnf_package_id), media_type=files.media_type(vnf_package_id)
        )

    @router.get(f"{one}/vnfd", response_class=Response)
    def vnfd(request: Request, vnf_package_id: UUID) -> Response:
        """The VNFD: text where it is one file, else a zip archive."""
        media_type, document = files.vnfd(vnf_package_id, request.headers.get("accept", "*/*"))
        return Response(document, media_type=media_type)

    @router.get(f"{one}/artifacts/{{artifact_path:path}}", response_class=Response)
    def artifact(vnf_package_id: UUID, artifact_path: str) -> Response:
        """One file of the package."""
        size, pieces = files.artifact(vnf_package_id, artifact_path)
        return StreamingResponse(
            pieces,
            media_type="application/octet-stream",
            headers={"Content-Length": str(size)},
        )

    return router
