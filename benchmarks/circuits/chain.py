"""A laboratory whose switch has a row of virtual switches, so that paths have 1 to 8 passages."""

from __future__ import annotations

from pathlib import Path

from emulators.lab.plans import PAPER, LabPlan

START = "start"
_FIRST_PORT = 33
_PORTS_EACH = 4
_LONGEST = 8


def end_of(passages: int) -> str:
    """The end point that lies so many passages from the start."""
    return f"end-{passages}"


def chain_plan(folder: Path) -> LabPlan:
    """The paper's laboratory with a longer switch; writes its topology into `folder`."""
    text = PAPER.topology_file.read_text()
    last_port = _FIRST_PORT + _LONGEST * _PORTS_EACH - 1
    text = text.replace("\nports = 32\n", f"\nports = {last_port}\n")
    text += _end_point(START, _FIRST_PORT)
    for number in range(1, _LONGEST + 1):
        first = _first_port(number)
        text += f"""
[[virtual_switches]]
name = "row-{number}"
chassis = "polatis-1"
owner = "bench"
ports = ["{first}-{first + _PORTS_EACH - 1}"]
"""
        text += _end_point(end_of(number), first + 2)
        if number < _LONGEST:
            text += f"""
[[fibres]]
name = "row-jumper-{number}"
a = "polatis-1:{first + 1}"
b = "polatis-1:{_first_port(number + 1)}"
km = 0.01
kind = "classical"
"""
    file = folder / "chain.toml"
    file.write_text(text)
    return LabPlan("paper", "a row of eight virtual switches", file, PAPER.sites)


def _first_port(number: int) -> int:
    return _FIRST_PORT + (number - 1) * _PORTS_EACH


def _end_point(name: str, port: int) -> str:
    return f"""
[[end_points]]
name = "{name}"
node = "node-1"
kind = "classical"
port = "polatis-1:{port}"
"""
