"""The plant as a process: control protocol, frames, relays, hostile peers."""

from __future__ import annotations

import base64
import json
import random
import socket
from typing import TYPE_CHECKING

import pytest

from emulators.fibre_plant.stand_in import Observer, SwitchStandIn, UnitStandIn

if TYPE_CHECKING:
    from conftest import PlantProcess

CIRCUIT_1 = [(5, 7), (17, 18)]


def frame(octets: bytes) -> dict[str, str]:
    return {"frame": base64.b64encode(octets).decode()}


# --- light between units -------------------------------------------------------------------------


def test_units_learn_their_channel_and_every_change(plant: PlantProcess) -> None:
    with UnitStandIn(plant.control, "alice") as alice, UnitStandIn(plant.control, "bob-2") as bob:
        assert alice.receive() == bob.receive() == {"channel": None}
        plant.switch.pass_light([(1, 3)])
        assert alice.receive()["channel"] == {"peer": "bob-2", "loss_db": 4.548, "fibre_km": 15.0}
        assert bob.receive()["channel"]["peer"] == "alice"
        plant.observer.cut("quantum-spool-2")
        assert alice.receive() == bob.receive() == {"channel": None}
        plant.observer.repair("quantum-spool-2")
        assert alice.receive()["channel"]["peer"] == "bob-2"
        plant.switch.pass_light([(1, 2)])
        assert alice.receive()["channel"]["peer"] == "bob-1"


def test_frames_arrive_only_where_the_light_goes(plant: PlantProcess) -> None:
    with (
        UnitStandIn(plant.control, "alice") as alice,
        UnitStandIn(plant.control, "bob-1") as bob_1,
        UnitStandIn(plant.control, "bob-2") as bob_2,
    ):
        for unit in (alice, bob_1, bob_2):
            unit.receive()
        alice.send(frame(b"in the dark"))
        plant.switch.pass_light([(1, 2)])
        assert alice.receive()["channel"]["peer"] == "bob-1"
        assert bob_1.receive()["channel"]["peer"] == "alice"
        alice.send(frame(b"towards bob-1"))
        arrived = bob_1.receive()
        assert base64.b64decode(arrived["frame"]) == b"towards bob-1"
        assert (arrived["from"], arrived["loss_db"], arrived["fibre_km"]) == ("alice", 2.548, 5.0)
        plant.switch.pass_light([(1, 3)])
        assert bob_2.receive()["channel"]["peer"] == "alice"
        assert alice.receive()["channel"]["peer"] == "bob-2"
        alice.send(frame(b"towards bob-2"))
        assert base64.b64decode(bob_2.receive()["frame"]) == b"towards bob-2"
        assert bob_1.receive() == {"channel": None}
        with pytest.raises(TimeoutError):
            bob_1.receive(0.2)


def test_a_receiver_emits_no_light(plant: PlantProcess) -> None:
    with UnitStandIn(plant.control, "bob-1") as bob:
        bob.receive()
        bob.send(frame(b"x"))
        assert "receiver" in bob.receive()["error"]
        with pytest.raises(ConnectionError):
            bob.receive()


def test_a_lost_switch_is_dark(plant: PlantProcess) -> None:
    plant.light((1, 2))
    plant.switch.close()
    state = plant.observer.until(lambda state: not state["paths"])
    assert state["switches"] == []


def test_quantum_light_at_a_classical_port_is_an_alarm(plant: PlantProcess) -> None:
    plant.switch.pass_light([(1, 7), (17, 18)])
    state = plant.observer.until(lambda state: state["alarms"])
    assert state["paths"] == []
    assert any("'alice'" in alarm for alarm in state["alarms"])


def test_a_newer_connection_takes_a_devices_place(plant: PlantProcess) -> None:
    plant.light((1, 2))
    with SwitchStandIn(plant.control, "polatis-1") as successor:
        plant.observer.until(lambda state: not state["paths"])
        successor.pass_light([(1, 3)])
        plant.observer.until(lambda state: {p["to"] for p in state["paths"]} == {"bob-2", "alice"})


# --- hostile peers -------------------------------------------------------------------------------

BAD_FIRST_LINES = [
    b"\n",
    b"null\n",
    b"{\n",
    b"[" * 100_000 + b"\n",
    b'{"hello": "nobody"}\n',
    b'{"hello": "switch"}\n',
    b'{"hello": "switch", "chassis": "none"}\n',
    b'{"hello": "switch", "chassis": 7}\n',
    b'{"hello": "unit", "end_point": "co-1"}\n',
    b'{"hello": "unit", "end_point": "../../etc"}\n',
    b'{"hello": "observer", "more": 1}\n',
    b"x" * 300_000 + b"\n",
    b"\xff\xfe\n",
]
BAD_SWITCH_STATES = [
    {"cross_connects": [[1, 2], [2, 3]]},
    {"cross_connects": [[1, 1]]},
    {"cross_connects": [[1, 33]]},
    {"cross_connects": [[0, 1]]},
    {"cross_connects": [[-1, 10**30]]},
    {"cross_connects": [[1]]},
    {"cross_connects": [["1", "2"]]},
    {"cross_connects": None},
    {"frame": ""},
]
BAD_UNIT_LINES = [
    {"frame": "not base64!"},
    {"frame": 1},
    frame(bytes(65_537)),
    {"channel": None},
]


def closes_with_an_error(connection: socket.socket) -> bool:
    connection.settimeout(10)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        return True
    return b'"error"' in received


