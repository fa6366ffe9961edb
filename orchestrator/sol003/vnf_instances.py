"""`/vnflcm/v1/vnf_instances`: VNF instances; their tasks are in `vnf_tasks`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse

from orchestrator.audit.subjects import name_subjects
from orchestrator.sol003 import manners
from orchestrator.sol003.documents import (
    CreateVnfRequest,
    VnfInfoModificationRequest,
    VnfInstance,
)
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.mapping import Mapping
from orchestrator.sol003.packages import VnfPackages

_INSTANCE_DEFAULT = (
    "vimConnectionInfo",
    "instantiatedVnfInfo",
    "metadata",
    "extensions",
)
"""Left out of lists unless asked for (SOL003, 5.4.2.3.2)."""


def vnf_instances_router(
    instances: VnfInstances,
    packages: VnfPackages,
    mapping: Mapping,
    *,
    page: int = manners.PAGE,
) -> APIRouter:
    router = APIRouter(
        tags=["SOL003 vnflcm"], route_class=manners.Sol003Route, responses=manners.PROBLEMS
    )
    base = "/vnflcm/v1"

    @router.get("/vnflcm/api_versions", operation_id="vnflcm_versions")
    @router.get(f"{base}/api_versions", operation_id="vnflcm_v1_versions")
    def versions() -> dict[str, Any]:
        return manners.versions_of("vnflcm")

    # --- VNF instances

    @router.post(f"{base}/vnf_instances", status_code=201)
    def create(request: Request, wanted: CreateVnfRequest) -> JSONResponse:
        """Create a VNF instance, which is NOT_INSTANTIATED."""
        asked = (wanted.metadata or {}).get("project")
        source = packages.deployable(wanted.vnfd_id, None if asked is None else str(asked))
        made = instances.create(
            source,
            wanted.vnf_instance_name or "",
            wanted.vnf_instance_description or "",
            wanted.metadata or {},
        )
        name_subjects(vnf_instance=made.row.vnf_instance_id, image=source.image_digest.hex())
        document = mapping.instance(made.row.vnf_instance_id, manners.root_of(request))
        return manners.one(document, status_code=201, location=document.links.self.href)

    @router.get(f"{base}/vnf_instances")
    def query(request: Request) -> JSONResponse:
        return manners.listed(
            request,
            mapping.instances(manners.root_of(request)),
            VnfInstance,
            default_excluded=_INSTANCE_DEFAULT,
            page=page,
        )

    @router.get(f"{base}/vnf_instances/{{vnf_instance_id}}")
    def show(request: Request, vnf_instance_id: UUID) -> JSONResponse:
        return manners.one(mapping.instance(vnf_instance_id, manners.root_of(request)))

    @router.patch(
        f"{base}/vnf_instances/{{vnf_instance_id}}", status_code=202, response_class=Response
    )
    def modify(
        request: Request,
        vnf_instance_id: UUID,
        patch: Annotated[
            VnfInfoModificationRequest, Body(media_type="application/merge-patch+json")
        ],
    ) -> Response:
        """Change name, description or metadata by a merge patch."""
        root = manners.root_of(request)
        instance = instances.get(vnf_instance_id)
        manners.check_tag(request, manners.etag_of(mapping.instance(vnf_instance_id, root)))
        occurrence_id = instances.modify(instance, **_changes(patch, instance.row.key_values))
        name_subjects(vnf_instance=vnf_instance_id)
        return manners.accepted(root, occurrence_id)

    @router.delete(f"{base}/vnf_instances/{{vnf_instance_id}}", status_code=204)
    def delete(vnf_instance_id: UUID) -> Response:
        instances.delete(instances.get(vnf_instance_id))
        name_subjects(vnf_instance=vnf_instance_id)
        return Response(status_code=204)

    return router


def _changes(patch: VnfInfoModificationRequest, key_values: dict[str, Any]) -> dict[str, Any]:
    """What the patch sets, in the names of the instance's row."""
    changes: dict[str, Any] = {}
    if "vnf_instance_name" in patch.model_fields_set:
        changes["name"] = patch.vnf_instance_name or ""
    if "vnf_instance_description" in patch.model_fields_set:
        changes["description"] = patch.vnf_instance_description or ""
    if "metadata" in patch.model_fields_set:
        changes["key_values"] = manners.merged_pairs(key_values, patch.metadata, "metadata")
    return changes
