"""Serves one of our services and kills it, as `kill -9` does, at one chosen point.

    python serve_until_fail_point.py orchestrator SETTINGS WHERE
    python serve_until_fail_point.py slave SETTINGS WHERE

WHERE names a step and the moment: `notify:begun` (recorded as running, nothing done yet) or
`notify:done` (its work is done, nothing recorded); for the slave one of the points below. It is a
process of its own, so that nothing in production code knows of it.
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


def arm_orchestrator(where: str) -> None:
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


def main() -> None:
    service, settings, where = sys.argv[1:]
    if service == "orchestrator":
        from orchestrator.app import serve

        arm_orchestrator(where)
    else:
        from nfv_stack.app import serve

        arm_slave(where)
    serve(Path(settings))


if __name__ == "__main__":
    main()
