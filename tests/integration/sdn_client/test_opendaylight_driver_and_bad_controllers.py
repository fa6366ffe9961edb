"""The driver `opendaylight` against controllers and switches that lie, break off or go away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from scripted_restconf import BATCH, STATISTICS, Answer, document, error, honest, serving
from scripted_restconf import ScriptedOpenDaylight as Controller

from sdn_client.drivers.opendaylight import OpenDaylightOptions, open_driver
from sdn_client.drivers.port import (
    CircuitDriver,
    ConnectivityEvent,
    DeviceEvent,
    PortsChanged,
    wait_connected,
)
from sdn_client.errors import (
    MalformedAnswer,
    NotConfirmed,
    OutcomeUnknown,
    SwitchRefused,
    SwitchUnreachable,
)
from sdn_client.topology import CrossConnect, load_topology

LAB = load_topology(Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml")


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("secret-1\n")
    return file


@contextmanager
def driving(url: str, password: Path, **options: Any) -> Iterator[CircuitDriver]:
    options = {"poll_interval_s": 0.02, "confirm_timeout_s": 0.5, **options}
    given = {"url": url, "username": "circuits", "password_file": password, **options}
    driver = open_driver(given, LAB)
    try:
        yield driver
    finally:
        driver.close()


@contextmanager
def house(password: Path, answer: Answer = honest) -> Iterator[tuple[Controller, CircuitDriver]]:
    """An honest start, then `answer`."""
    with serving() as controller, driving(controller.url, password) as driver:
        assert wait_connected(driver, ["polatis-1"], 10)
        controller.answer = answer
        yield controller, driver


def on(target: str, reply: Callable[[Controller, Any], Any]) -> Answer:
    """Answer calls of `target` by `reply`, all others honestly."""

    def answer(it: Controller, method: str, path: str, given: Any) -> Any:
        return reply(it, given) if path == target else honest(it, method, path, given)

    return answer


def fault(driver: CircuitDriver) -> str:
    return driver.chassis_states()["polatis-1"].fault


# --- one batch


def test_what_is_removed_and_what_is_added_go_out_in_one_call(password: Path) -> None:
    with house(password) as (controller, driver):
        driver.apply(connect=[x(2, 1), x(5, 7)])
        driver.apply(disconnect=[x(1, 2)], connect=[x(1, 3), x(2, 4)])
        assert controller.table == {(5, 7), (1, 3), (2, 4)}
        assert [len(given["batch"]) for given in controller.batches()] == [1, 2]


def test_what_is_so_already_costs_no_call(password: Path) -> None:
    with house(password) as (controller, driver):
        controller.table = {(1, 2)}
        driver.apply(connect=[x(1, 2)], disconnect=[x(3, 4)])
        assert controller.batches() == []


def test_a_flow_of_the_other_direction_is_parted_as_it_stands(password: Path) -> None:
    with house(password) as (controller, driver):
        controller.table = {(9, 3)}
        assert driver.read_cross_connects("polatis-1") == {x(3, 9)}
        driver.apply(disconnect=[x(3, 9)])
        assert controller.table == set()


def test_a_refusal_says_why_and_what_the_batch_made_is_undone(password: Path) -> None:
    def half(it: Controller, given: Any) -> Any:
        it.switch(given)
        if (5, 7) not in it.table:
            return document(204)
        it.table.discard((5, 7))
        return error(500, "Device reported error type BADACTION code BADOUTPORT")

    with house(password, on(BATCH, half)) as (controller, driver):
        controller.table = {(9, 10)}
        with pytest.raises(SwitchRefused, match=r"no such port.*Not joined: polatis-1:5-7"):
            driver.apply(connect=[x(1, 2), x(5, 7), x(9, 10)])
        assert controller.table == {(9, 10)}


def test_added_before_removed_is_asked_again(password: Path) -> None:
    def wrong_order(it: Controller, given: Any) -> Any:
        if len(given["batch"]) == 2:
            given["batch"] = [s for s in given["batch"] if "flat-batch-remove-flow" in s]
            it.switch(given)
            return error(500, "Device reported error type FLOWMODFAILED code OVERLAP")
        it.switch(given)
        return document(204)

    with house(password, on(BATCH, wrong_order)) as (controller, driver):
        controller.table = {(1, 2)}
        driver.apply(disconnect=[x(1, 2)], connect=[x(1, 3)])
        assert controller.table == {(1, 3)}


def test_a_yes_that_the_table_does_not_show_is_not_believed(password: Path) -> None:
    with (
        house(password, on(BATCH, lambda *_: document(204))) as (_, driver),
        pytest.raises(NotConfirmed, match="missing polatis-1:1-2"),
    ):
        driver.apply(connect=[x(1, 2)])


@pytest.mark.parametrize("acts", [True, False])
def test_a_call_that_breaks_off_leaves_the_outcome_unknown(password: Path, acts: bool) -> None:
    def hang_up(it: Controller, given: Any) -> None:
        if acts:
            it.switch(given)

    with (
        house(password, on(BATCH, hang_up)) as (_, driver),
        pytest.raises(OutcomeUnknown, match="polatis-1:1-2"),
    ):
        driver.apply(connect=[x(1, 2)])


def test_a_call_without_an_answer_ends_in_time(password: Path) -> None:
    go_on = threading.Event()

    def silent(it: Controller, given: Any) -> None:
        go_on.wait(20)

    with house(password, on(BATCH, silent)) as (_, driver):
        begun_s = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            driver.apply(connect=[x(1, 2)])
        assert time.monotonic() - begun_s < 5
        go_on.set()


def test_a_switch_that_is_gone_when_asked_is_unreachable(password: Path) -> None:
    gone = on(STATISTICS, lambda *_: error(501, "No implementation of RPC"))
    with house(password, gone) as (controller, driver):
        with pytest.raises(SwitchUnreachable, match="polatis-1"):
            driver.apply(connect=[x(1, 2)])
        assert controller.batches() == []


def test_a_table_that_cannot_be_read_afterwards_leaves_the_outcome_unknown(password: Path) -> None:
    def blind(it: Controller, given: Any) -> Any:
        if it.batches():
            return error(500, "Device disconnected")
        return document(204)

    with (
        house(password, on(STATISTICS, blind)) as (_, driver),
        pytest.raises(OutcomeUnknown, match="disconnected"),
    ):
        driver.apply(connect=[x(1, 2)])


# --- hostile answers

HOSTILE = [
    b"",
    b"not json",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 200_000,
    b'{"opendaylight-direct-statistics:output": 7}',
    b'{"opendaylight-direct-statistics:output": {"flow-and-statistics-map-list": [{}]}}',
    b'{"a":' * 5_000,
    b'"' + b"x" * (17 << 20) + b'"',
]


@pytest.mark.parametrize("body", HOSTILE[1:], ids=range(1, len(HOSTILE)))
def test_a_hostile_table_is_an_error_and_no_crash(password: Path, body: bytes) -> None:
    with house(password, on(STATISTICS, lambda *_: (200, body))) as (_, driver):
        with pytest.raises((MalformedAnswer, SwitchUnreachable)):
            driver.read_cross_connects("polatis-1")
        with pytest.raises((MalformedAnswer, SwitchUnreachable)):
            driver.apply(connect=[x(1, 2)])


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_inventory_is_a_fault_that_passes(password: Path, body: bytes) -> None:
    with house(password) as (controller, driver):
        controller.answer = lambda *_: (200, body)
        wait_for(lambda: not driver.chassis_states()["polatis-1"].connected)
        controller.answer = honest
        assert wait_connected(driver, ["polatis-1"], 10)


@pytest.mark.parametrize(
    "match", [{"in-port": "openflow:1:LOCAL"}, {"in-port": "1", "vlan-match": {}}, {}]
)
def test_a_flow_that_is_no_cross_connect_is_an_error(password: Path, match: Any) -> None:
    def answer(it: Controller, given: Any) -> Any:
        it.table = {(1, 2)}
        statistics = it.statistics()
        statistics["opendaylight-direct-statistics:output"]["flow-and-statistics-map-list"][0][
            "match"
        ] = match
        return document(200, statistics)

    with house(password, on(STATISTICS, answer)) as (_, driver), pytest.raises(MalformedAnswer):
        driver.read_cross_connects("polatis-1")


# --- the controller


def test_nobody_there_is_a_fault_with_the_address(password: Path) -> None:
    with driving("http://127.0.0.1:1", password) as driver:
        wait_for(lambda: "http://127.0.0.1:1" in fault(driver))
        with pytest.raises(SwitchUnreachable, match="not reachable"):
            driver.apply(connect=[x(1, 2)])


def test_wrong_credentials_are_said_plainly(password: Path) -> None:
    with serving(lambda *_: (401, b"")) as controller, driving(controller.url, password) as driver:
        wait_for(lambda: "refuses the user 'circuits' or the password" in fault(driver))
        with pytest.raises(SwitchUnreachable, match="password"):
            driver.read_cross_connects("polatis-1")
        assert "secret-1" not in fault(driver)


def test_other_ports_than_the_topology_files_are_a_fault_with_both_sides(password: Path) -> None:
    with serving() as controller, driving(controller.url, password) as driver:
        controller.ports = 16
        wait_for(lambda: "ports 1-32, OpenDaylight reports 1-16" in fault(driver))
        assert not driver.chassis_states()["polatis-1"].connected
        controller.ports = 32
        assert wait_connected(driver, ["polatis-1"], 10)
        assert fault(driver) == ""


def test_flows_left_in_the_config_datastore_are_deleted_before_the_switch_is_used(
    password: Path,
) -> None:
    with serving() as controller:
        flows = [{"id": "1-2", "match": {"in-port": "openflow:1:1"}}]
        table = [{"id": 0, "flow": flows}]
        controller.config = [{"id": "openflow:1", "flow-node-inventory:table": table}]
        with driving(controller.url, password) as driver:
            assert wait_connected(driver, ["polatis-1"], 10)
            assert controller.config == []
        deleted = [path for method, path, _ in controller.heard if method == "DELETE"]
        assert deleted == ["/rests/data/opendaylight-inventory:nodes/node=openflow%3A1"]


# --- events


def test_ports_and_connectivity_are_told_and_seen(password: Path) -> None:
    with house(password) as (controller, driver):
        told: list[DeviceEvent] = []
        driver.subscribe(told.append)
        controller.dark, controller.down = {2, 3}, {3}
        wait_for(lambda: bool(told))
        state = driver.chassis_states()["polatis-1"]
        assert (state.ports_dark, state.ports_down) == ({2}, {3})
        controller.connection += 1  # gone and back between two looks
        wait_for(lambda: len(told) == 3)
        controller.is_there = False
        wait_for(lambda: len(told) == 4)
        assert told == [
            PortsChanged("polatis-1"),
            ConnectivityEvent("polatis-1", connected=False),
            ConnectivityEvent("polatis-1", connected=True),
            ConnectivityEvent("polatis-1", connected=False),
        ]


# --- options


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"url": "ftp://controller"}, "no URL"),
        ({"url": "http://controller.example:8181"}, "https"),
        ({"certificate_file": "ours.pem"}, "belong together"),
        ({"poll_interval_s": 0}, "greater than 0"),
        ({"passwort": 1}, "Extra inputs"),
    ],
)
def test_bad_options_are_refused(option: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        OpenDaylightOptions.model_validate({"username": "a", "password_file": "p", **option})


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SwitchUnreachable, match="password-nowhere"):
        open_driver({"username": "a", "password_file": tmp_path / "password-nowhere"}, LAB)
