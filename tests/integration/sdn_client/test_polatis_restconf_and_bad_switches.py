"""The driver `polatis_restconf` against switches that refuse, lie, break off, or are none."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from scripted_polatis import Answer, Request, ScriptedPolatis, error

from sdn_client.drivers import open_driver
from sdn_client.drivers.polatis_restconf import PolatisDriver
from sdn_client.drivers.polatis_tree import REASONS, PolatisOptions
from sdn_client.drivers.port import (
    ConnectivityEvent,
    DeviceEvent,
    PortsChanged,
    wait_connected,
)
from sdn_client.errors import (
    NotConfirmed,
    OutcomeUnknown,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
)
from sdn_client.topology import CrossConnect, Topology, load_topology, parse_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


@pytest.fixture
def lab() -> Topology:
    return load_topology(LAB)


@pytest.fixture
def polatis() -> Iterator[ScriptedPolatis]:
    made = ScriptedPolatis()
    yield made
    made.close()


Open = Callable[..., PolatisDriver]


@pytest.fixture
def open_(polatis: ScriptedPolatis, lab: Topology, tmp_path: Path) -> Iterator[Open]:
    password = tmp_path / "password"
    password.write_text("secret-1\n")
    made: list[PolatisDriver] = []

    def open_(topology: Topology = lab, **options: Any) -> PolatisDriver:
        base = {"url": polatis.url, "password_file": password, "poll_interval_s": 0.05}
        base |= {"confirm_timeout_s": 0.3, "request_timeout_s": 0.5}
        made.append(PolatisDriver(PolatisOptions.model_validate(base | options), topology))
        return made[-1]

    yield open_
    for driver in made:
        driver.close()


@pytest.fixture
def driver(open_: Open) -> PolatisDriver:
    made = open_()
    assert wait_connected(made, ["polatis-1"], 10)
    return made


class Events:
    """What a driver tells; waits for it."""

    def __init__(self, driver: PolatisDriver) -> None:
        self._changed = threading.Condition()
        self.seen: list[DeviceEvent] = []
        driver.subscribe(self._note)

    def _note(self, event: DeviceEvent) -> None:
        with self._changed:
            self.seen.append(event)
            self._changed.notify_all()

    def until(self, wanted: DeviceEvent) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: wanted in self.seen, 10), self.seen


def until_fault(driver: PolatisDriver, words: str) -> str:
    deadline = time.monotonic() + 10
    while words not in (fault := driver.chassis_states()["polatis-1"].fault):
        assert time.monotonic() < deadline, fault
        time.sleep(0.01)  # the poll tells nobody that it failed again; bounded by the deadline
    return fault


def test_a_batch_is_deletes_then_one_patch_by_basic_authentication(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    polatis.table |= {6: 5, 2: 3}
    driver.apply(disconnect=[x(5, 6), x(2, 3), x(11, 12)], connect=[x(1, 2), x(5, 7)])
    *deletes, patch = polatis.changes()
    assert sorted(deletes) == ["DELETE cross-connects/pair=2", "DELETE cross-connects/pair=6"]
    assert patch == "PATCH cross-connects"
    assert polatis.table == {1: 2, 5: 7}
    named = "Basic " + base64.b64encode(b"admin:secret-1").decode()
    assert {request.authorization for request in polatis.heard} == {named}
    (request,) = (r for r in polatis.heard if r.method == "PATCH")
    assert request.content_type == "application/yang-data+json"


def test_what_is_so_already_changes_nothing(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    polatis.table[2] = 1  # told the other way round
    driver.apply(connect=[x(1, 2)], disconnect=[x(3, 4)])
    assert polatis.changes() == []


def test_an_older_revision_calls_its_list_pairs(polatis: ScriptedPolatis, open_: Open) -> None:
    polatis.list_name = "pairs"
    wrong = open_()
    assert "'pair'" in until_fault(wrong, "pairs")
    right = open_(list_name="pairs", media_type="application/json")
    assert wait_connected(right, ["polatis-1"], 10)
    right.apply(connect=[x(1, 2)])
    right.apply(disconnect=[x(1, 2)])
    assert polatis.changes() == ["PATCH cross-connects", "DELETE cross-connects/pairs=1"]


def test_the_switching_time_is_waited_for_though_the_table_shows_it_at_once(
    driver: PolatisDriver,
) -> None:
    begun = time.monotonic()
    driver.apply(connect=[x(1, 2)])
    assert time.monotonic() - begun >= 0.025


def test_a_port_in_use_is_never_sent_since_a_merge_would_move_it(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    polatis.table |= {1: 3, 5: 6}
    with pytest.raises(SwitchRefused, match="polatis-1:1 is in use: it is joined as polatis-1:1-3"):
        driver.apply(connect=[x(1, 2), x(7, 8)], disconnect=[x(5, 6)])
    assert polatis.changes() == ["DELETE cross-connects/pair=5"]
    assert polatis.table == {1: 3}


@pytest.mark.parametrize("tag", sorted(REASONS))
def test_every_error_tag_is_a_refusal_with_its_reason(
    polatis: ScriptedPolatis, driver: PolatisDriver, tag: str
) -> None:
    def refuse(request: Request) -> Answer | None:
        return (409, error(tag, "as told")) if request.method == "PATCH" else None

    polatis.answer = refuse
    with pytest.raises(SwitchRefused) as caught:
        driver.apply(connect=[x(1, 2)])
    assert REASONS[tag] in caught.value.detail
    assert "as told" in caught.value.detail


@pytest.mark.parametrize(
    "answer", [(500, b"<html>"), (400, {"ietf-restconf:errors": {"error": []}}), (409, [[]] * 3)]
)
def test_a_refusal_without_reason_is_one_and_what_it_made_goes_again(
    polatis: ScriptedPolatis, driver: PolatisDriver, answer: Answer
) -> None:
    def half_done(request: Request) -> Answer | None:
        if request.method != "PATCH":
            return None
        polatis.table[1] = 2
        return answer

    polatis.answer = half_done
    polatis.table[5] = 6
    with pytest.raises(SwitchRefused, match=f"no reason known .HTTP {answer[0]}"):
        driver.apply(connect=[x(1, 2), x(3, 4), x(5, 6)])
    assert polatis.table == {5: 6}


def test_a_switch_that_says_yes_and_does_nothing_is_not_believed(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    polatis.answer = lambda r: (204, None) if r.method != "GET" else None
    polatis.table[5] = 6
    with pytest.raises(NotConfirmed, match=r"missing polatis-1:1-2, .*still joined polatis-1:5-6"):
        driver.apply(connect=[x(1, 2)], disconnect=[x(5, 6)])


def test_a_refused_batch_of_which_a_part_stays_is_an_unknown_outcome(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    def sticky(request: Request) -> Answer | None:
        if request.method == "PATCH":
            polatis.table[1] = 2
            return 500, None
        return (500, None) if request.method == "DELETE" else None

    polatis.answer = sticky
    with pytest.raises(OutcomeUnknown, match="keeps a part of it: polatis-1:1-2"):
        driver.apply(connect=[x(1, 2), x(3, 4)])


@pytest.mark.parametrize("does_it", [False, True])
def test_a_connection_lost_in_the_batch_is_an_unknown_outcome_until_read_again(
    polatis: ScriptedPolatis, driver: PolatisDriver, does_it: bool
) -> None:
    def hang_up(request: Request) -> Answer | None:
        if request.method != "PATCH":
            return None
        if does_it:
            polatis.honest(request)
        return 0, None

    events = Events(driver)
    polatis.answer = hang_up
    with pytest.raises(OutcomeUnknown, match="polatis-1:1-2"):
        driver.apply(connect=[x(1, 2)])
    events.until(ConnectivityEvent("polatis-1", connected=False))
    polatis.answer = lambda _: None
    events.until(ConnectivityEvent("polatis-1", connected=True))
    assert driver.read_cross_connects("polatis-1") == ({x(1, 2)} if does_it else set())
    driver.apply(connect=[x(1, 2)])


def test_a_switch_that_falls_silent_is_an_unknown_outcome_in_bounded_time(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    release = threading.Event()

    def silent(request: Request) -> Answer | None:
        if request.method == "PATCH":
            release.wait(10)
        return None

    polatis.answer = silent
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        driver.apply(connect=[x(1, 2)])
    assert time.monotonic() - begun < 3
    release.set()


def malformed_tables() -> list[Any]:
    rows = [
        [{"ingress": 1, "egress": 2}, {"ingress": 2, "egress": 3}],
        [{"ingress": 1, "egress": 1}],
        [{"ingress": 0, "egress": 1}],
        [{"ingress": 1, "egress": 70000}],
        [{"ingress": 1}],
        [[1, 2]],
        {"ingress": 1},
        "none",
    ]
    tables: list[Any] = [{"optical-switch:cross-connects": {"pair": row}} for row in rows]
    more = [[], None, {}, {"optical-switch:cross-connects": []}, b"<x/>", b"[" * 100_000]
    return [*tables, *more, b" " * (5 << 20)]


@pytest.mark.parametrize("document", malformed_tables(), ids=lambda d: repr(d)[:40])
def test_a_table_of_the_wrong_shape_is_never_believed(
    polatis: ScriptedPolatis, driver: PolatisDriver, document: Any
) -> None:
    def lie(request: Request) -> Answer | None:
        reads = request.method == "GET" and request.path.endswith("cross-connects")
        return (200, document) if reads else None

    polatis.answer = lie
    with pytest.raises((NotConfirmed, SwitchUnreachable)):
        driver.read_cross_connects("polatis-1")
    with pytest.raises((NotConfirmed, SwitchUnreachable)):
        driver.apply(connect=[x(1, 2)])
    assert polatis.changes() == []


def test_pairs_of_strangers_are_neither_listed_nor_touched(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    polatis.table |= {29: 30, 1: 2}  # the lab's partitions end at port 28
    assert driver.read_cross_connects("polatis-1") == {x(1, 2)}
    driver.apply(connect=[x(5, 6)], disconnect=[x(1, 2)])
    assert polatis.table == {29: 30, 5: 6}


def test_a_table_that_changed_without_us_is_told_once(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    driver.apply(connect=[x(1, 2)])
    events = Events(driver)
    polatis.table.clear()  # a restart between two polls
    events.until(ConnectivityEvent("polatis-1", connected=True))
    heard = len(polatis.heard)
    while len(polatis.heard) < heard + 12:  # several polls more
        time.sleep(0.01)
    assert events.seen == [ConnectivityEvent("polatis-1", connected=True)]


def test_ports_that_go_down_are_told(polatis: ScriptedPolatis, driver: PolatisDriver) -> None:
    events = Events(driver)
    polatis.status |= {7: "DISABLED", 8: "FAILED", 9: "UNSUPPORTED"}
    events.until(PortsChanged("polatis-1"))
    state = driver.chassis_states()["polatis-1"]
    assert state.ports_down == {7, 8}
    assert state.ports == set(range(1, 33))


def test_loss_of_light_is_told_where_light_should_be(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    events = Events(driver)
    # RFC 7951 writes a decimal64 as text; some servers write a number.
    polatis.powers |= {n: "-60.00" for n in range(1, 33)} | {5: -1, 6: "-1.00", 18: "-2.0"}
    events.until(PortsChanged("polatis-1"))
    assert driver.chassis_states()["polatis-1"].ports_dark == {22, 26}
    events.seen.clear()
    polatis.powers |= {22: "-4", 26: "-6"}
    events.until(PortsChanged("polatis-1"))
    assert driver.chassis_states()["polatis-1"].ports_dark == frozenset()


@pytest.mark.parametrize("power", ["dark", "nan", None, "1e999"])
def test_a_reading_that_is_none_is_a_fault(
    polatis: ScriptedPolatis, driver: PolatisDriver, power: Any
) -> None:
    polatis.powers[5] = power
    assert "wrong shape" in until_fault(driver, "wrong shape")


def test_fewer_ports_than_the_topology_says_is_a_fault_with_both_sides(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    polatis.ports = 16
    fault = until_fault(driver, "1 to 32")
    assert "has 16" in fault
    with pytest.raises(SwitchUnreachable, match="has 16"):
        driver.apply(connect=[x(1, 2)])
    polatis.ports = 32
    assert wait_connected(driver, ["polatis-1"], 10)


def test_wrong_credentials_are_named_without_the_password(
    polatis: ScriptedPolatis, open_: Open
) -> None:
    polatis.answer = lambda _: (401, error("access-denied"))
    driver = open_(username="nobody")
    fault = until_fault(driver, "refuses the user 'nobody'")
    assert "secret-1" not in fault


def test_an_unknown_tree_is_named(polatis: ScriptedPolatis, open_: Open) -> None:
    driver = open_(root="/restconf")
    assert "has no optical-switch" in until_fault(driver, "has no")


def test_nobody_at_home(polatis: ScriptedPolatis, open_: Open) -> None:
    driver = open_(url="http://127.0.0.1:9")
    until_fault(driver, "did not answer")
    with pytest.raises(SwitchUnreachable, match="did not answer"):
        driver.apply(connect=[x(1, 2)])


def test_a_missing_password_file_is_explained(open_: Open, tmp_path: Path) -> None:
    with pytest.raises(SwitchUnreachable, match="credentials"):
        open_(password_file=tmp_path / "none")


@pytest.mark.parametrize(
    "options",
    [{"url": "ftp://x"}, {"url": "http://x/path"}, {"list_name": "rows"}, {"colour": 1}, {}],
)
def test_options_are_checked(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        PolatisOptions.model_validate({"password_file": tmp_path} | options)


TWO_CHASSIS = """
nodes = [{name = "n1"}]
chassis = [
  {name = "polatis-1", datapath_id = 1, ports = 8},
  {name = "polatis-2", datapath_id = 2, ports = 8},
]
virtual_switches = [
  {name = "vs-1", chassis = "polatis-1", owner = "n1", ports = ["1-8"]},
  {name = "vs-2", chassis = "polatis-2", owner = "n1", ports = ["1-8"]},
]
end_points = [{name = "a", node = "n1", kind = "classical", port = "polatis-1:1"}]
"""


def test_one_driver_serves_one_chassis(open_: Open) -> None:
    two = parse_topology(TWO_CHASSIS)
    with pytest.raises(UnknownName, match="2 chassis"):
        open_(two)
    with pytest.raises(UnknownName, match="polatis-3"):
        open_(two, chassis="polatis-3")
    driver = open_(two, chassis="polatis-2")
    assert wait_connected(driver, ["polatis-2"], 10)
    assert "polatis-2 alone" in driver.chassis_states()["polatis-1"].fault
    with pytest.raises(SwitchUnreachable, match="polatis-2 alone"):
        driver.apply(connect=[CrossConnect("polatis-1", 1, 2), CrossConnect("polatis-2", 1, 2)])
    driver.apply(connect=[CrossConnect("polatis-2", 1, 2)])


def test_closing_waits_for_the_batch_and_refuses_the_next(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(request: Request) -> Answer | None:
        if request.method == "PATCH":
            begun.set()
            release.wait(0.2)
        return None

    polatis.answer = slow
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(driver.apply, connect=[x(1, 2)])
        assert begun.wait(10)
        second = pool.submit(driver.apply, connect=[x(5, 6)])
        driver.close()
        first.result(10)
        assert polatis.table[1] == 2
        try:
            second.result(10)
        except SwitchUnreachable:
            assert 5 not in polatis.table
        else:
            assert polatis.table[5] == 6


def test_a_listener_that_fails_disturbs_nobody(
    polatis: ScriptedPolatis, driver: PolatisDriver
) -> None:
    def failing(_: DeviceEvent) -> None:
        raise SdnError("told to")

    driver.subscribe(failing)
    events = Events(driver)
    polatis.status[7] = "FAILED"
    events.until(PortsChanged("polatis-1"))


def test_it_is_found_by_name(polatis: ScriptedPolatis, lab: Topology, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    options = {"url": polatis.url, "password_file": str(tmp_path / "p")}
    open_driver("polatis_restconf", options, lab).close()
