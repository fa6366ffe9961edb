"""The command line starts with little: a noun's rooms are imported when it is called."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app

_HEAVY = ("alembic", "cryptography", "docker", "fastapi", "httpx", "networkx", "numpy", "rich")
_HEAVY += ("scipy", "simpy", "sqlalchemy", "taskflow", "uvicorn")
_COUNT = "import sys; import {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
NOUNS = ("image", "vnf", "op", "dc", "network", "schedule", "keys", "user", "token", "audit")
NOUNS += ("demo", "lab", "kme", "pki")


def imported_by(module: str) -> set[str]:
    command = [sys.executable, "-c", _COUNT.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_the_command_imports_nothing_heavy() -> None:
    assert imported_by("orchestrator.cli.main") & set(_HEAVY) == set()


def test_a_noun_imports_no_service() -> None:
    heavy = set(_HEAVY) - {"rich"}
    assert imported_by("orchestrator.cli.commands") & heavy == set()
    assert imported_by("orchestrator.cli.network") & heavy == set()
    assert imported_by("orchestrator.cli.accounts") & heavy == set()


@pytest.mark.parametrize("arguments", [["--help"], ["vnf", "--help"]])
def test_help_imports_no_service_and_no_trust(arguments: list[str]) -> None:
    program = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    program += f"from orchestrator.cli.main import app; app({arguments!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    found = {module.partition(".")[0] for module in done.stderr.split()}
    assert "typer" in found
    assert found & (set(_HEAVY) - {"rich"} | {"structlog", "trust"}) == set()


def test_the_overview_names_every_noun_with_a_line() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    lines = {line.split()[1]: line.split()[2:-1] for line in shown.output.splitlines()
             if line.startswith("│ ") and len(line.split()) > 2}  # fmt: skip
    for noun in NOUNS:
        assert lines.get(noun), noun
    assert "key" not in lines  # a short form, not shown


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_its_help(noun: str) -> None:
    shown = CliRunner().invoke(app, [noun, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Commands" in shown.output


def test_an_unknown_noun_is_refused() -> None:
    assert CliRunner().invoke(app, ["coffee"]).exit_code == 2


def test_the_version_is_said() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.output.split()[0]) == (0, "qnfv")
