"""What deployments, keys and images look like after operations that end badly, or not at all."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, delete, update

from database import writing
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.ordering import CommandOrder
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import ClaimLostError, DeploymentStateError, UnknownImageError
from orchestrator.events.bus import EventBus
from orchestrator.store.tables import DeploymentRow, ImageRow, OperationRow
from orchestrator.vnf_lcm.admission import Admission
from orchestrator.vnf_lcm.ciphers.sealed_stream import SealedStreamCipher
from orchestrator.vnf_lcm.holding import Holding
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.outcome import deployment_follows
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest, HealRequest
from orchestrator.vnf_lcm.states import (
    ADMISSIBLE,
    DEPLOYMENT_ACTIONS,
    DeploymentState,
    OnFailure,
    OperationKind,
    OperationState,
    StepState,
)
from orchestrator.vnf_lcm.steps import HEAL, HEAL_IN_PLACE, INSTANTIATE, OPERATE, TERMINATE
from orchestrator.vnf_lcm.steps.instance import RemoveStep
from orchestrator.vnf_lcm.steps.transfer import TransferEnds
from orchestrator.vnf_lcm.watch import Sighting
from orchestrator.workflow.claims.fences import Fences
from orchestrator.workflow.journal import OperationJournal
from problem_details import ProblemError
from timekeeping import SystemClock

STEPS = {
    OperationKind.INSTANTIATE: INSTANTIATE,
    OperationKind.OPERATE: OPERATE["STOPPED"],
    OperationKind.HEAL: HEAL_IN_PLACE,
    OperationKind.TERMINATE: TERMINATE,
}
DIGEST = bytes(31) + b"\1"


class Slave:
    """A data centre's stack that removes what it is told to."""

    def __init__(self) -> None:
        self.removed: list[UUID] = []
        self.holds_image = True

    def instance(self, instance_id: UUID) -> SimpleNamespace:
        return SimpleNamespace(image_held=self.holds_image)

    def remove_instance(self, instance_id: UUID, *, order: CommandOrder) -> None:
        self.removed.append(instance_id)


class Released:
    """Circuits or keys: notes who gave theirs back."""

    def __init__(self) -> None:
        self.owners: list[UUID] = []
        self.held: set[UUID] = set()

    def holders(self) -> set[UUID]:
        return self.held

    def promised_to(self) -> set[UUID]:
        return self.held

    def release(self, *arguments: Any) -> None:
        self.owners += [a for a in arguments if isinstance(a, UUID)]


class Unasked:
    """A schedule that nobody was promised anything by."""

    def promise_withdrawn(self, operation_id: UUID) -> None: ...


def unseen(row: DeploymentRow) -> Sighting:
    """Nobody looks at instances here."""
    return Sighting(row, None, None, None)


