"""Unit agents as services: a turn of an emulated pair, strangers, and sudden deaths."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from idq3p.client import Idq3pClient
from idq3p.unit_agent.contract import Phase, StartRequest, StopRequest
from idq3p.unit_agent.errors import UnitAgentRefusedError, UnitAgentUnreachableError
from trust import Authority, Identity, Role

if TYPE_CHECKING:
    from conftest import Site

SLEEPER = [sys.executable, "-c", "import time, os; print(os.getpid(), flush=True); time.sleep(300)"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def child_pid(site: Site, name: str) -> int:
    output = site.folder / name / "state" / "program.out"
    site.until(lambda: output.exists() and output.read_text().endswith("\n"), "the child runs")
    return int(output.read_text())


def test_a_turn_of_alice_and_bob(site: Site) -> None:
    alice, bob = site.emulated("alice", "alice"), site.emulated("bob-1", "bob")
    turn = uuid4()
    site.switch.pass_light([(1, 2)])
    with alice.client() as at_alice, bob.client(Role.SLAVE, "dc-1") as at_bob:
        assert at_alice.unit().phase is Phase.STOPPED
        begun = at_bob.start(StartRequest(turn_id=turn, fencing=1, line_attenuation_db=2.5))
        assert begun.phase is Phase.STARTING
        at_alice.start(StartRequest(turn_id=turn, fencing=1, bob_address=site.address("bob-1")))
        ready = [
            agent.until(lambda view: view.phase is Phase.GENERATING, "keys come")
            for agent in (alice, bob)
        ]
        for view in ready:
            assert view.turn_id == turn
            assert view.emulated
            assert view.line_length_m == pytest.approx(5000, abs=10)
            assert view.visibility_percent == pytest.approx(99.3, abs=0.3)
            assert view.qber == pytest.approx(0.012, abs=0.002)
            assert view.secret_key_rate_bps == pytest.approx(2453, rel=0.1)
        with (
            Idq3pClient(ready[0].idq3p_address) as alices_keys,
            Idq3pClient(ready[1].idq3p_address) as bobs_keys,
        ):
            for _ in range(100):
                issued = alices_keys.new_key()
                assert bobs_keys.key_by_id(issued.key_id).key == issued.key
        for client in (at_alice, at_bob):
            assert client.stop(StopRequest(turn_id=turn, fencing=1)).phase is Phase.STOPPED
    # The next turn begins with the same units and no keys.
    with bob.client() as at_bob:
        at_bob.start(StartRequest(turn_id=uuid4(), fencing=2))
        assert bob.until(lambda view: view.phase is not Phase.STOPPED, "it runs again").fencing == 2


def test_a_dark_line_is_seen_as_such(site: Site) -> None:
    alice, bob = site.emulated("alice", "alice"), site.emulated("bob-1", "bob")
    turn = uuid4()
    site.switch.pass_light([(1, 2)])
    with alice.client() as at_alice, bob.client() as at_bob:
        at_bob.start(StartRequest(turn_id=turn, fencing=1))
        at_alice.start(StartRequest(turn_id=turn, fencing=1, bob_address=site.address("bob-1")))
    for agent in (alice, bob):
        agent.until(lambda view: view.phase is Phase.GENERATING, "keys come")
    site.switch.pass_light([])
    for agent in (alice, bob):
        dark = agent.until(lambda view: view.phase is Phase.INITIALISING, "the dark is seen")
        assert dark.secret_key_rate_bps is None


def test_strangers_are_refused(site: Site, tmp_path: Path) -> None:
    alice = site.agent("alice", "alice", SLEEPER)
    with alice.client(Role.SLAVE, "dc-1") as slave:
        with pytest.raises(UnitAgentRefusedError) as refused:
            slave.start(StartRequest(turn_id=uuid4(), fencing=1, bob_address="127.0.0.12"))
        assert refused.value.problem.status == 403
    picky = site.agent("bob-1", "bob", SLEEPER, callers=["slave:dc-1"])
    with picky.client(Role.SLAVE, "dc-2") as other, pytest.raises(UnitAgentRefusedError):
        other.unit()
    with picky.client(Role.SLAVE, "dc-1") as own:
        assert own.unit().name == "bob-1"
    # A certificate of another authority does not even get a connection.
    forged = Authority.create(tmp_path / "forged").issue(Identity(Role.ORCHESTRATOR, "co"))
    honest = site.credentials(Role.ORCHESTRATOR, "co")
    mixed = type(honest)(forged.certificate, forged.key, honest.authority)
    client = type(alice.client()).open("alice", f"https://127.0.0.1:{alice.port}", mixed)
    with client, pytest.raises(UnitAgentUnreachableError):
        client.unit()


def test_problems_arrive_typed(site: Site) -> None:
    bob = site.agent("bob-1", "bob", SLEEPER)
    with bob.client() as client:
        client.start(StartRequest(turn_id=uuid4(), fencing=7))
        for request, slug, status in (
            (StartRequest(turn_id=uuid4(), fencing=6), "stale-fencing-number", 409),
            (StartRequest(turn_id=uuid4(), fencing=8), "unit-busy", 409),
            (
                StartRequest(turn_id=uuid4(), fencing=8, bob_address="127.0.0.1"),
                "unit-request-unfit",
                422,
            ),
        ):
            with pytest.raises(UnitAgentRefusedError) as refused:
                client.start(request)
            assert refused.value.problem.slug == slug
            assert refused.value.problem.status == status
            assert refused.value.next_step


def test_kill_9_of_the_agent_takes_the_program_along(site: Site) -> None:
    bob = site.agent("bob-1", "bob", SLEEPER)
    with bob.client() as client:
        client.start(StartRequest(turn_id=uuid4(), fencing=7))
    child = child_pid(site, "bob-1")
    assert alive(child)
    bob.kill()
    site.until(lambda: not alive(child), "the program is gone")
    bob.start()
    with bob.client() as client:
        view = client.unit()
        assert (view.phase, view.fencing) == (Phase.STOPPED, 7)
        with pytest.raises(UnitAgentRefusedError):
            client.start(StartRequest(turn_id=uuid4(), fencing=6))


def test_kill_9_of_the_program_is_a_failure_that_can_be_started_again(site: Site) -> None:
    bob = site.agent("bob-1", "bob", SLEEPER)
    request = StartRequest(turn_id=uuid4(), fencing=1)
    with bob.client() as client:
        client.start(request)
        os.kill(child_pid(site, "bob-1"), 9)
        view = bob.until(lambda view: view.phase is Phase.FAILED, "the failure is seen")
        assert "137" in view.failure
        assert client.start(request).phase is Phase.STARTING


def test_an_orderly_end_of_the_agent_stops_the_program(site: Site) -> None:
    bob = site.agent("bob-1", "bob", SLEEPER)
    with bob.client() as client:
        client.start(StartRequest(turn_id=uuid4(), fencing=1))
    child = child_pid(site, "bob-1")
    bob.close()
    assert not alive(child)
