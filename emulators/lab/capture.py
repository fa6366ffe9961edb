"""One deployment on the wire: the sequence of Fig. 2 (d) of the paper, read from a capture.

The laboratory runs in capture mode: its services write their TLS session keys into a file, so that
tshark can read the control messages. The capture holds emulated keys (IDQ3P is not encrypted); it
stays in the laboratory's folder, readable by its owner alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulators.lab.errors import LabError
from emulators.lab.lab import Lab
from orchestrator.cli.show import console, table

_DISSECTORS: Final = Path(__file__).parents[2] / "deploy" / "wireshark"
_START_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.05
_TSHARK_S: Final = 300.0
_REQUEST, _RESPONSE, _SUCCESS = "0", "1", "0"  # of IDQ3P
_ADD: Final = "0"  # a command of CFLOW_MOD
_FLOW_MOD: Final = "14"  # a type of OpenFlow
_BATCH_RPC: Final = "process-flat-batch"  # what the driver opendaylight changes flows with
_FIELDS: Final = (
    "frame.number",
    "frame.time_epoch",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.stream",
    "http.request.method",
    "http.request.uri",
    "http.response.code",
    "openflow_v4.type",
    "cflow_mod.command",
    "cflow_mod.in_port",
    "cflow_mod.out_port",
    "idq3p.type",
    "idq3p.status",
    "tcp.len",
)


@dataclass(frozen=True)
class Packet:
    """What tshark tells of one frame; a field that a frame has not is empty."""

    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    @property
    def number(self) -> int:
        return int(self["frame.number"])

    @property
    def at_s(self) -> float:
        """Seconds since 1970."""
        return float(self["frame.time_epoch"])

    def goes_to(self, port: int) -> bool:
        return self["tcp.dstport"] == str(port)

    def comes_from(self, port: int) -> bool:
        return self["tcp.srcport"] == str(port)

    def has(self, name: str, value: str) -> bool:
        """Whether one of the frame's messages has this value in this field."""
        return value in self[name].split(",")

    def asks(self, method: str, uri: str) -> bool:
        """Whether one of the frame's HTTP requests is this one; `uri` is a part of it."""
        methods = self["http.request.method"].split(",")
        uris = self["http.request.uri"].split(",")
        return any(m == method and uri in u for m, u in zip(methods, uris, strict=False))


@dataclass(frozen=True)
class Event:
    """A message of the sequence."""

    name: str
    who: str
    packet: Packet


ORDER: Final = (
    ("trigger", "RESTCONF, quantum"),
    ("RESTCONF, quantum", "OpenFlow, quantum"),
    ("OpenFlow, quantum", "CFLOW_MOD, quantum"),
    ("CFLOW_MOD, quantum", "IDQ3P request"),
    ("IDQ3P request", "IDQ3P response"),
    ("trigger", "RESTCONF, classical"),
    ("RESTCONF, classical", "OpenFlow, classical"),
    ("OpenFlow, classical", "CFLOW_MOD, classical"),
    ("CFLOW_MOD, classical", "image stream"),
    ("IDQ3P response", "image stream"),
    ("image stream", "notice of image and key id"),
    ("notice of image and key id", "HTTP 200"),
)
"""What comes before what. The rest is free: keys may be there before the circuit, or after."""


@contextmanager
def capturing(file: Path) -> Iterator[None]:
    """Capture all of loopback into `file`. LabError where that cannot be."""
    if shutil.which("dumpcap") is None or shutil.which("tshark") is None:
        raise LabError("tshark is not installed.", next_step="Install Debian's tshark.")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    said = file.with_suffix(".log")
    with said.open("wb") as out:
        process = subprocess.Popen(
            # Large buffers: a laboratory is chatty, and a lost frame is a lost message.
            ["dumpcap", "-q", "-i", "lo", "-B", "64", "-s", "0", "-w", str(file)],
            stdout=out,
            stderr=out,
        )
    try:
        _await_start(process, file, said)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_START_S)


def _await_start(process: subprocess.Popen[bytes], file: Path, said: Path) -> None:
    """It captures from when the file has its head."""
    deadline_s = time.monotonic() + _START_S
    while not file.stat().st_size:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise LabError(
                f"dumpcap does not capture: {said.read_text().strip()}",
                next_step="Run as root, or give dumpcap its capabilities.",
            )
        time.sleep(_LOOK_EVERY_S)


def read(file: Path, lab: Lab, key_log: Path) -> list[Packet]:
    """Every frame of the capture, by tshark with our dissectors."""
    ports = lab.layout.ports
    tls = ["restconf", *(f"gateway-{site.name}" for site in lab.plan.sites)]
    command = ["tshark", "-r", str(file), "-o", f"tls.keylog_file:{key_log}", "-T", "fields"]
    command += ["-E", "separator=\t", "-E", "occurrence=a"]
    for script in sorted(_DISSECTORS.glob("*.lua")):
        command += ["-X", f"lua_script:{script}"]
    command += ["-d", f"tcp.port=={ports['rest']},http"]
    command += ["-d", f"tcp.port=={ports['openflow']},openflow"]
    command += ["-d", f"tcp.port=={ports['controller']},cflow_mod"]
    for name in tls:
        command += ["-d", f"tcp.port=={ports[name]},tls", "-d", f"tls.port=={ports[name]},http"]
    for name in _FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TSHARK_S, check=False)
    if done.returncode or not done.stdout:
        raise LabError(
            f"tshark cannot read {file}: {done.stderr.strip()[-500:]}",
            next_step="Open the file in Wireshark.",
        )
    return [
        Packet(dict(zip(_FIELDS, line.split("\t"), strict=False)))
        for line in done.stdout.splitlines()
    ]