class Books:
    """The orchestrator's records over one database."""

    def __init__(self, engine: Engine) -> None:
        clock = SystemClock()
        self.engine = engine
        self.slave = Slave()
        self.records = LcmRecords(engine, clock)
        self.journal = OperationJournal(engine, clock, EventBus(), follows=deployment_follows)
        self.data_centres = DataCentres(
            [DataCentre("dc-1", "alice--bob-1", "dc-1", cast("SlaveClient", self.slave))]
        )
        self.circuits, self.keys = Released(), Released()
        nobody = cast("Any", None)
        self.lifecycle = Lifecycle(
            engine, clock, self.records, self.journal, nobody, nobody, nobody, nobody,
            self.data_centres, promises=cast("Any", Unasked()), wake=lambda: None,
            sighting=unseen,
        )  # fmt: skip
        self.admission = Admission(
            self.journal, self.records, cast("Any", self.keys), {}, cast("Any", self.circuits),
            self.data_centres, clock, promises=Unasked(), wake_schedule=lambda: None,
        )  # fmt: skip
        with writing(engine) as session:
            session.add(
                ImageRow(
                    digest=DIGEST, name="web", format="docker-archive", size=1,
                    vim_image_id="sha256:1", added_at=clock.now(),
                )
            )  # fmt: skip
        self.now = clock.now()
        self.asked = threading.Event()
        self.refused: ProblemError | None = None

    def deployment(self, state: DeploymentState, data_centre: str = "dc-1") -> UUID:
        deployment_id = uuid4()
        with writing(self.engine) as session:
            session.add(
                DeploymentRow(
                    deployment_id=deployment_id, name="vnf-1", data_centre=data_centre,
                    image_digest=DIGEST, cipher="aes-256-gcm", key_mode="pooled", memory_mib=64,
                    cpus=1.0, state=state.value, created_at=self.now, changed_at=self.now,
                )
            )  # fmt: skip
        return deployment_id

    def operation(
        self,
        deployment_id: UUID,
        kind: OperationKind,
        state: OperationState,
        on_failure: OnFailure = OnFailure.ROLLBACK,
    ) -> UUID:
        operation_id = uuid4()
        with writing(self.engine) as session:
            self.journal.add(
                session, operation_id, deployment_id, kind, STEPS[kind], wait_until=None,
                on_failure=on_failure,
            )  # fmt: skip
            session.execute(
                update(OperationRow)
                .where(OperationRow.operation_id == operation_id)
                .values(state=state.value)
            )
        return operation_id

    def deploy(self, catalogue: Catalogue) -> None:
        """Ask for a deployment, as REST does; `asked` tells that the image was found."""
        vim = SimpleNamespace(image_formats=["docker-archive"])
        books_slave = SimpleNamespace(data_centre=lambda: SimpleNamespace(vim=vim))

        def plan(_: str) -> None:
            self.asked.set()

        nobody = cast("Any", None)
        cipher = SealedStreamCipher(self.records, nobody, nobody, sender_name="central")
        lifecycle = Lifecycle(
            self.engine, SystemClock(), self.records, self.journal, catalogue,
            cast("Any", None), {"aes-256-gcm": cipher}, cast("Any", SimpleNamespace(plan=plan)),
            DataCentres([DataCentre("dc-1", "alice--bob-1", "dc-1", cast("Any", books_slave))]),
            promises=cast("Any", Unasked()), wake=lambda: None,
            sighting=unseen,
        )  # fmt: skip
        request = DeploymentRequest(image="web", data_centre="dc-1", wait_s=60)
        try:
            lifecycle.deploy(request)
        except ProblemError as error:
            self.refused = error

    def lifecycle_with(self, cipher: SealedStreamCipher) -> None:
        """One that can send images."""
        nobody = cast("Any", None)
        image = SimpleNamespace(digest=DIGEST, size=1)
        catalogue = cast("Any", SimpleNamespace(get=lambda _: image))
        self.lifecycle = Lifecycle(
            self.engine, SystemClock(), self.records, self.journal, catalogue, nobody,
            {cipher.name: cipher}, nobody, self.data_centres, promises=cast("Any", Unasked()),
            wake=lambda: None,
            sighting=unseen,
        )  # fmt: skip

    def newest_steps(self, deployment_id: UUID) -> list[str]:
        operation = self.journal.of_deployment(deployment_id)[-1]
        return [step.name for step in self.journal.steps(operation.operation_id)]

    def state(self, deployment_id: UUID) -> str:
        return self.records.deployment(deployment_id).state

    def lose_the_image(self) -> None:
        with writing(self.engine) as session:
            session.execute(delete(ImageRow))


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


@pytest.mark.parametrize(
    ("kind", "ended", "before", "after"),
    [
        (OperationKind.INSTANTIATE, OperationState.COMPLETED, "DEPLOYING", "RUNNING"),
        (OperationKind.INSTANTIATE, OperationState.ROLLED_BACK, "DEPLOYING", "FAILED"),
        (OperationKind.TERMINATE, OperationState.COMPLETED, "REMOVING", "REMOVED"),
        (OperationKind.INSTANTIATE, OperationState.PROCESSING, "DEPLOYING", "DEPLOYING"),
    ],
)
def test_a_crash_after_an_operations_end_leaves_no_deployment_behind(
    books: Books, kind: OperationKind, ended: OperationState, before: str, after: str
) -> None:
    deployment_id = books.deployment(DeploymentState(before))
    books.operation(deployment_id, kind, ended)
    books.lifecycle.settle()
    assert books.state(deployment_id) == after


