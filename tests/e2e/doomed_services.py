"""Services of the laboratory that die, as by `kill -9`, at one chosen point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from e2e_house import House

from emulators.lab.processes import LabProcess

LAUNCHER = Path(__file__).parent / "serve_until_fail_point.py"


def restart_doomed(house: House, name: str, service: str, where: str) -> LabProcess:
    """Whoever restarts it afterwards has it as before again."""
    process = house.lab.processes[name]
    process.terminate()
    process.await_end()
    settings = str(house.lab.layout.settings(name))
    usual = process.spec
    argv = (sys.executable, str(LAUNCHER), service, settings, where)
    process.spec = replace(usual, argv=argv)
    house.lab.restart(name)
    process.spec = usual
    return process


@pytest.fixture
def doomed(house: House) -> Iterator[Callable[[str, str, str], LabProcess]]:
    """Starts a service so that it dies at a point; afterwards it serves as before again."""
    touched: list[LabProcess] = []

    def start(name: str, service: str, where: str) -> LabProcess:
        touched.append(house.lab.processes[name])
        return restart_doomed(house, name, service, where)

    yield start
    for process in touched:
        if process.pid is None:
            house.lab.restart(process.spec.name)
