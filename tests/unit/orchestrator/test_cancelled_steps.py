"""A step that waits for its data centre ends as soon as somebody wants that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from nfv_stack.contract.errors import SlaveRefusedError
from nfv_stack.contract.ordering import CommandOrder
from nfv_stack.contract.schemas import TransferState
from orchestrator.errors import OperationCancelledError
from orchestrator.vnf_lcm.steps.instance import BootStep
from orchestrator.vnf_lcm.steps.transfer import PlaceStep, StreamLimits, StreamStep
from orchestrator.workflow.cancellation import Cancellations
from problem_details import Problem
from timekeeping import SystemClock

OPERATION, TRANSFER, DEPLOYMENT = uuid4(), uuid4(), uuid4()
SOON_S = 10.0
"""Far below every time-out of the steps."""


class Slave:
    """A data centre that takes connections and says nothing until it is told to give up."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked = threading.Event()
        self.gives_up = threading.Event()

    def ticket(self, _: object) -> SimpleNamespace:
        host, port = self.listener.getsockname()
        return SimpleNamespace(intake_host=host, intake_port=port)

    def transfer(self, _: object, *, wait_s: float = 0.0) -> SimpleNamespace:
        if wait_s:
            self.asked.set()
            assert self.gives_up.wait(SOON_S)
        over = self.gives_up.is_set()
        state = TransferState.CANCELLED if over else TransferState.RECEIVING
        return SimpleNamespace(state=state, error="it was cancelled", being_received=True)

    def cancel(self, _: object) -> None:
        self.gives_up.set()

    def boot(self, *_: object, order: object) -> None:
        self.asked.set()
        assert self.gives_up.wait(SOON_S)
        raise SlaveRefusedError("dc-1", Problem(title="It did not come up", status=502))

    def remove_instance(self, _: object, *, order: object) -> None:
        self.gives_up.set()


class SilentCipher:
    """Sends nothing, and waits for an answer that does not come."""

    def __init__(self, slave: Slave) -> None:
        self._slave = slave

    def arm(self, *_: object) -> None: ...

    def send(self, connection: socket.socket, *_: object) -> None:
        connection.settimeout(60)
        self._slave.asked.set()
        if connection.recv(1) == b"":
            raise ConnectionResetError("the connection ended")


@pytest.fixture
def slave() -> Iterator[Slave]:
    slave = Slave()
    yield slave
    slave.listener.close()


def ends_of(slave: Slave) -> Any:
    deployment = SimpleNamespace(
        deployment_id=DEPLOYMENT, name="web", data_centre="dc-1", memory_mib=64, cpus=1.0
    )
    work = SimpleNamespace(operation_id=OPERATION, transfer_id=TRANSFER, deployment=deployment)
    row = SimpleNamespace(transfer_id=TRANSFER, image_size=1, cipher="silent", vim_image_id="x")
    return SimpleNamespace(
        records=SimpleNamespace(work=lambda _: work, order_of=lambda _: CommandOrder(1, 0)),
        transfer=lambda _: row,
        cipher=lambda _: SilentCipher(slave),
        slave=lambda _: slave,
    )


def stream(slave: Slave, cancellations: Cancellations) -> StreamStep:
    progress = SimpleNamespace(bytes_done=0, note=lambda: None)
    notes = cast("Any", SimpleNamespace(of=lambda *_: progress))
    return StreamStep(ends_of(slave), notes, SystemClock(), cancellations, StreamLimits())


def place(slave: Slave, cancellations: Cancellations) -> PlaceStep:
    ends = ends_of(slave)
    return PlaceStep(ends, cancellations, place_timeout_s=600, clock=SystemClock())


def boot(slave: Slave, cancellations: Cancellations) -> BootStep:
    return BootStep(ends_of(slave), cancellations, boot_timeout_s=600)


@pytest.mark.parametrize("make", [stream, place, boot])
def test_a_step_that_waits_is_ended(
    slave: Slave, make: Callable[[Slave, Cancellations], Any]
) -> None:
    cancellations = Cancellations()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            make(slave, cancellations).do(OPERATION)
        except Exception as error:  # noqa: BLE001 - told to the test
            raised.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    assert slave.asked.wait(SOON_S)
    cancellations.ask(OPERATION)
    worker.join(SOON_S)
    assert not worker.is_alive(), "it goes on waiting"
    assert len(raised) == 1


@pytest.mark.parametrize("make", [stream, place, boot])
def test_a_step_of_a_cancelled_operation_asks_nobody(
    slave: Slave, make: Callable[[Slave, Cancellations], Any]
) -> None:
    cancellations = Cancellations()
    cancellations.ask(OPERATION)
    with pytest.raises(OperationCancelledError):
        make(slave, cancellations).do(OPERATION)
    assert not slave.asked.is_set()


def test_a_wish_that_was_forgotten_ends_nothing() -> None:
    cancellations = Cancellations()
    cancellations.ask(OPERATION)
    cancellations.forget(OPERATION)
    cancellations.check(OPERATION)
    with cancellations.ending(OPERATION, lambda: None):
        pass
