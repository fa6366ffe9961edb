"""The client of a slave stack's gateway: one method a request, errors of its own tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from idq3p.unit_agent.contract import UnitView
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
from nfv_stack.contract.audit_heads import HeadsView, SignedHead
from nfv_stack.contract.contact import Contact
from nfv_stack.contract.errors import SlaveError, SlaveRefusedError, SlaveUnreachableError
from nfv_stack.contract.ordering import HEADER, CommandOrder
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
)
from nfv_stack.contract.trusted_node import (
    AgreementAnswer,
    AgreementRequest,
    PendingView,
    RelayAnswer,
    RelayHopView,
    RelayLeg,
    RelayMessageDocument,
    RelayReservation,
    RelayWithdrawal,
    TakeAnswer,
    TakeRequest,
)
from problem_details.answers import read
from timekeeping import Clock, SystemClock
from trust.delivery import ListView, send_list

Answer = TypeVar("Answer", bound=BaseModel)


class SlaveClient:
    """Speaks to the gateway of `name` through an `httpx.Client` that does mutual TLS.

    Every method raises SlaveUnreachableError or SlaveRefusedError. All requests can be repeated.
    """

    def __init__(self, name: str, http: httpx.Client, clock: Clock | None = None) -> None:
        self.name = name
        self._http = http
        self._clock = clock or SystemClock()
        self.contact = Contact()

    def close(self) -> None:
        self._http.close()

    # --- the data centre ------------------------------------------------------------------------

    def data_centre(self) -> DataCentreView:
        return self._ask("GET", "/v1/data-centre", DataCentreView)

    def capacity(self) -> CapacityView:
        return self._ask("GET", "/v1/capacity", CapacityView)

    def take_revocations(self, pem: bytes) -> ListView:
        """Hand on the list of revoked certificates; raises as `trust.delivery.send_list`."""
        return send_list(self._http, pem)

    def keep_audit_head(self, head: SignedHead) -> None:
        """Leave a head of our audit chain there."""
        self._request("PUT", "/v1/audit-heads", head)

    def audit_heads(self, orchestrator: str, limit: int = 100) -> list[SignedHead]:
        """What it was told of that orchestrator's audit chain, newest first."""
        path = f"/v1/audit-heads/{orchestrator}"
        return self._ask("GET", path, HeadsView, params={"limit": limit}).heads

    # --- transfers ------------------------------------------------------------------------------

    def announce(self, transfer_id: UUID, announcement: ImageAnnouncement) -> TransferView:
        return self._ask("PUT", f"/v1/transfers/{transfer_id}", TransferView, announcement)

    def transfer(self, transfer_id: UUID, *, wait_s: float = 0.0) -> TransferView:
        """The transfer; with `wait_s` the answer comes once it is placed or failed, or then."""
        return self._ask(
            "GET",
            f"/v1/transfers/{transfer_id}",
            TransferView,
            params={"wait_s": wait_s},
            timeout_s=wait_s + 15,
        )

    def ticket(self, transfer_id: UUID) -> Ticket:
        return self._ask("POST", f"/v1/transfers/{transfer_id}/tickets", Ticket, timeout_s=60)

    def notify(self, transfer_id: UUID, notice: Notice) -> ReceiptView:
        return self._ask("POST", f"/v1/transfers/{transfer_id}/notice", ReceiptView, notice)

    def acknowledge(self, transfer_id: UUID) -> TransferView:
        return self._ask("POST", f"/v1/transfers/{transfer_id}/acknowledgement", TransferView)

    def cancel(self, transfer_id: UUID, given_up: Cancellation | None = None) -> TransferView:
        path = f"/v1/transfers/{transfer_id}"
        return self._ask("DELETE", path, TransferView, given_up, timeout_s=60)

    # --- instances ------------------------------------------------------------------------------

    # Each of these commands is refused, where it comes with an `order`, after a later one.

    def boot(
        self, instance_id: UUID, request: InstanceRequest, *, order: CommandOrder | None = None
    ) -> InstanceView:
        return self._ask(
            "PUT",
            f"/v1/instances/{instance_id}",
            InstanceView,
            request,
            headers=_ordered(order),
            timeout_s=request.boot_timeout_s + 30,
        )

    def instance(self, instance_id: UUID) -> InstanceView:
        return self._ask("GET", f"/v1/instances/{instance_id}", InstanceView)

    def instances(self) -> list[InstanceView]:
        return self._ask("GET", "/v1/instances", InstanceList, timeout_s=30).instances

    def instance_log(self, instance_id: UUID, *, lines: int = 200) -> LogView:
        path = f"/v1/instances/{instance_id}/log"
        return self._ask("GET", path, LogView, params={"lines": lines}, timeout_s=30)

    def stop_instance(
        self, instance_id: UUID, *, order: CommandOrder | None = None
    ) -> InstanceView:
        path = f"/v1/instances/{instance_id}/stop"
        return self._ask("POST", path, InstanceView, headers=_ordered(order), timeout_s=180)

    def start_instance(
        self, instance_id: UUID, request: StartRequest, *, order: CommandOrder | None = None
    ) -> InstanceView:
        path = f"/v1/instances/{instance_id}/start"
        timeout_s = request.boot_timeout_s + 30
        return self._ask(
            "POST", path, InstanceView, request, headers=_ordered(order), timeout_s=timeout_s
        )

    def recreate_instance(
        self, instance_id: UUID, request: StartRequest, *, order: CommandOrder | None = None
    ) -> InstanceView:
        """Remove what is left of it and make it anew from the image that is there."""
        path = f"/v1/instances/{instance_id}/recreation"
        timeout_s = request.boot_timeout_s + 90
        return self._ask(
            "POST", path, InstanceView, request, headers=_ordered(order), timeout_s=timeout_s
        )

    def remove_instance(self, instance_id: UUID, *, order: CommandOrder | None = None) -> None:
        path = f"/v1/instances/{instance_id}"
        self._request("DELETE", path, headers=_ordered(order), timeout_s=60)

    # --- Bob's keys and unit --------------------------------------------------------------------

    def extract_keys(self, link: str, request: ExtractRequest) -> ExtractAnswer:
        return self._ask(
            "POST", f"/v1/links/{link}/extraction", ExtractAnswer, request, timeout_s=120
        )

    def confirm_keys(self, link: str, request: ConfirmRequest) -> PoolView:
        return self._ask("POST", f"/v1/links/{link}/confirmation", PoolView, request, timeout_s=60)

    def discard_keys(self, link: str, request: DiscardRequest) -> PoolView:
        return self._ask("POST", f"/v1/links/{link}/discard", PoolView, request, timeout_s=60)

    def quarantine_keys(self, link: str, request: QuarantineRequest) -> KeyCount:
        return self._ask("POST", f"/v1/links/{link}/quarantine", KeyCount, request, timeout_s=60)

    def release_quarantined_keys(self, link: str, request: TurnRequest) -> KeyCount:
        path = f"/v1/links/{link}/quarantine-release"
        return self._ask("POST", path, KeyCount, request, timeout_s=60)

    def burn_quarantined_keys(self, link: str, request: TurnRequest) -> KeyCount:
        path = f"/v1/links/{link}/quarantine-burn"
        return self._ask("POST", path, KeyCount, request, timeout_s=60)

    def expire_keys(self, link: str, request: ExpiryRequest) -> KeyCount:
        return self._ask("POST", f"/v1/links/{link}/expiry", KeyCount, request, timeout_s=60)

    def pool(self, link: str) -> PoolView:
        return self._ask("GET", f"/v1/links/{link}", PoolView)

    def unit(self, link: str) -> UnitView:
        return self._ask("GET", f"/v1/links/{link}/unit", UnitView)

    def start_unit(self, link: str, request: UnitStart) -> UnitView:
        return self._ask("POST", f"/v1/links/{link}/unit/start", UnitView, request, timeout_s=30)

    def stop_unit(self, link: str, request: UnitStop) -> UnitView:
        return self._ask("POST", f"/v1/links/{link}/unit/stop", UnitView, request, timeout_s=30)

    # --- a trusted node ---------------------------------------------------------------------------

    def take_keys(self, link: str, request: TakeRequest) -> TakeAnswer:
        return self._ask("POST", f"/v1/links/{link}/taking", TakeAnswer, request, timeout_s=120)

    def compare_keys(self, link: str, request: AgreementRequest) -> AgreementAnswer:
        path = f"/v1/links/{link}/agreement"
        return self._ask("POST", path, AgreementAnswer, request, timeout_s=60)

    def pending_keys(self, link: str) -> PendingView:
        return self._ask("GET", f"/v1/links/{link}/pending", PendingView)

    def reserve_relay(self, route_id: UUID, leg: RelayLeg) -> RelayReservation:
        return self._ask("PUT", f"/v1/relays/{route_id}", RelayReservation, leg, timeout_s=60)

    def carry_relay(self, route_id: UUID, message: RelayMessageDocument) -> RelayAnswer:
        path = f"/v1/relays/{route_id}/message"
        return self._ask("POST", path, RelayAnswer, message, timeout_s=60)

    def finish_relay(self, route_id: UUID) -> None:
        self._request("POST", f"/v1/relays/{route_id}/end", timeout_s=60)

    def withdraw_relay(self, route_id: UUID, withdrawal: RelayWithdrawal) -> None:
        self._request("POST", f"/v1/relays/{route_id}/withdrawal", withdrawal, timeout_s=60)

    def relay_hop(self, route_id: UUID) -> RelayHopView:
        return self._ask("GET", f"/v1/relays/{route_id}", RelayHopView)

    # --- inside ---------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        form: type[Answer],
        body: BaseModel | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        answer = self._request(
            method, path, body, params=params, headers=headers, timeout_s=timeout_s
        )
        try:
            return form.model_validate_json(answer.content)
        except ValidationError as error:
            raise SlaveError(
                f"{self.name} answered {method} {path} with a document of another form.",
                next_step="Run the same version of qnfv on both sides.",
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        form = {"Content-Type": "application/json"} if body is not None else {}
        try:
            answer = self._http.request(
                method,
                path,
                content=body.model_dump_json() if body is not None else None,
                headers={**form, **(headers or {})},
                params=params,
                timeout=timeout_s if timeout_s is not None else httpx.USE_CLIENT_DEFAULT,
            )
        except httpx.TransportError as error:
            self.contact = self.contact.failed(self._clock.now())
            raise SlaveUnreachableError(
                f"{self.name} does not answer ({type(error).__name__}: {error}).",
                next_step="Check that its slave stack runs and that its address is right.",
                data_centre=self.name,
            ) from error
        self.contact = self.contact.answered(self._clock.now())
        if answer.is_success:
            return answer
        problem = read(answer.status_code, answer.headers.get("content-type", ""), answer.content)
        raise SlaveRefusedError(self.name, problem)


def _ordered(order: CommandOrder | None) -> dict[str, str]:
    return {} if order is None else {HEADER: str(order)}