def sequence(packets: list[Packet], lab: Lab, data_centre: str) -> list[Event]:
    """The messages of the deployment, in order of time; those of its own circuits alone.

    Raises LabError for the first that is missing.
    """
    ports = lab.layout.ports
    gateway, relay = ports[f"gateway-{data_centre}"], ports[f"relay-{data_centre}"]

    def makes_a_cross_connect(p: Packet) -> bool:
        return p.comes_from(ports["controller"]) and p.has("cflow_mod.command", _ADD)

    def is_flow_mod(p: Packet) -> bool:
        return p.comes_from(ports["openflow"]) and p.has("openflow_v4.type", _FLOW_MOD)

    def asks_for_flows(p: Packet) -> bool:
        return p.goes_to(ports["restconf"]) and p.asks("POST", _BATCH_RPC)

    found = _Search(packets)
    found.first(
        "trigger",
        "client to orchestrator",
        lambda p: p.goes_to(ports["rest"]) and p.asks("POST", "/api/v1/deployments"),
    )
    # A key is delivered; the answers before it said that there was none yet.
    response = found.first(
        "IDQ3P response",
        "Alice's key server to orchestrator",
        lambda p: p["idq3p.type"] == _RESPONSE and p["idq3p.status"] == _SUCCESS,
        after="trigger",
    )
    request = found.last(
        "IDQ3P request",
        "orchestrator to Alice's key server",
        lambda p: p["idq3p.type"] == _REQUEST,
        before=response,
    )
    stream = found.first(
        "image stream",
        f"orchestrator to {data_centre}",
        lambda p: p.goes_to(relay) and p["tcp.len"] not in ("", "0"),
        after="trigger",
    )
    for light, before in (("quantum", request), ("classical", stream)):
        mod = found.last(
            f"CFLOW_MOD, {light}", "optical agent to Polatis", makes_a_cross_connect, before=before
        )
        flow = found.last(
            f"OpenFlow, {light}", "OpenDaylight to optical agent", is_flow_mod, before=mod
        )
        found.last(
            f"RESTCONF, {light}", "orchestrator to OpenDaylight", asks_for_flows, before=flow
        )
    notice = found.first(
        "notice of image and key id",
        f"orchestrator to {data_centre}",
        lambda p: p.goes_to(gateway) and p.asks("POST", "/notice"),
        after="image stream",
    )
    found.first(
        "HTTP 200",
        f"{data_centre} to orchestrator",
        lambda p: (
            p.comes_from(gateway)
            and p["tcp.stream"] == notice["tcp.stream"]
            and p.has("http.response.code", "200")
        ),
        after="notice of image and key id",
    )
    return sorted(found.events.values(), key=lambda event: event.packet.number)


class _Search:
    """Finds messages and keeps them by their name."""

    def __init__(self, packets: list[Packet]) -> None:
        self._packets = packets
        self.events: dict[str, Event] = {}

    def first(
        self, name: str, who: str, wanted: Callable[[Packet], bool], after: str | None = None
    ) -> Packet:
        begin = self.events[after].packet.number if after else 0
        return self._keep(name, who, (p for p in self._packets if p.number > begin and wanted(p)))

    def last(self, name: str, who: str, wanted: Callable[[Packet], bool], before: Packet) -> Packet:
        earlier = reversed(self._packets)
        found = (p for p in earlier if p.number <= before.number and wanted(p))
        return self._keep(name, who, found)

    def _keep(self, name: str, who: str, found: Iterator[Packet]) -> Packet:
        packet = next(found, None)
        if packet is None:
            raise LabError(
                f"The capture shows no message {name!r} ({who}).",
                next_step="Open the capture in Wireshark, with the key log in its TLS preferences.",
            )
        self.events[name] = Event(name, who, packet)
        return packet


def broken_order(events: list[Event]) -> list[str]:
    """The pairs of `ORDER` that the capture does not keep."""
    at = {event.name: event.packet.number for event in events}
    return [f"{a} before {b}" for a, b in ORDER if at[a] > at[b]]


def show_sequence(events: list[Event]) -> None:
    """Print the sequence, and what has to come before each message."""
    began_s = events[0].packet.at_s
    table(
        ["time", "frame", "message", "from, to", "only after"],
        [
            [
                f"{(event.packet.at_s - began_s) * 1000:9.1f} ms",
                str(event.packet.number),
                event.name,
                event.who,
                ", ".join(a for a, b in ORDER if b == event.name) or "-",
            ]
            for event in events
        ],
        "nothing",
    )
    broken = broken_order(events)
    if broken:
        console.print(f"[bold red]Out of order:[/bold red] {'; '.join(broken)}")
    else:
        console.print("[green]✔[/green] Every message came after those that it needs.")
