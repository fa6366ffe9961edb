"""`/kme/v1`: what the KME at the other end of a link may ask. Certificates of role `kme` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from fastapi import APIRouter, Depends

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
from key_management.errors import KeyManagementError, KeySourceError
from key_management.extraction import PeerKeyStore
from key_management.kme import errors
from key_management.kme.contract import (
    AllocationAnswer,
    AllocationView,
    AllocationWanted,
    Withdrawal,
    WithdrawalAnswer,
)
from key_management.kme.directory import KmeLink
from key_management.kme.service import Kme
from problem_details import ProblemError
from trust import Identity, Role
from trust.errors import NotAllowedError
from trust.server import require_role

STATUS_OF: dict[type[ProblemError], int] = {
    # Before a block is touched:
    NotAllowedError: 403,
    errors.UnknownKmeLinkError: 404,
    errors.UnknownSaeError: 422,
    errors.KeyRequestError: 422,
    errors.EmulatedKeysRefusedError: 422,
    # Afterwards:
    errors.PeerError: 503,
    KeySourceError: 502,
    KeyManagementError: 409,
}


def peer_router(kme: Kme, stores: Mapping[str, PeerKeyStore]) -> APIRouter:
    """`stores`: this end's store of each link that KMEs fill and the other end allocates."""

    def link_of(link: str, caller: Identity = Depends(require_role(Role.KME))) -> KmeLink:
        return kme.directory.link_for(caller, link)

    def store_of(link: KmeLink = Depends(link_of)) -> PeerKeyStore:
        if link.name not in stores:
            raise errors.UnknownKmeLinkError(
                f"The store of {link.name} is not filled by this KME.",
                next_step='Set filled_by = "source" and role = "bob" at this end.',
            )
        return stores[link.name]

    router = APIRouter(prefix="/kme/v1/links/{link}")
    router.include_router(_allocations(kme, link_of))
    router.include_router(_filling(store_of))
    return router


def _allocations(kme: Kme, link_of: Callable[..., KmeLink]) -> APIRouter:
    router = APIRouter(prefix="/allocations/{batch_id}")

    @router.put("")
    def accept(
        view: AllocationView, batch_id: UUID, at: KmeLink = Depends(link_of)
    ) -> AllocationAnswer:
        _same(batch_id, view.batch_id)
        return AllocationAnswer(emulated=kme.accept(at, view.on(at.name)))

    @router.post("/request")
    def allocate(
        wanted: AllocationWanted, batch_id: UUID, at: KmeLink = Depends(link_of)
    ) -> AllocationView:
        _same(batch_id, wanted.batch_id)
        return AllocationView.of(kme.allocate(at, wanted))

    @router.post("/withdrawal")
    def withdraw(
        withdrawal: Withdrawal, batch_id: UUID, at: KmeLink = Depends(link_of)
    ) -> WithdrawalAnswer:
        blocks = kme.withdraw(at, batch_id, withdrawal.blocks, withdrawal.reason)
        return WithdrawalAnswer(blocks=blocks)

    return router


def _filling(store_of: Callable[..., PeerKeyStore]) -> APIRouter:
    """Extraction by the KMEs themselves, where no orchestrator and slave stack do it."""
    router = APIRouter()

    @router.post("/extraction")
    def extract(
        link: str, request: ExtractRequest, store: PeerKeyStore = Depends(store_of)
    ) -> ExtractAnswer:
        return ExtractAnswer.of(
            store.extract(link, request.epoch, request.key_names, request.sacrificed, request.turn)
        )

    @router.post("/confirmation")
    def confirm(
        link: str, request: ConfirmRequest, store: PeerKeyStore = Depends(store_of)
    ) -> KeyCount:
        store.confirm(link, request.epoch, request.agreed)
        return KeyCount(keys=len(request.agreed))

    @router.post("/discard")
    def discard(
        link: str, request: DiscardRequest, store: PeerKeyStore = Depends(store_of)
    ) -> KeyCount:
        store.discard(link, request.epoch)
        return KeyCount(keys=0)

    @router.post("/quarantine")
    def quarantine(
        link: str, request: QuarantineRequest, store: PeerKeyStore = Depends(store_of)
    ) -> KeyCount:
        return KeyCount(keys=store.quarantine(link, request.turn, request.reason))

    @router.post("/quarantine-release")
    def release(
        link: str, request: TurnRequest, store: PeerKeyStore = Depends(store_of)
    ) -> KeyCount:
        return KeyCount(keys=store.release_quarantined(link, request.turn))

    @router.post("/quarantine-burn")
    def burn(link: str, request: TurnRequest, store: PeerKeyStore = Depends(store_of)) -> KeyCount:
        return KeyCount(keys=store.burn_quarantined(link, request.turn))

    @router.post("/expiry")
    def expire(
        link: str, request: ExpiryRequest, store: PeerKeyStore = Depends(store_of)
    ) -> KeyCount:
        return KeyCount(keys=store.expire(link, request.older_than_s))

    return router


def _same(in_path: UUID, in_body: UUID) -> None:
    if in_path != in_body:
        raise errors.KeyRequestError(
            "the path names another allocation than the document",
            next_step="Run the same version of qnfv at both ends.",
            faults={"batch_id": "differs"},
        )
