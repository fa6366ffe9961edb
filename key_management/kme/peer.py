"""The KME at the other end of a link, as this one reaches it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

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
from key_management.extraction import Held, KeyName
from key_management.kme.contract import (
    AllocationAnswer,
    AllocationView,
    AllocationWanted,
    Withdrawal,
    WithdrawalAnswer,
)
from key_management.kme.deliveries import Allocation
from key_management.kme.errors import PeerNotReachedError, PeerRefusedError, PeerSilentError
from problem_details.answers import read

Answer = TypeVar("Answer", bound=BaseModel)


class PeerKme(Protocol):
    """What a KME asks of the one at the other end. Every method can be repeated.

    All raise PeerNotReachedError (nothing was sent), PeerSilentError (nobody knows) or
    PeerRefusedError.
    """

    def accept(self, allocation: Allocation) -> bool:
        """Set the same blocks aside; answers whether one of them is emulated there."""
        ...

    def allocate(self, link: str, wanted: AllocationWanted) -> Allocation:
        """Choose and set aside blocks of a link that is allocated there."""
        ...

    def withdraw(
        self, link: str, batch_id: UUID, blocks: Collection[UUID], reason: str
    ) -> list[UUID]:
        """Give an allocation up and burn what was meant for it; answers which blocks it had."""
        ...


class RemoteKme:
    """A `PeerKme`, and a `key_management.extraction.PeerKeyStore`, over mutual TLS."""

    def __init__(self, name: str, http: httpx.Client) -> None:
        self.name = name
        self._http = http

    def close(self) -> None:
        self._http.close()

    # --- allocations ------------------------------------------------------------------------------

    def accept(self, allocation: Allocation) -> bool:
        path = f"/kme/v1/links/{allocation.link}/allocations/{allocation.batch_id}"
        view = AllocationView.of(allocation)
        return self._ask("PUT", path, AllocationAnswer, view).emulated

    def allocate(self, link: str, wanted: AllocationWanted) -> Allocation:
        path = f"/kme/v1/links/{link}/allocations/{wanted.batch_id}/request"
        return self._ask("POST", path, AllocationView, wanted).on(link)

    def withdraw(
        self, link: str, batch_id: UUID, blocks: Collection[UUID], reason: str
    ) -> list[UUID]:
        path = f"/kme/v1/links/{link}/allocations/{batch_id}/withdrawal"
        body = Withdrawal(reason=reason[:255], blocks=list(blocks))
        return self._ask("POST", path, WithdrawalAnswer, body).blocks

    # --- the store of a link that KMEs fill ------------------------------------------------------

    def extract(
        self,
        link: str,
        epoch: UUID,
        names: list[KeyName],
        sacrificed: UUID,
        turn: UUID | None = None,
    ) -> Held:
        request = ExtractRequest.of(epoch, names, sacrificed, turn)
        path = f"/kme/v1/links/{link}/extraction"
        return self._ask("POST", path, ExtractAnswer, request, timeout_s=120).held

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        body = ConfirmRequest(epoch=epoch, agreed=sorted(agreed))
        self._count(link, "confirmation", body)

    def discard(self, link: str, epoch: UUID) -> None:
        self._count(link, "discard", DiscardRequest(epoch=epoch))

    def quarantine(self, link: str, turn: UUID, reason: str) -> int:
        return self._count(link, "quarantine", QuarantineRequest(turn=turn, reason=reason[:255]))

    def release_quarantined(self, link: str, turn: UUID) -> int:
        return self._count(link, "quarantine-release", TurnRequest(turn=turn))

    def burn_quarantined(self, link: str, turn: UUID) -> int:
        return self._count(link, "quarantine-burn", TurnRequest(turn=turn))

    def expire(self, link: str, older_than_s: float) -> int:
        return self._count(link, "expiry", ExpiryRequest(older_than_s=older_than_s))

    # --- inside -----------------------------------------------------------------------------------

    def _count(self, link: str, what: str, body: BaseModel) -> int:
        path = f"/kme/v1/links/{link}/{what}"
        return self._ask("POST", path, KeyCount, body, timeout_s=60).keys

    def _ask(
        self,
        method: str,
        path: str,
        form: type[Answer],
        body: BaseModel,
        *,
        timeout_s: float = 20.0,
    ) -> Answer:
        try:
            answer = self._http.request(
                method,
                path,
                content=body.model_dump_json(),
                headers={"Content-Type": "application/json"},
                timeout=httpx.Timeout(timeout_s, connect=5.0),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise PeerNotReachedError(
                f"KME {self.name} is not reached ({type(error).__name__}: {error}).",
                next_step="Check that it runs, its address, and the certificates of both.",
                peer=self.name,
            ) from error
        except httpx.TransportError as error:
            raise PeerSilentError(
                f"KME {self.name} did not answer ({type(error).__name__}).",
                next_step="Ask for keys again; those of this request are given up at both ends.",
                peer=self.name,
            ) from error
        if not answer.is_success:
            content_type = answer.headers.get("content-type", "")
            raise PeerRefusedError(
                self.name, read(answer.status_code, content_type, answer.content)
            )
        try:
            return form.model_validate_json(answer.content)
        except ValidationError as error:
            raise PeerSilentError(
                f"KME {self.name} answered {method} {path} with a document of another form.",
                next_step="Run the same version of qnfv at both ends.",
                peer=self.name,
            ) from error
