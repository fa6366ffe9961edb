"""The routes of `/v1`. Each one is a line or two: the work is done in the rooms below."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Response

from idq3p.unit_agent.contract import StopRequest, UnitView
from key_management.contract import (
    ConfirmRequest,
    DiscardRequest,
    ExpiryRequest,
    ExtractAnswer,
    ExtractRequest,
    KeyCount,
    QuarantineRequest,
    TurnRequest,
)
from key_management.relay.node import RelayNode
from nfv_stack.contract.audit_heads import MOST_HEADS, HeadsView, SignedHead
from nfv_stack.contract.ordering import FORM, HEADER, CommandOrder
from nfv_stack.contract.schemas import (
    Cancellation,
    CapacityView,
    DataCentreView,
    ImageAnnouncement,
    InstanceList,
    InstanceRequest,
    InstanceView,
    LogView,
    Notice,
    PoolView,
    ReceiptView,
    StartRequest,
    Ticket,
    TransferView,
    UnitStart,
    UnitStop,
    VimView,
)
from nfv_stack.gateway.links import Links
from nfv_stack.gateway.trusted_node import trusted_node_router
from nfv_stack.image_intake.intake import ImageIntake
from nfv_stack.store.audit_heads import AuditHeads
from nfv_stack.vim.port import Vim
from nfv_stack.vnf_managers.containers import ContainerManager
from trust import Role
from trust.server import require_role

MAX_WAIT_S = 30.0
MAX_LOG_LINES = 10_000


def _order(
    text: Annotated[str | None, Header(alias=HEADER, pattern=f"^{FORM}$")] = None,
) -> CommandOrder | None:
    return None if text is None else CommandOrder.parse(text)


Ordered = Annotated[CommandOrder | None, Depends(_order)]


def add_routes(
    app: FastAPI,
    *,
    name: str,
    intake: ImageIntake,
    manager: ContainerManager,
    links: Links,
    relay: RelayNode,
    vim: Vim,
    audit_heads: AuditHeads,
) -> None:
    """Add every route to `app`; all of them are for the orchestrator's certificate alone."""
    router = APIRouter(
        prefix="/v1", dependencies=[Depends(require_role(Role.ORCHESTRATOR, Role.SLAVE))]
    )

    @router.get("/data-centre")
    def data_centre() -> DataCentreView:
        description = vim.describe()
        return DataCentreView(
            name=name,
            links=links.names,
            vim=VimView(
                driver=description.driver,
                version=description.version,
                image_formats=sorted(description.image_formats),
                emulated=description.emulated,
            ),
        )

    @router.get("/capacity")
    def capacity() -> CapacityView:
        return CapacityView(**asdict(vim.capacity()))

    app.include_router(router)
    app.include_router(_transfers(intake))
    app.include_router(_instances(manager))
    app.include_router(_links(links))
    app.include_router(_units(links))
    app.include_router(trusted_node_router(links, relay))
    app.include_router(_witness(audit_heads))


def _router(prefix: str) -> APIRouter:
    return APIRouter(prefix=f"/v1{prefix}", dependencies=[Depends(require_role(Role.ORCHESTRATOR))])


def _transfers(intake: ImageIntake) -> APIRouter:
    router = _router("/transfers/{transfer_id}")

    @router.put("")
    def announce(transfer_id: UUID, announcement: ImageAnnouncement) -> TransferView:
        return intake.announce(transfer_id, announcement)

    @router.get("")
    def transfer(
        transfer_id: UUID, wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0
    ) -> TransferView:
        return intake.view(transfer_id, wait_s=wait_s)

    @router.post("/tickets")
    def ticket(transfer_id: UUID) -> Ticket:
        return intake.ticket(transfer_id)

    @router.post("/notice")
    def notice(transfer_id: UUID, body: Notice) -> ReceiptView:
        return intake.notify(transfer_id, body)

    @router.post("/acknowledgement")
    def acknowledge(transfer_id: UUID) -> TransferView:
        return intake.acknowledge(transfer_id)

    @router.delete("")
    def cancel(transfer_id: UUID, given_up: Cancellation | None = None) -> TransferView:
        return intake.cancel(transfer_id, given_up)

    return router


