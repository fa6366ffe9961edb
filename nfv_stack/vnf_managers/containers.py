"""The VNF manager for container images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Engine, delete
from sqlalchemy.exc import IntegrityError

from database import reading, writing
from nfv_stack.contract.ordering import CommandOrder
from nfv_stack.contract.schemas import (
    EndPointView,
    InstanceRequest,
    InstanceState,
    InstanceView,
    TransferState,
    UsageView,
)
from nfv_stack.errors import (
    BootFailedError,
    InstanceConflictError,
    TransferStateError,
    UnknownInstanceError,
    VimRefusedError,
)
from nfv_stack.image_intake.intake import ImageIntake
from nfv_stack.store.command_orders import CommandOrders
from nfv_stack.store.tables import InstanceRow, TransferRow
from nfv_stack.store.transfers import TransferStore
from nfv_stack.vim.port import InstanceSpec, Vim, VimInstance
from timekeeping import Clock

log = structlog.get_logger(__name__)

_BOOTABLE = (TransferState.PLACED, TransferState.ACKNOWLEDGED)


class ContainerManager:
    """Instances of this data centre. All requests can be repeated.

    A command that comes with an `order` raises LateCommandError after a later one.
    """

    def __init__(
        self,
        data_centre: str,
        engine: Engine,
        transfers: TransferStore,
        intake: ImageIntake,
        vim: Vim,
        clock: Clock,
    ) -> None:
        self._data_centre = data_centre
        self._engine = engine
        self._transfers = transfers
        self._intake = intake
        self._vim = vim
        self._clock = clock
        self._closing = threading.Event()
        self._orders = CommandOrders(engine)
        self._lock = threading.Lock()
        self._turns: dict[UUID, _Turn] = {}

    def boot(
        self, instance_id: UUID, request: InstanceRequest, order: CommandOrder | None = None
    ) -> InstanceView:
        """Run the image of a placed transfer and wait until the instance is healthy.

        Raises BootFailedError, after which nothing of the instance is left. Removing the instance
        meanwhile ends the waiting.
        """
        with self._alone_with(instance_id, order) as unwanted:
            row = self._record(instance_id, request)
            try:
                self._vim.start_instance(_spec(row))
            except VimRefusedError as error:
                self._remove(instance_id)
                raise BootFailedError(
                    f"Instance {row.name} could not be started. {error.detail}",
                    next_step=error.next_step,
                ) from error
            return self._wait_until_healthy(row, request.boot_timeout_s, unwanted)

    def stop(self, instance_id: UUID, order: CommandOrder | None = None) -> InstanceView:
        """Stop it and keep it."""
        with self._alone_with(instance_id, order):
            row = self._row(instance_id)
            return self._view(row, self._vim.stop_instance(instance_id))

    def start(
        self, instance_id: UUID, boot_timeout_s: float, order: CommandOrder | None = None
    ) -> InstanceView:
        """Start it, from its image if the VIM lost it, and wait until it is healthy.

        Raises BootFailedError; the instance is then left as it is.
        """
        with self._alone_with(instance_id, order) as unwanted:
            return self._start_again(self._row(instance_id), boot_timeout_s, unwanted)

    def recreate(
        self, instance_id: UUID, boot_timeout_s: float, order: CommandOrder | None = None
    ) -> InstanceView:
        """Make it anew from the image that is here; what it had written is gone. As `start`."""
        with self._alone_with(instance_id, order) as unwanted:
            row = self._row(instance_id)
            if not self._vim.has_image(row.placed_image_id):
                raise BootFailedError(
                    f"The VIM has lost the image of {row.name}.",
                    next_step="Heal the deployment: its image is sent again.",
                )
            self._vim.remove_instance(instance_id)
            return self._start_again(row, boot_timeout_s, unwanted)

    def _start_again(
        self, row: InstanceRow, boot_timeout_s: float, unwanted: threading.Event
    ) -> InstanceView:
        try:
            self._vim.start_instance(_spec(row))
        except VimRefusedError as error:
            raise BootFailedError(
                f"Instance {row.name} could not be started. {error.detail}",
                next_step=error.next_step,
            ) from error
        return self._wait_until_healthy(row, boot_timeout_s, unwanted, keep=True)

    def _wait_until_healthy(
        self,
        row: InstanceRow,
        boot_timeout_s: float,
        unwanted: threading.Event,
        *,
        keep: bool = False,
    ) -> InstanceView:
        deadline_s = self._clock.monotonic() + boot_timeout_s
        while True:
            found = self._vim.instance(row.instance_id)
            if found is not None and found.healthy:
                log.info("instance runs", instance=str(row.instance_id))
                return self._view(row, found)
            if self._closing.is_set():
                raise BootFailedError(
                    f"This stack stops while instance {row.name} starts.",
                    next_step="Ask again once it is back.",
                )
            if (
                found is None
                or found.state in (InstanceState.FAILED, InstanceState.STOPPED)
                or unwanted.is_set()
                or self._clock.monotonic() > deadline_s
            ):
                raise self._give_up(
                    row, found, boot_timeout_s, unwanted=unwanted.is_set(), keep=keep
                )
            self._clock.wait(unwanted, self._vim.describe().look_every_s)

    def view(self, instance_id: UUID) -> InstanceView:
        """The instance, in the state that the VIM says."""
        row = self._row(instance_id)
        view = self._with_usage(self._view(row, self._vim.instance(instance_id)))
        held = self._vim.has_image(row.placed_image_id)
        return view.model_copy(update={"image_held": held})

    def views(self) -> list[InstanceView]:
        with reading(self._engine) as session:
            rows = session.query(InstanceRow).order_by(InstanceRow.created_at).all()
            session.expunge_all()
        found = self._vim.instances()
        return [self._with_usage(self._view(row, found.get(row.instance_id))) for row in rows]

    def log(self, instance_id: UUID, lines: int = 200) -> str:
        self._row(instance_id)
        return self._vim.log(instance_id, tail_lines=lines)

    def remove(self, instance_id: UUID, order: CommandOrder | None = None) -> None:
        """Remove the instance, and its image if nothing else here needs it. Absent is fine."""
        self._orders.check(instance_id, order)  # one that is late ends nobody's waiting
        with self._lock:
            turn = self._turns.get(instance_id)
            if turn is not None:
                turn.unwanted.set()
        with self._alone_with(instance_id, order):
            self._remove(instance_id)

    def _remove(self, instance_id: UUID) -> None:
        """The record goes last: what a crash cuts off is done when the request comes again."""
        self._vim.remove_instance(instance_id)
        try:
            row = self._row(instance_id)
        except UnknownInstanceError:
            return

        def forget() -> None:
            with writing(self._engine) as session:
                session.execute(delete(InstanceRow).where(InstanceRow.instance_id == instance_id))

        self._intake.release_image(self._transfers.get(row.transfer_id), instance_id, forget)

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            for turn in self._turns.values():
                turn.unwanted.set()

    @contextmanager
    def _alone_with(
        self, instance_id: UUID, order: CommandOrder | None
    ) -> Iterator[threading.Event]:
        """One request at a time for each instance, none after a later one; the event says that
        nobody wants it any more."""
        with self._lock:
            turn = self._turns.setdefault(instance_id, _Turn())
            turn.users += 1
        try:
            with turn.lock:
                self._orders.check(instance_id, order)
                yield turn.unwanted
        finally:
            with self._lock:
                turn.users -= 1
                if not turn.users:
                    del self._turns[instance_id]

    def _record(self, instance_id: UUID, request: InstanceRequest) -> InstanceRow:
        transfer: TransferRow = self._transfers.get(request.transfer_id)
        if transfer.state not in _BOOTABLE or transfer.placed_image_id is None:
            raise TransferStateError(
                f"Transfer {transfer.transfer_id} is {transfer.state}: there is no image to run.",
                next_step="Wait until it is PLACED.",
                state=transfer.state,
            )
        row = InstanceRow(
            instance_id=instance_id,
            transfer_id=transfer.transfer_id,
            name=request.name,
            image_digest=transfer.digest_of_image,
            placed_image_id=transfer.placed_image_id,
            memory_mib=request.memory_mib,
            cpus=request.cpus,
            created_at=self._clock.now(),
        )
        try:
            with writing(self._engine) as session:
                session.add(row)
        except IntegrityError:
            pass  # asked before; the record stands
        known = self._row(instance_id)
        if known.transfer_id != transfer.transfer_id:
            raise InstanceConflictError(
                f"Instance {instance_id} runs the image of transfer {known.transfer_id}.",
                next_step="Use a new instance id for another image.",
            )
        return known

    def _row(self, instance_id: UUID) -> InstanceRow:
        with reading(self._engine) as session:
            row = session.get(InstanceRow, instance_id)
            if row is None:
                raise UnknownInstanceError(
                    f"{self._data_centre} has no instance {instance_id}.",
                    next_step="List the instances of this data centre.",
                )
            session.expunge(row)
            return row

    def _give_up(
        self,
        row: InstanceRow,
        found: VimInstance | None,
        boot_timeout_s: float,
        *,
        unwanted: bool,
        keep: bool,
    ) -> BootFailedError:
        last_words = self._vim.log(row.instance_id, tail_lines=5).strip()
        if not keep:
            self._remove(row.instance_id)
        if unwanted:
            why = "it was removed while it started"
        elif found is None:
            why = "the VIM lost it"
        elif found.state is InstanceState.RUNNING:
            why = f"it runs, but was not healthy within {boot_timeout_s:g} s"
        else:
            why = f"it is {found.state.value} ({found.detail})"
        said = f" It said: {last_words}" if last_words else ""
        return BootFailedError(
            f"Instance {row.name} did not come up: {why}.{said}",
            next_step="Run the image by hand to see why, or give it more memory or time.",
        )

    def _view(self, row: InstanceRow, found: VimInstance | None) -> InstanceView:
        return InstanceView(
            instance_id=row.instance_id,
            name=row.name,
            state=InstanceState.MISSING if found is None else found.state,
            healthy=found is not None and found.healthy,
            vim=self._vim.describe().driver,
            vim_instance_id=None if found is None else found.vim_instance_id,
            image_digest=row.image_digest.hex(),
            placed_image_id=row.placed_image_id,
            end_points=[
                EndPointView(port=e.port, host=e.host, host_port=e.host_port)
                for e in (found.end_points if found else ())
            ],
            started_at=found.started_at if found else None,
            detail=found.detail if found else "the VIM does not know this instance",
        )

    def _with_usage(self, view: InstanceView) -> InstanceView:
        if view.state is not InstanceState.RUNNING:
            return view
        try:
            usage = self._vim.usage(view.instance_id)
        except VimRefusedError as error:  # it may have ended this moment
            log.info("usage is not told", instance=str(view.instance_id), why=error.detail)
            return view
        told = UsageView(cpu_time_s=usage.cpu_time_s, memory_bytes=usage.memory_bytes)
        return view.model_copy(update={"usage": told})


def _spec(row: InstanceRow) -> InstanceSpec:
    return InstanceSpec(
        row.instance_id,
        row.name,
        row.placed_image_id,
        row.image_digest,
        row.memory_mib,
        row.cpus,
    )


@dataclass
class _Turn:
    """Who deals with an instance just now, and whether it is still wanted."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    unwanted: threading.Event = field(default_factory=threading.Event)
    users: int = 0