def test_a_deployment_that_goes_away_again_is_not_settled_by_its_first_operation(
    books: Books,
) -> None:
    deployment_id = books.deployment(DeploymentState.REMOVING)
    books.operation(deployment_id, OperationKind.INSTANTIATE, OperationState.COMPLETED)
    books.operation(deployment_id, OperationKind.TERMINATE, OperationState.PROCESSING)
    books.lifecycle.settle()
    assert books.state(deployment_id) == "REMOVING"


@pytest.mark.parametrize(
    ("came_up", "after"),
    [(OperationState.COMPLETED, "RUNNING"), (OperationState.ROLLED_BACK, "FAILED")],
)
def test_a_removal_that_fails_leaves_what_there_was(
    books: Books, came_up: OperationState, after: str
) -> None:
    deployment_id = books.deployment(DeploymentState.REMOVING)
    books.operation(deployment_id, OperationKind.INSTANTIATE, came_up)
    books.operation(deployment_id, OperationKind.TERMINATE, OperationState.ROLLED_BACK)
    books.lifecycle.settle()
    assert books.state(deployment_id) == after


def test_a_deployment_is_removed_also_when_its_image_left_the_catalogue(books: Books) -> None:
    deployment_id = books.deployment(DeploymentState.REMOVING)
    operation_id = books.operation(
        deployment_id, OperationKind.TERMINATE, OperationState.PROCESSING
    )
    books.lose_the_image()
    ends = TransferEnds(books.records, {}, books.data_centres)
    RemoveStep(books.records, ends).do(operation_id)
    assert books.slave.removed == [deployment_id]


def test_commands_to_an_instance_go_out_in_the_order_of_operations_and_claims(
    books: Books,
) -> None:
    deployment_id = books.deployment(DeploymentState.RUNNING)
    first, second = (
        books.operation(deployment_id, OperationKind.OPERATE, OperationState.PROCESSING)
        for _ in range(2)
    )
    fences, others = Fences(books.engine), Fences(books.engine)
    records = LcmRecords(books.engine, SystemClock(), fences=fences)
    alone = records.order_of(first)
    fences.raise_for(first)
    claimed = records.order_of(first)
    others.raise_for(first)
    taken_over = LcmRecords(books.engine, SystemClock(), fences=others).order_of(first)
    assert records.order_of(first) == claimed, "until it hears of it, it commands as before"
    later = records.order_of(second)
    assert alone < claimed < taken_over < later
    with writing(books.engine) as session:  # recorded by a replica whose clock is slow
        session.execute(
            update(OperationRow)
            .where(OperationRow.operation_id == second)
            .values(created_at=books.now - timedelta(hours=1))
        )
    assert records.order_of(second) > taken_over
    assert books.records.order_of(first) == alone
    fences.lose(first)
    with pytest.raises(ClaimLostError):
        records.order_of(first)
    fences.drop(first)
    assert records.order_of(first) == taken_over, "who works without claims goes on after them"


def test_a_waiting_operation_without_its_image_is_refused_and_in_nobodys_way(books: Books) -> None:
    deployment_id = books.deployment(DeploymentState.DEPLOYING)
    operation_id = books.operation(
        deployment_id, OperationKind.INSTANTIATE, OperationState.WAITING_FOR_KEY
    )
    books.lose_the_image()
    assert books.admission.waiting_for_keys("alice--bob-1") == 1
    assert books.admission.admit(books.journal.get(operation_id)) is False
    row = books.journal.get(operation_id)
    assert row.state == OperationState.ROLLED_BACK
    assert row.error is not None
    assert "no longer in the catalogue" in row.error["detail"]
    assert set(books.keys.owners) == set(books.circuits.owners) == {operation_id}


