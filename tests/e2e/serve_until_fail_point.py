"""Serves one of our services and kills it, as `kill -9` does, at one chosen point.

    python serve_until_fail_point.py orchestrator SETTINGS WHERE
    python serve_until_fail_point.py orchestrator SETTINGS turn@FILE
    python serve_until_fail_point.py orchestrator SETTINGS pad/WHERE
    python serve_until_fail_point.py orchestrator SETTINGS members/WHERE
    python serve_until_fail_point.py slave SETTINGS WHERE
    python serve_until_fail_point.py kme SETTINGS WHERE

WHERE names a step and the moment: `notify:begun` (recorded as running, nothing done yet) or
`notify:done` (its work is done, nothing recorded), or is `cancel` (a wish to cancel was just
recorded); for a turn of Alice one of its states, just recorded, or a moment between two; for a
one-time pad `armed`, `sealed`, `erased` or `sent`; for a VNF of several members `turned-back`,
`removing` or `all-added`; for the others one of the points below. It is a process of its own, so
that nothing in production code knows of it.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str, *, if_: Callable[..., bool] = lambda *a, **k: True) -> None:
    """Die once `owner.name` has returned."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if if_(*args, **kwargs):
            die()
        return result

    setattr(owner, name, wrapped)


def before(owner: Any, name: str, *, if_: Callable[..., bool] = lambda *a, **k: True) -> None:
    """Die when `owner.name` is called."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if if_(*args, **kwargs):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def arm_turn(file: Path) -> None:
    from orchestrator.keys.remote_ends import RemoteBobEnd
    from orchestrator.network.circuits import QuantumCircuits
    from orchestrator.schedule.timetable import Timetable
    from orchestrator.schedule.units import AliceUnit, BobUnit
    from qkd_scheduler.errors import TurnFailedError
    from qkd_scheduler.faults import Fault
    from qkd_scheduler.turn import _Turn

    def named(where: str) -> Callable[..., bool]:
        return lambda *_, **__: file.read_text() == where

    after(Timetable, "open", if_=named("waiting"))
    after(
        Timetable,
        "enter",
        if_=lambda _, __, state, *___, **____: file.read_text() == state.value,
    )
    after(QuantumCircuits, "connect", if_=named("lit"))
    after(BobUnit, "start", if_=named("bob-started"))
    before(RemoteBobEnd, "extract", if_=named("half-extracted"))
    before(RemoteBobEnd, "confirm", if_=named("extracted-at-both"))
    after(RemoteBobEnd, "confirm", if_=named("confirmed-by-bob"))
    after(AliceUnit, "stop", if_=named("alice-stopped"))
    generate = _Turn._generate

    def fail_or_generate(turn: _Turn, dwell_s: float) -> None:
        if file.read_text() == "failed":
            raise TurnFailedError("it was made to fail", fault=Fault.LIGHT_LOST)
        generate(turn, dwell_s)

    _Turn._generate = fail_or_generate  # type: ignore[method-assign]


def arm_pad(where: str) -> None:
    from orchestrator.keys.service import KeyService
    from orchestrator.vnf_lcm.ciphers import one_time_pad

    points: dict[str, Callable[[], None]] = {
        "armed": lambda: after(KeyService, "arm_pad"),
        "sealed": lambda: after(one_time_pad, "seal_file"),
        "erased": lambda: after(KeyService, "consume_blocks"),
        "sent": lambda: after(one_time_pad, "send_sealed_file"),
    }
    points[where]()


def arm_members(where: str) -> None:
    from orchestrator.sol003.members.conductor import Conductor
    from orchestrator.vnf_lcm.changes import DeploymentChanges

    points: dict[str, Callable[[], None]] = {
        "turned-back": lambda: before(
            Conductor, "_do", if_=lambda _, row, *__: row.course == "BACK"
        ),
        "removing": lambda: after(DeploymentChanges, "begin"),
        "all-added": lambda: before(Conductor, "_begin_removals"),
    }
    points[where]()


def arm_orchestrator(where: str) -> None:
    if where.startswith("turn@"):
        arm_turn(Path(where.removeprefix("turn@")))
        return
    if where.startswith("pad/"):
        arm_pad(where.removeprefix("pad/"))
        return
    if where.startswith("members/"):
        arm_members(where.removeprefix("members/"))
        return
    from orchestrator.vnf_lcm.progress import AttemptProgress
    from orchestrator.workflow.journal import OperationJournal

    if where == "cancel":
        after(OperationJournal, "request_cancel")
        return
    step, _, moment = where.partition(":")
    if moment == "begun":
        after(OperationJournal, "step_begins", if_=lambda _, __, name: name == step)
    elif moment == "half":
        before(AttemptProgress, "at", if_=lambda self, done: done > 12_000_000)
    else:
        before(
            OperationJournal,
            "step_ends",
            if_=lambda _, __, name, state, **___: name == step and state == "DONE",
        )


def arm_slave(where: str) -> None:
    from key_management.ledger import KeyLedger
    from nfv_stack.image_intake.intake import ImageIntake
    from nfv_stack.image_intake.placement import PlacementSink
    from nfv_stack.store.transfers import TransferStore
    from nfv_stack.vim.emulated import EmulatedVim

    written: list[int] = []

    def half_way(_: Any, chunk: memoryview) -> bool:
        written.append(len(chunk))
        return sum(written) > 12_000_000

    points: dict[str, Callable[[], None]] = {
        "announce": lambda: after(KeyLedger, "reserve_by_id"),
        "ticket": lambda: after(ImageIntake, "ticket"),
        "stream": lambda: before(PlacementSink, "write", if_=half_way),
        "place": lambda: after(EmulatedVim, "place_image"),
        "placed": lambda: after(
            TransferStore, "change", if_=lambda *_, **values: values.get("state") == "PLACED"
        ),
        "notify": lambda: before(ImageIntake, "notify"),
        "boot": lambda: after(EmulatedVim, "start_instance"),
        "acknowledge": lambda: before(KeyLedger, "consume"),
        "pad-announce": lambda: after(KeyLedger, "reserve_by_ids"),
        "pad-acknowledge": lambda: before(KeyLedger, "consume_all"),
    }
    points[where]()


def arm_kme(where: str) -> None:
    from key_management.kme.deliveries import Deliveries
    from key_management.kme.peer import RemoteKme
    from key_management.kme.service import Kme
    from key_management.ledger import KeyLedger

    points: dict[str, Callable[[], None]] = {
        "opened": lambda: after(Deliveries, "open"),
        "reserved": lambda: after(KeyLedger, "reserve_many"),
        "joined": lambda: after(KeyLedger, "reserve_by_ids"),
        "accepted": lambda: after(RemoteKme, "accept"),
        "allocated": lambda: after(RemoteKme, "allocate"),
        "composed": lambda: after(Deliveries, "compose"),
        "armed": lambda: after(KeyLedger, "arm_all"),
        "agreed": lambda: after(Deliveries, "agree"),
        "taken": lambda: after(Deliveries, "take"),
        "read": lambda: before(KeyLedger, "consume_all"),
        "erased": lambda: after(KeyLedger, "consume_all"),
        "answering": lambda: after(Kme, "new_keys"),
        "accepting": lambda: after(Kme, "accept"),
        "allocating": lambda: after(Kme, "allocate"),
        "giving-up": lambda: before(RemoteKme, "withdraw"),
    }
    points[where]()


def main() -> None:
    service, settings, where = sys.argv[1:]
    if service == "orchestrator":
        from orchestrator.app import serve

        arm_orchestrator(where)
    elif service == "kme":
        from key_management.kme.app import serve

        arm_kme(where)
    else:
        from nfv_stack.app import serve

        arm_slave(where)
    serve(Path(settings))


if __name__ == "__main__":
    main()
