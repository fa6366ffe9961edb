"""The schedule's REST, and the commands on top of it, over a whole schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest
from schedule_room import Room, until
from sqlalchemy import Engine
from typer.testing import CliRunner

from orchestrator.cli import show
from orchestrator.cli.client import ClientError, OrchestratorClient
from orchestrator.cli.connection import Connection
from orchestrator.cli.gantt import Bar, gantt
from orchestrator.cli.main import app as qnfv
from orchestrator.cli.schedule import duration_s, duration_text
from orchestrator.rest.alarms import alarms_router
from orchestrator.rest.schedule import schedule_router
from orchestrator.schedule.metrics import ScheduleCollector
from orchestrator.statuses import STATUS_OF
from problem_details import rest
from timekeeping import SystemClock

LINKS = [f"alice--bob-{n}" for n in (1, 2, 3)]


class House:
    def __init__(self, engine: Engine) -> None:
        self.room = Room(engine, {link: {"alice": []} for link in LINKS})
        app = FastAPI()
        rest.install(app, STATUS_OF)
        app.include_router(schedule_router(self.room.schedule, self.room.timetable, SystemClock()))
        app.include_router(alarms_router(self.room.schedule))

        @app.get("/api/v1/keys")
        def keys() -> list[dict[str, Any]]:
            return [
                {"link": link, "data_centre": f"dc-{number}"}
                for number, link in enumerate(LINKS, 1)
            ]

        self.http = TestClient(app)

    def get(self, path: str) -> Any:
        answer = self.http.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run_all(self) -> None:
        """Serve everybody, then stand still."""
        self.room.schedule.start()
        until(lambda: all(self.room.turns_of(link) for link in LINKS), "everybody had a turn")


@pytest.fixture
def house(engine: Engine) -> Iterator[House]:
    house = House(engine)
    yield house
    house.room.schedule.close()


def test_past_turns_tell_what_was_measured_and_gained(house: House) -> None:
    house.run_all()
    document = house.get("/schedule?limit=2")
    assert document["time_scale"] == 20_000
    newest, before = document["turns"]
    assert newest["number"] > before["number"]
    assert newest["state"] == "done"
    assert newest["gained_keys"] > 0
    assert newest["qber_min"] == newest["qber_mean"] == newest["qber_max"] == 0.02
    assert newest["generating_at"] < newest["draining_at"] < newest["ended_at"]


def test_the_plan_tells_real_and_qkd_times_by_phase(house: House) -> None:
    plan = house.get("/schedule/plan?horizon_s=20")
    [alice] = plan["alices"]
    first = alice["turns"][0]
    assert not first["under_way"]
    assert first["starts_in_s"] == 0.0
    set_up_s = first["generates_in_s"] - first["starts_in_s"]
    assert set_up_s * plan["time_scale"] == pytest.approx(first["qkd_set_up_s"])
    dwell_s = first["ends_in_s"] - first["generates_in_s"]
    assert dwell_s * plan["time_scale"] == pytest.approx(first["qkd_dwell_s"])
    assert first["gained_keys"] > 0
    assert {turn["link"] for turn in alice["turns"]} == set(LINKS)
    starts = [turn["starts_in_s"] for turn in alice["turns"]]
    assert starts == sorted(starts)
    assert starts[-1] <= 20


def test_pools_tell_level_rate_demand_and_what_is_expected(house: House) -> None:
    pools = {pool["link"]: pool for pool in house.get("/schedule/pools")}
    assert set(pools) == set(LINKS)
    assert not pools[LINKS[0]]["measured"]
    assert pools[LINKS[0]]["runs_dry_in_s"] == 0.0, "it is dry"
    house.run_all()
    pools = {pool["link"]: pool for pool in house.get("/schedule/pools")}
    assert pools[LINKS[0]]["measured"]
    assert pools[LINKS[0]]["rate_bps"] == pytest.approx(2_000.0, rel=0.03)
    assert pools[LINKS[0]]["level_keys"] >= 8


def test_orders_are_given_and_taken_back(house: House) -> None:
    bob = f"/api/v1/schedule/bobs/{LINKS[0]}"
    pinned = house.http.put(f"{bob}/pin", json={"kind": "hold", "duration_s": 60}).json()
    assert pinned["pin"] == "hold"
    assert pinned["pinned_until"]
    assert house.http.delete(f"{bob}/pin").json()["pin"] is None
    assert house.http.put(f"{bob}/pin").json()["pin"] == "next"
    excluded = house.http.put(f"{bob}/exclude", json={"why": "works"}).json()
    assert (excluded["excluded"], excluded["excluded_why"]) == (True, "works")
    assert excluded["pin"] is None
    assert house.http.delete(f"{bob}/exclude").json()["excluded"] is False
    asked = house.http.post(f"{bob}/keys-now")
    assert asked.status_code == 202
    assert asked.json()["keys_expected_in_s"] > 0
    house.room.stores.levels[LINKS[0]] = house.room.stores.capacity_keys
    full = house.http.post(f"{bob}/keys-now")
    assert (full.status_code, full.json()["type"]) == (409, "urn:qnfv:problem:order-refused")


@pytest.mark.parametrize(
    ("method", "path", "document", "status", "slug"),
    [
        ("PUT", "/schedule/bobs/alice--bob-9/pin", {}, 404, "unknown-link"),
        ("DELETE", "/schedule/bobs/alice--bob-9/pin", None, 404, "unknown-link"),
        ("PUT", "/schedule/bobs/alice--bob-9/exclude", {}, 404, "unknown-link"),
        ("POST", "/schedule/bobs/alice--bob-9/keys-now", {}, 404, "unknown-link"),
        ("PUT", "/schedule/bobs/alice--bob-1/pin", {"duration_s": -1}, 422, "absurd-wish"),
        ("PUT", "/schedule/bobs/alice--bob-1/exclude", {"duration_s": 1e99}, 422, "absurd-wish"),
        ("PUT", "/schedule/bobs/alice--bob-1/pin", {"kind": "never"}, 422, "invalid-request"),
        ("PUT", "/schedule/bobs/alice--bob-1/pin", {"colour": 1}, 422, "invalid-request"),
        ("GET", "/schedule/plan?horizon_s=1e9", None, 422, "absurd-wish"),
        ("GET", "/schedule/plan?horizon_s=-1", None, 422, "invalid-request"),
        ("POST", f"/alarms/{uuid4()}/acknowledge", {}, 404, "unknown-alarm"),
    ],
)
def test_bad_requests_are_problems_with_a_next_step(
    house: House, method: str, path: str, document: Any, status: int, slug: str
) -> None:
    answer = house.http.request(method, f"/api/v1{path}", json=document)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:qnfv:problem:{slug}"
    assert problem["next_step"]


def test_a_second_hold_and_the_pin_of_an_excluded_bob_are_refused(house: House) -> None:
    house.http.put(f"/api/v1/schedule/bobs/{LINKS[0]}/pin", json={"kind": "hold"})
    second = house.http.put(f"/api/v1/schedule/bobs/{LINKS[1]}/pin", json={"kind": "hold"})
    assert (second.status_code, second.json()["type"]) == (409, "urn:qnfv:problem:order-refused")
    house.http.put(f"/api/v1/schedule/bobs/{LINKS[1]}/exclude")
    pin = house.http.put(f"/api/v1/schedule/bobs/{LINKS[1]}/pin")
    assert pin.status_code == 409


def test_promises_and_alarms_are_listed_and_measured(house: House) -> None:
    operation = uuid4()
    house.room.schedule.promise(operation, LINKS[0], 2_560, 100.0)
    document = house.get("/schedule/promises")
    assert document["kept_share"] is None
    [promise] = document["promises"]
    assert (promise["operation_id"], promise["outcome"]) == (str(operation), None)
    house.room.schedule.promise_kept(operation)
    assert house.get("/schedule/promises")["kept_share"] == 1.0
    house.room.alarms.raise_("qber", LINKS[1], "the QBER is 20 %")
    house.room.alarms.raise_("qber", LINKS[1], "the QBER is 21 %")
    [alarm] = house.get("/alarms")
    assert (alarm["times"], alarm["detail"]) == (2, "the QBER is 21 %")
    registry = CollectorRegistry()
    registry.register(ScheduleCollector(house.room.schedule))
    metrics = generate_latest(registry).decode()
    assert "qnfv_schedule_promises_kept_share 1.0" in metrics
    assert 'qnfv_alarms{kind="qber"} 1.0' in metrics
    answer = house.http.post(f"/api/v1/alarms/{alarm['alarm_id']}/acknowledge")
    assert answer.json()["acknowledged_at"]
    assert house.get("/alarms") == []
    assert len(house.get("/alarms?acknowledged=true")) == 1
    house.room.alarms.raise_("qber", LINKS[1], "again")
    assert len(house.get("/alarms")) == 1, "what comes again after that is a new alarm"


# --- commands -------------------------------------------------------------------------------------


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    client = OrchestratorClient("http://testserver", "token")
    client._http = house.http
    monkeypatch.setattr(Connection, "open", lambda _: client)
    monkeypatch.setattr(show.console, "_width", 150)

    def call(*words: str) -> str:
        with show.console.capture() as capture:
            result = CliRunner().invoke(qnfv, ["schedule", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return capture.get() + result.output

    return call


def test_every_picture_shows_its_links_and_its_kinds_of_time(house: House, run: Any) -> None:
    house.run_all()
    house.room.alarms.raise_("qber", LINKS[1], "the QBER is 20 %")
    for words in (["show"], ["plan"], ["plan", "--horizon", "1min"], ["watch", "--count", "2",
                  "--every", "0.1"]):  # fmt: skip
        text = run(*words)
        assert LINKS[0] in text, words
        assert "QKD time runs 20000x" in text, words
    assert "█" in run("show")
    assert "qber" in run("watch", "--count", "1")
    assert LINKS[2] in run("pools")
    for words in (["show"], ["plan"], ["pools"], ["promises"], ["alarms"]):
        json.loads(run(*words, "-o", "json"))


def test_orders_by_the_name_of_link_bob_or_data_centre(house: House, run: Any) -> None:
    assert LINKS[1] in run("pin", "dc-2", "--hold", "--for", "5min")
    assert house.room.orders.of(LINKS[1]).pin == "hold"
    run("unpin", "bob-2")
    assert house.room.orders.of(LINKS[1]).pin is None
    run("exclude", LINKS[1], "--why", "works")
    assert "excluded (works)" in run("pools")
    run("include", LINKS[1])
    assert "expected in" in run("keys-now", "dc-1")
    with pytest.raises(ClientError, match="dc-9"):
        run("pin", "dc-9")
    with pytest.raises(ClientError, match="is not a time"):
        run("pin", "dc-1", "--for", "soon")


def test_alarms_are_acknowledged_by_the_beginning_of_their_id(house: House, run: Any) -> None:
    alarm_id = str(house.room.alarms.raise_("qber", LINKS[1], "the QBER is 20 %"))
    assert alarm_id[:8] in run("alarms")
    with pytest.raises(ClientError, match="No open alarm"):
        run("alarms", "--acknowledge", "zz")
    assert "No alarm is open" in run("alarms", "--acknowledge", alarm_id[:8])
    assert "acknowledged" in run("alarms", "--all")


def test_durations_are_read_and_written() -> None:
    assert [duration_s(t) for t in ("90", "90s", "1.5min", "2h", "1d")] == [
        90.0, 90.0, 90.0, 7200.0, 86_400.0,
    ]  # fmt: skip
    assert [duration_text(s) for s in (0.04, 9.96, 59.0, 90.0, 7_200.0, 172_800.0)] == [
        "0.0 s", "10.0 s", "59 s", "1.5 min", "2 h", "2 d",
    ]  # fmt: skip


def test_a_turn_that_is_shorter_than_a_column_still_shows() -> None:
    bars = [Bar(10.0, 10.2, 10.5), Bar(50.0, 60.0, 70.0, failed=True), Bar(80.0, 90.0, 100.0)]
    with show.console.capture() as capture:
        show.console.print(gantt({"link": bars}, 0.0, 100.0, ["then", "now"], width=10))
    line = capture.get().splitlines()[0].split()[1]
    assert line == "·█···▒▒·░█"