def test_a_refused_operation_is_held_where_that_was_asked(books: Books) -> None:
    deployment_id = books.deployment(DeploymentState.DEPLOYING)
    operation_id = books.operation(
        deployment_id,
        OperationKind.INSTANTIATE,
        OperationState.WAITING_FOR_KEY,
        OnFailure.HOLD,
    )
    books.lose_the_image()
    assert books.admission.admit(books.journal.get(operation_id)) is False
    row = books.journal.get(operation_id)
    assert (row.state, row.ended_at) == (OperationState.FAILED_TEMP, None)
    assert set(books.keys.owners) == set(books.circuits.owners) == {operation_id}
    assert books.state(deployment_id) == "DEPLOYING", "nothing else is begun with it"


@pytest.mark.parametrize("arrived", [True, False])
def test_a_retry_that_is_cancelled_while_it_waits_keeps_the_key_of_an_image_that_arrived(
    books: Books, arrived: bool
) -> None:
    deployment_id = books.deployment(DeploymentState.DEPLOYING)
    operation_id = books.operation(
        deployment_id, OperationKind.INSTANTIATE, OperationState.STARTING, OnFailure.HOLD
    )
    if arrived:
        for name in INSTANTIATE[: INSTANTIATE.index("place")]:
            books.journal.step_ends(operation_id, name, StepState.DONE)
    books.admission.withdraw(books.journal.get(operation_id))
    assert books.circuits.owners == [operation_id]
    assert books.keys.owners == ([] if arrived else [operation_id])


@pytest.mark.parametrize("begun", [True, False])
def test_what_is_held_before_its_first_step_gives_its_key_back(books: Books, begun: bool) -> None:
    """Once begun, the undoing of step key does it, after the data centre was told."""
    deployment_id = books.deployment(DeploymentState.DEPLOYING)
    operation_id = books.operation(
        deployment_id, OperationKind.INSTANTIATE, OperationState.PROCESSING, OnFailure.HOLD
    )
    if begun:
        books.journal.step_begins(operation_id, "key")
    holding = Holding(cast("Any", books.circuits), books.admission.withdraw)
    steps = books.journal.steps(operation_id)
    assert holding.kept(books.journal.get(operation_id), steps) == set()
    assert set(books.circuits.owners) == {operation_id}
    assert books.keys.owners == ([] if begun else [operation_id])


def test_what_is_over_holds_nothing_for_long(books: Books) -> None:
    deployment_id = books.deployment(DeploymentState.RUNNING)
    states = (*OperationState,)
    of = {
        state: books.operation(deployment_id, OperationKind.INSTANTIATE, state) for state in states
    }
    ended = {
        of[OperationState.COMPLETED],
        of[OperationState.ROLLED_BACK],
        of[OperationState.FAILED],
    }
    books.admission.give_back_of_ended()
    assert books.circuits.owners == books.keys.owners == []
    nobodys = uuid4()  # a relay's, or of whom there is no record any more
    books.circuits.held = {*of.values(), nobodys}
    books.admission.give_back_of_ended()
    assert set(books.circuits.owners) == set(books.keys.owners) == ended
    books.circuits.owners, books.keys.owners, books.circuits.held = [], [], set()
    retried = uuid4()
    with writing(books.engine) as session:
        session.execute(
            update(OperationRow)
            .where(OperationRow.operation_id == of[OperationState.COMPLETED])
            .values(transfer_id=retried)
        )
    books.keys.held = {of[OperationState.PROCESSING], retried, nobodys}
    books.admission.give_back_of_ended()
    assert books.keys.owners == [retried], "keys belong to the last try"
    assert books.circuits.owners == [of[OperationState.COMPLETED]]


def test_a_waiting_operation_to_a_data_centre_that_left_the_settings_is_refused(
    books: Books,
) -> None:
    deployment_id = books.deployment(DeploymentState.DEPLOYING, "dc-gone")
    operation_id = books.operation(
        deployment_id, OperationKind.INSTANTIATE, OperationState.WAITING_FOR_KEY
    )
    assert books.admission.waiting_for_keys("alice--bob-1") == 0, "the schedule goes on"
    assert books.admission.admit(books.journal.get(operation_id)) is False
    assert books.journal.get(operation_id).state == OperationState.ROLLED_BACK
    assert books.journal.in_states(ADMISSIBLE) == []