@pytest.mark.parametrize("line", BAD_FIRST_LINES, ids=lambda line: repr(line[:30]))
def test_bad_greetings_end_the_connection_alone(plant: PlantProcess, line: bytes) -> None:
    with socket.create_connection(plant.control) as connection:
        connection.sendall(line)
        assert closes_with_an_error(connection)
    plant.light((1, 2))


@pytest.mark.parametrize("message", BAD_SWITCH_STATES, ids=json.dumps)
def test_bad_mirror_states_end_the_switch_in_the_dark(
    plant: PlantProcess, message: dict[str, object]
) -> None:
    plant.light((1, 2))
    plant.switch.send(message)
    plant.observer.until(lambda state: not state["paths"] and not state["switches"])


@pytest.mark.parametrize("message", BAD_UNIT_LINES, ids=lambda m: json.dumps(m)[:30])
def test_bad_frames_end_the_unit(plant: PlantProcess, message: dict[str, object]) -> None:
    with UnitStandIn(plant.control, "alice") as alice:
        alice.receive()
        alice.send(message)
        assert "error" in alice.receive()
    plant.observer.until(lambda state: state["units"] == [])


def test_random_lines_do_no_harm(plant: PlantProcess) -> None:
    dice = random.Random(4)
    for _ in range(100):
        with socket.create_connection(plant.control) as connection:
            connection.sendall(dice.randbytes(dice.randrange(2000)) + b"\n")
    plant.light((1, 2))


def test_an_unknown_fibre_is_told_and_the_observer_stays(plant: PlantProcess) -> None:
    with Observer(plant.control) as observer:
        observer.receive()
        observer.cut("no-such-fibre")
        assert "fibre" in observer.receive()["error"]
        observer.cut("quantum-spool-1")
        assert observer.until(lambda state: state["cut"] == ["quantum-spool-1"])


# --- classical relay -----------------------------------------------------------------------------


def read_in_the_dark(plant: PlantProcess, data_centre: str) -> None:
    """The reset may come while the connection is still being made."""
    with plant.connect(data_centre) as dark:
        dark.recv(1)


def test_bytes_pass_only_over_a_lit_circuit(plant: PlantProcess) -> None:
    with pytest.raises(ConnectionResetError):
        read_in_the_dark(plant, "dc-1")
    plant.light(*CIRCUIT_1)
    with plant.connect("dc-1") as lit:
        lit.sendall(b"echo through the glass")
        assert lit.recv(100) == b"echo through the glass"
        lit.shutdown(socket.SHUT_WR)
        assert lit.recv(1) == b""
    assert plant.servers["dc-1"].until_ended() == ["orderly"]
    with pytest.raises(ConnectionResetError):
        read_in_the_dark(plant, "dc-2")
    assert plant.servers["dc-2"].accepted == 0


@pytest.mark.parametrize("how", ["circuit", "fibre", "switch"])
def test_a_cut_circuit_resets_both_ends(plant: PlantProcess, how: str) -> None:
    plant.light(*CIRCUIT_1)
    with plant.connect("dc-1") as connection:
        connection.sendall(b"echo")
        assert connection.recv(4) == b"echo"
        match how:
            case "circuit":
                plant.switch.pass_light(CIRCUIT_1[:1])
            case "fibre":
                plant.observer.cut("jumper-1")
            case "switch":
                plant.switch.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert plant.servers["dc-1"].until_ended() == ["reset"]


def test_a_cut_in_the_middle_of_a_stream_stops_the_bytes(plant: PlantProcess) -> None:
    plant.light(*CIRCUIT_1)
    piece = bytes(1 << 20)
    with plant.connect("dc-1") as connection:
        for _ in range(20):
            connection.sendall(piece)
        plant.switch.pass_light([])
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(piece * 2000)
    assert plant.servers["dc-1"].until_ended() == ["reset"]


def test_a_reset_of_one_end_reaches_the_other(plant: PlantProcess) -> None:
    plant.light(*CIRCUIT_1)
    connection = plant.connect("dc-1")
    connection.sendall(b"echo")
    assert connection.recv(4) == b"echo"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    assert plant.servers["dc-1"].until_ended() == ["reset"]


def test_another_circuit_does_not_disturb(plant: PlantProcess) -> None:
    plant.light(*CIRCUIT_1)
    with plant.connect("dc-1") as connection:
        plant.light(*CIRCUIT_1, (6, 8), (21, 22))
        connection.sendall(b"echo")
        assert connection.recv(4) == b"echo"


def test_all_bytes_arrive(plant: PlantProcess) -> None:
    plant.light(*CIRCUIT_1)
    with plant.connect("dc-1") as connection:
        for _ in range(64):
            connection.sendall(bytes(1 << 20))
    assert plant.servers["dc-1"].until_ended() == ["orderly"]
    assert plant.servers["dc-1"].received_octets == 64 << 20


def test_a_switch_hears_which_fibres_are_cut(plant: PlantProcess) -> None:
    assert plant.switch.receive() == {"dark": []}
    plant.observer.cut("jumper-1")
    assert plant.switch.receive() == {"dark": [7, 17]}
    plant.switch.pass_light([(1, 2)])  # what does not concern it is not told again
    plant.observer.repair("jumper-1")
    assert plant.switch.receive() == {"dark": []}
    plant.observer.cut("quantum-spool-3")
    assert plant.switch.receive() == {"dark": [4]}
    with SwitchStandIn(plant.control, "polatis-1") as second:
        assert second.receive() == {"dark": [4]}  # at once