def _instances(manager: ContainerManager) -> APIRouter:
    router = _router("/instances")

    @router.get("")
    def instances() -> InstanceList:
        return InstanceList(instances=manager.views())

    @router.put("/{instance_id}")
    def boot(instance_id: UUID, request: InstanceRequest, order: Ordered) -> InstanceView:
        return manager.boot(instance_id, request, order)

    @router.get("/{instance_id}")
    def instance(instance_id: UUID) -> InstanceView:
        return manager.view(instance_id)

    @router.get("/{instance_id}/log")
    def log(
        instance_id: UUID, lines: Annotated[int, Query(ge=1, le=MAX_LOG_LINES)] = 200
    ) -> LogView:
        return LogView(text=manager.log(instance_id, lines))

    @router.post("/{instance_id}/stop")
    def stop(instance_id: UUID, order: Ordered) -> InstanceView:
        return manager.stop(instance_id, order)

    @router.post("/{instance_id}/start")
    def start(instance_id: UUID, request: StartRequest, order: Ordered) -> InstanceView:
        return manager.start(instance_id, request.boot_timeout_s, order)

    @router.post("/{instance_id}/recreation")
    def recreate(instance_id: UUID, request: StartRequest, order: Ordered) -> InstanceView:
        return manager.recreate(instance_id, request.boot_timeout_s, order)

    @router.delete("/{instance_id}", status_code=204)
    def remove(instance_id: UUID, order: Ordered) -> Response:
        manager.remove(instance_id, order)
        return Response(status_code=204)

    return router


def _witness(audit_heads: AuditHeads) -> APIRouter:
    """Heads of audit chains, kept where the orchestrator's administrator cannot write."""
    router = APIRouter(prefix="/v1/audit-heads")
    caller = require_role(Role.ORCHESTRATOR)

    @router.put("", status_code=204, dependencies=[Depends(caller)])
    def keep(head: SignedHead) -> Response:
        audit_heads.keep(head)
        return Response(status_code=204)

    @router.get("/{orchestrator}", dependencies=[Depends(caller)])
    def heads(
        orchestrator: str, limit: Annotated[int, Query(ge=1, le=MOST_HEADS)] = 100
    ) -> HeadsView:
        return HeadsView(heads=audit_heads.heads(orchestrator, limit))

    return router


def _links(links: Links) -> APIRouter:
    router = _router("/links/{link}")

    @router.get("")
    def pool(link: str) -> PoolView:
        return PoolView(link=link, counts=links.counts(link))

    @router.post("/extraction")
    def extract(link: str, request: ExtractRequest) -> ExtractAnswer:
        bob = links.bob(link)
        return ExtractAnswer.of(
            bob.extract(link, request.epoch, request.key_names, request.sacrificed, request.turn)
        )

    @router.post("/confirmation")
    def confirm(link: str, request: ConfirmRequest) -> PoolView:
        links.named(link).keys.confirm(link, request.epoch, request.agreed)
        return PoolView(link=link, counts=links.counts(link))

    @router.post("/discard")
    def discard(link: str, request: DiscardRequest) -> PoolView:
        links.named(link).keys.discard(link, request.epoch)
        return PoolView(link=link, counts=links.counts(link))

    @router.post("/quarantine")
    def quarantine(link: str, request: QuarantineRequest) -> KeyCount:
        return KeyCount(keys=links.named(link).keys.quarantine(link, request.turn, request.reason))

    @router.post("/quarantine-release")
    def release_quarantined(link: str, request: TurnRequest) -> KeyCount:
        return KeyCount(keys=links.named(link).keys.release_quarantined(link, request.turn))

    @router.post("/quarantine-burn")
    def burn_quarantined(link: str, request: TurnRequest) -> KeyCount:
        return KeyCount(keys=links.named(link).keys.burn_quarantined(link, request.turn))

    @router.post("/expiry")
    def expire(link: str, request: ExpiryRequest) -> KeyCount:
        return KeyCount(keys=links.named(link).keys.expire(link, request.older_than_s))

    return router


def _units(links: Links) -> APIRouter:
    router = _router("/links/{link}/unit")

    @router.get("")
    def unit(link: str) -> UnitView:
        return links.unit(link).unit()

    @router.post("/start")
    def start_unit(link: str, request: UnitStart) -> UnitView:
        return links.unit(link).start(links.named(link).start_request(request))

    @router.post("/stop")
    def stop_unit(link: str, request: UnitStop) -> UnitView:
        return links.unit(link).stop(StopRequest(turn_id=request.turn_id, fencing=request.fencing))

    return router
