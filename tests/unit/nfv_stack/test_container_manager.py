"""Booting and removing instances, on a VIM whose instances do as they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from database import open_engine
from key_management.ledger import KeyLedger
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from nfv_stack.contract.ordering import CommandOrder
from nfv_stack.contract.schemas import (
    ImageFormat,
    InstanceRequest,
    InstanceState,
    TransferState,
    UsageView,
)
from nfv_stack.errors import (
    BootFailedError,
    InstanceConflictError,
    LateCommandError,
    TransferStateError,
    UnknownInstanceError,
    VimRefusedError,
    VimUnreachableError,
)
from nfv_stack.image_intake.intake import ImageIntake, IntakeRules
from nfv_stack.store.command_orders import CommandOrders
from nfv_stack.store.tables import TransferRow, migrate_slave
from nfv_stack.store.transfers import TransferStore
from nfv_stack.vim.port import (
    ImageSpec,
    InstanceSpec,
    VimCapacity,
    VimDescription,
    VimInstance,
    VimUsage,
)
from nfv_stack.vnf_managers.containers import ContainerManager
from timekeeping import FakeClock, SystemClock

IMAGE_ID = "sha256:" + "ab" * 32
DEADLINE_S = 10


class ScriptedVim:
    """Holds ids; an instance goes through `script`, and stays at its last step."""

    def __init__(self) -> None:
        self.images = {IMAGE_ID}
        self.running: dict[UUID, list[tuple[InstanceState, bool]]] = {}
        self.script = [(InstanceState.RUNNING, True)]
        self.start_error: Exception | None = None
        self.removals_to_fail = 0
        self.looked = threading.Event()

    def describe(self) -> VimDescription:
        return VimDescription("scripted", "1", frozenset({ImageFormat.DOCKER_ARCHIVE}), True)

    def capacity(self) -> VimCapacity:
        return VimCapacity(instances=len(self.running))

    def has_image(self, vim_image_id: str) -> bool:
        return vim_image_id in self.images

    def place_image(self, spec: ImageSpec, chunks) -> str:
        raise NotImplementedError

    def remove_image(self, vim_image_id: str, *, found_here: bool = False) -> None:
        if self.removals_to_fail:
            self.removals_to_fail -= 1
            raise VimUnreachableError("It is down.", next_step="Start it.")
        self.images.discard(vim_image_id)

    def start_instance(self, spec: InstanceSpec) -> VimInstance:
        if self.start_error is not None:
            raise self.start_error
        self.running.setdefault(spec.instance_id, list(self.script))
        return self._view(spec.instance_id)

    def _view(self, instance_id: UUID) -> VimInstance:
        steps = self.running[instance_id]
        state, healthy = steps.pop(0) if len(steps) > 1 else steps[0]
        return VimInstance(f"v-{instance_id}", state, healthy, detail="as scripted")

    def instance(self, instance_id: UUID) -> VimInstance | None:
        self.looked.set()
        return self._view(instance_id) if instance_id in self.running else None

    def instances(self) -> dict[UUID, VimInstance]:
        return {instance_id: self._view(instance_id) for instance_id in self.running}

    def remove_instance(self, instance_id: UUID) -> None:
        self.running.pop(instance_id, None)

    def stop_instance(self, instance_id: UUID) -> VimInstance:
        self.running[instance_id] = [(InstanceState.STOPPED, False)]
        return self._view(instance_id)

    def usage(self, instance_id: UUID) -> VimUsage:
        return VimUsage(cpu_time_s=1.5, memory_bytes=4096)

    def log(self, instance_id: UUID, *, tail_lines: int = 200) -> str:
        return "last words\n"

    def close(self) -> None: ...


class House:
    def __init__(self, folder: Path) -> None:
        self.engine = open_engine(f"sqlite:///{folder / 'slave.sqlite'}")
        migrate_slave(self.engine)
        migrate_keys(self.engine)
        self.vim = ScriptedVim()
        self.clock = SystemClock()
        self.store = TransferStore(self.engine, self.clock)
        ledger = KeyLedger(self.engine, WrappingKeys(folder / "wrapping"), FakeClock())
        rules = IntakeRules("dc-1", frozenset(), 1, 1.0, True)
        intake = self.intake = ImageIntake(rules, self.store, ledger, self.vim, self.clock)
        self.manager = ContainerManager(
            "dc-1", self.engine, self.store, intake, self.vim, self.clock
        )

    def transfer(self, state: TransferState = TransferState.ACKNOWLEDGED) -> UUID:
        transfer_id = uuid4()
        placed = state in (TransferState.PLACED, TransferState.ACKNOWLEDGED)
        self.store.add(
            TransferRow(
                transfer_id=transfer_id,
                link="l",
                key_id=uuid4(),
                key_source="emulated",
                sender="central",
                suite="aes-256-gcm",
                chunk_log2=20,
                image_digest=bytes(32),
                image_size=1,
                image_format=ImageFormat.DOCKER_ARCHIVE.value,
                vim_image_id=IMAGE_ID,
                state=state.value,
                attempts=1,
                image_was_present=False,
                placed_image_id=IMAGE_ID if placed else None,
            )
        )
        return transfer_id

    def request(self, transfer_id: UUID | None = None, **changes: object) -> InstanceRequest:
        return InstanceRequest(transfer_id=transfer_id or self.transfer(), name="web", **changes)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.engine.dispose()


def test_it_waits_until_the_instance_is_healthy(house: House) -> None:
    house.vim.script = [
        (InstanceState.STARTING, False),
        (InstanceState.RUNNING, False),
        (InstanceState.RUNNING, True),
    ]
    view = house.manager.boot(uuid4(), house.request())
    assert (view.state, view.healthy) == (InstanceState.RUNNING, True)


@pytest.mark.parametrize("end", [InstanceState.FAILED, InstanceState.STOPPED])
def test_an_instance_that_ends_is_removed_and_told_with_its_last_words(house, end) -> None:
    house.vim.script = [(InstanceState.RUNNING, False), (end, False)]
    instance_id = uuid4()
    with pytest.raises(BootFailedError, match=f"{end.value}.*last words"):
        house.manager.boot(instance_id, house.request())
    _nothing_of(house, instance_id)


def test_an_instance_that_is_never_healthy(house: House) -> None:
    house.vim.script = [(InstanceState.RUNNING, False)]
    instance_id = uuid4()
    with pytest.raises(BootFailedError, match=r"not healthy within 0\.2 s"):
        house.manager.boot(instance_id, house.request(boot_timeout_s=0.2))
    _nothing_of(house, instance_id)


def test_an_instance_that_the_vim_refuses(house: House) -> None:
    house.vim.start_error = VimRefusedError("No memory.", next_step="Buy some.")
    instance_id = uuid4()
    with pytest.raises(BootFailedError, match="No memory"):
        house.manager.boot(instance_id, house.request())
    _nothing_of(house, instance_id)


def test_a_vim_that_does_not_answer_leaves_the_record_for_the_next_try(house: House) -> None:
    house.vim.start_error = VimUnreachableError("Down.", next_step="Start it.")
    instance_id, request = uuid4(), house.request()
    with pytest.raises(VimUnreachableError):
        house.manager.boot(instance_id, request)
    assert house.manager.view(instance_id).state is InstanceState.MISSING
    house.vim.start_error = None
    assert house.manager.boot(instance_id, request).healthy


@pytest.mark.parametrize("state", [TransferState.RECEIVING, TransferState.CANCELLED])
def test_nothing_runs_before_its_image_is_placed(house: House, state) -> None:
    instance_id = uuid4()
    with pytest.raises(TransferStateError):
        house.manager.boot(instance_id, house.request(house.transfer(state)))
    _nothing_of(house, instance_id)


def test_one_id_is_one_instance(house: House) -> None:
    instance_id, request = uuid4(), house.request()
    first = house.manager.boot(instance_id, request)
    assert house.manager.boot(instance_id, request) == first
    with pytest.raises(InstanceConflictError):
        house.manager.boot(instance_id, house.request())


def test_removing_ends_a_boot_under_way(house: House) -> None:
    house.vim.script = [(InstanceState.RUNNING, False)]
    instance_id, request = uuid4(), house.request()
    failures: list[BootFailedError] = []

    def boot() -> None:
        try:
            house.manager.boot(instance_id, request)
        except BootFailedError as error:
            failures.append(error)

    booting = threading.Thread(target=boot)
    booting.start()
    assert house.vim.looked.wait(DEADLINE_S)
    house.manager.remove(instance_id)
    booting.join(DEADLINE_S)
    assert "removed while it started" in failures[0].detail
    _nothing_of(house, instance_id)


def test_closing_ends_a_boot_but_keeps_the_instance(house: House) -> None:
    house.vim.script = [(InstanceState.RUNNING, False)]
    instance_id, request = uuid4(), house.request()
    failures: list[BootFailedError] = []

    def boot() -> None:
        try:
            house.manager.boot(instance_id, request)
        except BootFailedError as error:
            failures.append(error)

    booting = threading.Thread(target=boot)
    booting.start()
    assert house.vim.looked.wait(DEADLINE_S)
    house.manager.close()
    booting.join(DEADLINE_S)
    assert failures
    assert house.manager.view(instance_id).state is InstanceState.RUNNING


def test_the_image_goes_with_the_last_instance(house: House) -> None:
    request, ids = house.request(), [uuid4(), uuid4()]
    for instance_id in ids:
        house.manager.boot(instance_id, request)
    house.manager.remove(ids[0])
    assert house.vim.images
    house.manager.remove(ids[1])
    assert not house.vim.images
    house.manager.remove(ids[1])


def test_two_that_leave_at_once_take_the_image_with_them(house: House) -> None:
    request, ids = house.request(), [uuid4() for _ in range(6)]
    for instance_id in ids:
        house.manager.boot(instance_id, request)
    threads = [threading.Thread(target=house.manager.remove, args=(each,)) for each in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not house.vim.images
    assert house.manager.views() == []


def test_a_removal_cut_off_is_finished_by_the_next(house: House) -> None:
    instance_id = uuid4()
    house.manager.boot(instance_id, house.request())
    house.vim.removals_to_fail = 1
    with pytest.raises(VimUnreachableError):
        house.manager.remove(instance_id)
    house.manager.remove(instance_id)
    assert not house.vim.images
    _nothing_of(house, instance_id)


def test_an_image_whose_transfer_may_still_be_cancelled_stays(house: House) -> None:
    instance_id = uuid4()
    house.manager.boot(instance_id, house.request(house.transfer(TransferState.PLACED)))
    house.manager.remove(instance_id)
    assert house.vim.images


def test_an_image_whose_transfer_was_cancelled_before_the_instance_goes_with_it(
    house: House,
) -> None:
    """An orchestrator cancels what it can where the VIM does not remove the instance yet."""
    transfer_id, instance_id = house.transfer(TransferState.PLACED), uuid4()
    house.manager.boot(instance_id, house.request(transfer_id))
    house.intake.cancel(transfer_id)
    assert house.vim.images, "its instance is there still"
    house.manager.remove(instance_id)
    assert not house.vim.images
    _nothing_of(house, instance_id)


def test_a_stopped_instance_is_started_again(house: House) -> None:
    instance_id = uuid4()
    house.manager.boot(instance_id, house.request())
    assert house.manager.view(instance_id).usage == UsageView(cpu_time_s=1.5, memory_bytes=4096)
    stopped = house.manager.stop(instance_id)
    assert (stopped.state, stopped.usage) == (InstanceState.STOPPED, None)
    del house.vim.running[instance_id]  # the VIM loses it
    assert house.manager.start(instance_id, 5).healthy


def test_an_instance_is_made_anew_from_the_image_that_is_here(house: House) -> None:
    instance_id = uuid4()
    house.manager.boot(instance_id, house.request())
    house.vim.running[instance_id] = [(InstanceState.FAILED, False)]
    assert house.manager.recreate(instance_id, 5).healthy
    house.vim.images.clear()
    assert house.manager.view(instance_id).image_held is False
    with pytest.raises(BootFailedError, match="lost the image"):
        house.manager.recreate(instance_id, 5)
    assert house.manager.view(instance_id).healthy, "nothing was taken away for it"


def test_what_does_not_come_up_again_is_left_as_it_is(house: House) -> None:
    instance_id = uuid4()
    house.manager.boot(instance_id, house.request())
    house.vim.script = [(InstanceState.FAILED, False)]
    with pytest.raises(BootFailedError, match="last words"):
        house.manager.recreate(instance_id, 5)
    assert house.manager.view(instance_id).state is InstanceState.FAILED
    house.vim.script = [(InstanceState.RUNNING, True)]
    assert house.manager.recreate(instance_id, 5).healthy


def test_views_say_what_the_vim_says(house: House) -> None:
    ids = [uuid4(), uuid4()]
    for instance_id in ids:
        house.manager.boot(instance_id, house.request())
    house.vim.running.pop(ids[0])
    states = {view.instance_id: view.state for view in house.manager.views()}
    assert states == {ids[0]: InstanceState.MISSING, ids[1]: InstanceState.RUNNING}


def _nothing_of(house: House, instance_id: UUID) -> None:
    assert instance_id not in house.vim.running
    with pytest.raises(UnknownInstanceError):
        house.manager.view(instance_id)


# --- commands that come late


FIRST, TAKEN_OVER, LATER = CommandOrder(7, 1), CommandOrder(7, 2), CommandOrder(8, 1)


@pytest.mark.parametrize("late", [FIRST, TAKEN_OVER])
def test_what_was_removed_is_not_booted_by_a_command_that_comes_late(
    house: House, late: CommandOrder
) -> None:
    instance_id, request = uuid4(), house.request()
    house.manager.boot(instance_id, request, TAKEN_OVER)
    house.manager.remove(instance_id, LATER)
    with pytest.raises(LateCommandError, match=r"8\.1"):
        house.manager.boot(instance_id, request, late)
    _nothing_of(house, instance_id)


def test_what_was_made_anew_is_left_alone_by_commands_that_come_late(house: House) -> None:
    instance_id = uuid4()
    house.manager.boot(instance_id, house.request(), FIRST)
    house.manager.recreate(instance_id, 5, LATER)
    commands = [
        lambda: house.manager.remove(instance_id, FIRST),
        lambda: house.manager.stop(instance_id, FIRST),
        lambda: house.manager.start(instance_id, 5, FIRST),
        lambda: house.manager.recreate(instance_id, 5, TAKEN_OVER),
    ]
    for command in commands:
        with pytest.raises(LateCommandError):
            command()
    assert house.manager.view(instance_id).healthy


def test_a_removal_that_comes_late_ends_no_boot(house: House) -> None:
    house.vim.script = [(InstanceState.RUNNING, False)]
    instance_id, request = uuid4(), house.request()
    views: list[object] = []
    booting = threading.Thread(
        target=lambda: views.append(house.manager.boot(instance_id, request, LATER))
    )
    booting.start()
    assert house.vim.looked.wait(DEADLINE_S)
    with pytest.raises(LateCommandError):
        house.manager.remove(instance_id, FIRST)
    house.vim.script = [(InstanceState.RUNNING, True)]
    house.vim.running[instance_id] = [(InstanceState.RUNNING, True)]
    booting.join(DEADLINE_S)
    assert len(views) == 1


def test_a_command_can_be_repeated_and_one_without_an_order_is_never_late(house: House) -> None:
    instance_id, request = uuid4(), house.request()
    for order in (FIRST, FIRST, None, TAKEN_OVER, None):
        assert house.manager.boot(instance_id, request, order).healthy
    house.manager.remove(instance_id, LATER)
    house.manager.remove(instance_id, LATER)
    house.manager.remove(uuid4(), FIRST)


def test_only_what_is_not_earlier_than_all_before_it_is_let_through(house: House) -> None:
    known = CommandOrders(house.engine)
    some = st.builds(CommandOrder, st.integers(0, 3), st.integers(0, 3))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(some, max_size=12))
    def holds(orders: list[CommandOrder]) -> None:
        instance_id, latest = uuid4(), CommandOrder(0, 0)
        for order in orders:
            latest = max(latest, order)
            if order == latest:
                known.check(instance_id, order)
            else:
                with pytest.raises(LateCommandError):
                    known.check(instance_id, order)

    holds()


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**9 - 1))
def test_an_order_is_told_as_text(operation: int, claim: int) -> None:
    order = CommandOrder(operation, claim)
    assert CommandOrder.parse(str(order)) == order


@pytest.mark.parametrize("text", ["", "7", "7.", ".1", "7.1.1", "-7.1", "7.1 ", "٧.1", "7.1\n"])
def test_other_text_is_no_order(text: str) -> None:
    with pytest.raises(ValueError, match="two numbers"):
        CommandOrder.parse(text)