def test_an_image_leaves_the_catalogue_or_is_deployed_but_not_both(
    books: Books, tmp_path: Path
) -> None:
    catalogue = Catalogue(books.engine, tmp_path, SystemClock(), max_image_bytes=1)
    begins = threading.Thread(target=lambda: books.deploy(catalogue))

    def none_yet(digest: bytes) -> int:
        begins.start()
        assert books.asked.wait(30)
        return books.records.image_users(digest)

    catalogue.remove("web", users=none_yet)
    begins.join(30)
    assert isinstance(books.refused, UnknownImageError)
    assert books.records.deployments() == []


CHANGES = {
    "stop": lambda books, of: books.lifecycle.operate(of, "STOPPED"),
    "start": lambda books, of: books.lifecycle.operate(of, "STARTED"),
    "heal": lambda books, of: books.lifecycle.heal(of, HealRequest()),
    "remove": lambda books, of: books.lifecycle.remove(of),
}


def end(books: Books, deployment_id: UUID, target: OperationState) -> None:
    """Bring the newest operation to this end, as the runner does."""
    operation = books.journal.of_deployment(deployment_id)[-1]
    journal, operation_id = books.journal, operation.operation_id
    journal.move(operation_id, OperationState.PROCESSING, allowed=ADMISSIBLE)
    if target == OperationState.ROLLED_BACK:
        journal.move(
            operation_id, OperationState.ROLLING_BACK, allowed=(OperationState.PROCESSING,)
        )
    allowed = (OperationState.PROCESSING, OperationState.ROLLING_BACK)
    assert journal.move(operation_id, target, allowed=allowed)


@pytest.mark.parametrize(
    ("change", "busy", "done"),
    [
        ("stop", "OPERATING", "STOPPED"),
        ("start", "OPERATING", "RUNNING"),
        ("heal", "HEALING", "RUNNING"),
        ("remove", "REMOVING", "REMOVED"),
    ],
)
def test_a_change_ends_together_with_its_operation(
    books: Books, change: str, busy: str, done: str
) -> None:
    for before in (DeploymentState.RUNNING, DeploymentState.STOPPED):
        deployment_id = books.deployment(before)
        assert CHANGES[change](books, deployment_id).state == busy
        with pytest.raises(DeploymentStateError) as refused:
            CHANGES["stop"](books, deployment_id)
        assert refused.value.extensions == {"state": busy, "allowed_actions": []}
        end(books, deployment_id, OperationState.ROLLED_BACK)
        assert books.state(deployment_id) == before, "a change that failed changed nothing"
        CHANGES[change](books, deployment_id)
        end(books, deployment_id, OperationState.COMPLETED)
        assert books.state(deployment_id) == done


@pytest.mark.parametrize("state", list(DeploymentState))
def test_each_change_is_possible_where_the_table_says(books: Books, state: DeploymentState) -> None:
    for change, ask in CHANGES.items():
        deployment_id = books.deployment(state)
        if change in DEPLOYMENT_ACTIONS.get(state, ()):
            assert ask(books, deployment_id).allowed_actions == []
        elif change != "remove" or state not in (
            DeploymentState.REMOVED,  # nothing is left to do
            DeploymentState.REMOVING,
        ):
            with pytest.raises(DeploymentStateError) as refused:
                ask(books, deployment_id)
            assert refused.value.extensions["state"] == state


def test_only_an_image_that_the_data_centre_lost_is_sent_again(books: Books) -> None:
    cipher = SealedStreamCipher(books.records, cast("Any", None), cast("Any", None), sender_name="")
    books.lifecycle_with(cipher)
    deployment_id = books.deployment(DeploymentState.RUNNING)
    books.lifecycle.heal(deployment_id, HealRequest())
    assert books.newest_steps(deployment_id) == list(HEAL_IN_PLACE)
    end(books, deployment_id, OperationState.COMPLETED)
    books.slave.holds_image = False
    books.lifecycle.heal(deployment_id, HealRequest(wait_s=30))
    assert books.newest_steps(deployment_id) == list(HEAL)
    operation = books.journal.of_deployment(deployment_id)[-1]
    assert operation.wait_until is not None
    assert 29 < (operation.wait_until - operation.created_at).total_seconds() <= 30
