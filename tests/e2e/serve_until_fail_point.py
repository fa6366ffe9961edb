"""Serves one of our services and kills it, as `kill -9` does, at one chosen point.

    python serve_until_fail_point.py orchestrator SETTINGS WHERE
    python serve_until_fail_point.py orchestrator SETTINGS turn/WHERE
    python serve_until_fail_point.py orchestrator SETTINGS pad/WHERE
    python serve_until_fail_point.py slave SETTINGS WHERE
    python serve_until_fail_point.py kme SETTINGS WHERE

WHERE names a step and the moment: `notify:begun` (recorded as running, nothing done yet) or
`notify:done` (its work is done, nothing recorded); for a turn of Alice one of its states, just
recorded, or a moment between two; of a one-time pad `armed`, `sealed`, `erased` or `sent`; for the others one of the points below. It is a process of its
own, so that nothing in production code knows of it.
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


def arm_turn(where: str) -> None:
    from orchestrator.keys.remote_ends import RemoteBobEnd
    from orchestrator.network.circuits import QuantumCircuits
    from orchestrator.schedule.timetable import Timetable
    from orchestrator.schedule.units import AliceUnit, BobUnit
    from qkd_scheduler.errors import TurnFailedError
    from qkd_scheduler.faults import Fault
    from qkd_scheduler.states import TurnState
    from qkd_scheduler.turn import _Turn

    between: dict[str, Callable[[], None]] = {
        "waiting": lambda: after(Timetable, "open"),
        "lit": lambda: after(QuantumCircuits, "connect"),
        "bob-started": lambda: after(BobUnit, "start"),
        "half-extracted": lambda: before(RemoteBobEnd, "extract"),
        "extracted-at-both": lambda: before(RemoteBobEnd, "confirm"),
        "confirmed-by-bob": lambda: after(RemoteBobEnd, "confirm"),
        "alice-stopped": lambda: after(AliceUnit, "stop"),
    }
    if where in between:
        between[where]()
        return
    if where == TurnState.FAILED:

        def fail(*_: Any) -> None:
            raise TurnFailedError("it was made to fail", fault=Fault.LIGHT_LOST)

        _Turn._generate = fail  # type: ignore[method-assign]
    after(Timetable, "enter", if_=lambda _, __, state, *___, **____: state == TurnState(where))


def arm_pad(where: str) -> None:
    from orchestrator.keys.service import KeyService
    from orchestrator.vnf_lcm.ciphers import one_time_pad

    if where == "armed":
        after(KeyService, "arm_pad")
    elif where == "sealed":
        after(one_time_pad, "seal_file")
    elif where == "erased":
        after(KeyService, "consume_blocks")
    else:
        after(one_time_pad, "send_sealed_file")


def arm_orchestrator(where: str) -> None:
    if where.startswith("turn/"):
        arm_turn(where.removeprefix("turn/"))
        return
    if where.startswith("pad/"):
        arm_pad(where.removeprefix("pad/"))
        return
    from orchestrator.vnf_lcm.progress import AttemptProgress
    from orchestrator.workflow.journal import OperationJournal

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
