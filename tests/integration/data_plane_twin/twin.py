"""The laboratory's optical network as packets: Open vSwitch for mirrors, namespaces for nodes.

One bridge (userspace datapath) for each virtual switch, with the chassis' port numbers; a jumper
is a patch between two bridges; an end point is an interface in its node's namespace. Everything
stands in a network namespace of its own, and the bridges reach the controller over a Unix socket
that is joined to its TCP port here. Light passes both ways, a flow only one: whoever programs the
twin sends two flows for a cross-connect.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from sdn_client.topology import EndPoint, LightKind, PortRef, Topology, VirtualSwitch

_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_LIMIT_S = 30


def missing_parts() -> list[str]:
    tools = [
        tool for tool in ("ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ip") if not _which(tool)
    ]
    if not _SCHEMA.exists():
        tools.append(str(_SCHEMA))
    if os.geteuid() != 0:
        tools.append("root, for network namespaces")
    return tools


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class DataPlaneTwin:
    """Up from `with` to its end. `address_of` and `command_in` are for processes in nodes."""

    def __init__(self, topology: Topology, folder: Path, controller: tuple[str, int]) -> None:
        self._topology = topology
        self._folder = folder
        self._controller = controller
        self._id = uuid4().hex[:6]
        self._glass = f"qnfv-{self._id}-glass"
        self._end_points = [e for e in topology.end_points if e.kind is LightKind.CLASSICAL]
        self._nodes = sorted({e.node for e in self._end_points})
        self._environment = os.environ | {"OVS_RUNDIR": str(folder)}
        self._stack = ExitStack()

    def __enter__(self) -> DataPlaneTwin:
        try:
            self._socket = self._folder / "controller.sock"
            self._stack.enter_context(_Joint(self._socket, self._controller))
            self._namespaces()
            self._servers()
            for switch in self._topology.virtual_switches:
                self._bridge(switch)
            self._fibres()
            for number, end_point in enumerate(self._end_points, 1):
                self._attach(end_point, number)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- for tests

    def address_of(self, end_point: str) -> str:
        names = [e.name for e in self._end_points]
        return f"10.77.0.{names.index(end_point) + 1}"

    def command_in(self, node: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self._node(node), *command]

    # --- how it is made

    def _node(self, node: str) -> str:
        return f"qnfv-{self._id}-{node}"

    def _namespaces(self) -> None:
        for name in (self._glass, *map(self._node, self._nodes)):
            _run("ip", "netns", "add", name)
            self._stack.callback(_run, "ip", "netns", "del", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")

    def _servers(self) -> None:
        database = self._folder / "conf.db"
        _run("ovsdb-tool", "create", str(database), str(_SCHEMA))
        self._daemon(
            "ovsdb-server", str(database), f"--remote=punix:{self._folder}/db.sock", name="ovsdb"
        )
        self._vsctl("--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{self._folder}/db.sock", name="vswitchd")

    def _daemon(self, program: str, *arguments: str, name: str) -> None:
        pid_file = self._folder / f"{name}.pid"
        command = [program, *arguments, "--detach", f"--pidfile={pid_file}"]
        command += [f"--unixctl={self._folder}/{name}.ctl", f"--log-file={self._folder}/{name}.log"]
        self._in_glass(*command)
        pid = int(pid_file.read_text())
        self._stack.callback(_end, pid)

    def _bridge(self, switch: VirtualSwitch) -> None:
        assert switch.datapath_id is not None  # the twin presents each partition by itself
        self._vsctl(
            "add-br", switch.name,
            "--", "set", "bridge", switch.name, "datapath_type=netdev", "protocols=OpenFlow13",
            "fail-mode=secure", f"other-config:datapath-id={switch.datapath_id:016x}",
            "--", "set-controller", switch.name, f"unix:{self._socket}",
            "--", "set", "controller", switch.name, "inactivity_probe=5000", "max_backoff=1000",
        )  # fmt: skip
        for number in sorted(switch.ports):
            if self._topology.facing(PortRef(switch.chassis, number)) is None:
                # The controller is shown every port of the partition; this one is not plugged.
                self._port(switch.name, f"n{number}", number, "type=patch", "options:peer=nothing")

    def _fibres(self) -> None:
        for fibre in self._topology.fibres:
            if fibre.kind is LightKind.QUANTUM:
                # No packets there; the ports are shown all the same.
                for end in fibre.ends:
                    if isinstance(end, PortRef):
                        self._dark(end)
                continue
            a, b = fibre.ends
            if isinstance(a, PortRef) and isinstance(b, PortRef):
                for here, there in ((a, b), (b, a)):
                    self._port(
                        self._bridge_of(here), f"p{here.port}", here.port,
                        "type=patch", f"options:peer=p{there.port}",
                    )  # fmt: skip
        for end_point in self._topology.end_points:
            if end_point.kind is LightKind.QUANTUM and end_point.port is not None:
                self._dark(end_point.port)

    def _dark(self, port: PortRef) -> None:
        self._port(
            self._bridge_of(port), f"q{port.port}", port.port, "type=patch", "options:peer=nothing"
        )

    def _attach(self, end_point: EndPoint, number: int) -> None:
        port = self._topology.port_of(end_point.name)
        outer, node = f"v{port.port}", self._node(end_point.node)
        _run(
            "ip", "-n", self._glass, "link", "add", outer,
            "type", "veth", "peer", "name", end_point.name, "netns", node,
        )  # fmt: skip
        _run("ip", "-n", self._glass, "link", "set", outer, "up")
        # Addresses of one node's two interfaces must not answer for each other.
        address = self.address_of(end_point.name)
        _run("ip", "-n", node, "addr", "add", f"{address}/32", "dev", end_point.name)
        _run("ip", "-n", node, "link", "set", end_point.name, "up")
        for other in self._end_points:
            if other.node != end_point.node:
                _run(
                    "ip", "-n", node, "route", "append", f"{self.address_of(other.name)}/32",
                    "dev", end_point.name, "src", address, "metric", str(100 + number),
                )  # fmt: skip
        # Userspace switching computes no checksums for veth.
        ethtool = _which("ethtool")
        if ethtool:
            _run("ip", "netns", "exec", node, ethtool, "-K", end_point.name, "tx", "off")
        self._port(self._bridge_of(port), outer, port.port)

    def _bridge_of(self, port: PortRef) -> str:
        switch = self._topology.virtual_switch_of(port)
        assert switch is not None
        return switch.name

    def _port(self, bridge: str, name: str, number: int, *settings: str) -> None:
        self._vsctl(
            "add-port", bridge, name,
            "--", "set", "interface", name, f"ofport_request={number}", *settings,
        )  # fmt: skip

    def _vsctl(self, *arguments: str) -> None:
        self._in_glass(
            "ovs-vsctl", f"--db=unix:{self._folder}/db.sock", f"--timeout={_LIMIT_S}", *arguments
        )

    def _in_glass(self, *command: str) -> None:
        _run("ip", "netns", "exec", self._glass, *command, environment=self._environment)


class _Joint:
    """Joins every connection of a Unix socket to a TCP port of this machine's loopback."""

    def __init__(self, path: Path, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._closing = False

    def __enter__(self) -> _Joint:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(self._target, timeout=5)
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=_copy, args=(a, b), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass  # the other direction ended first
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # ended already


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=2 * _LIMIT_S, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _end(pid: int) -> None:
    """End one of our daemons by its id, and wait."""
    gone = threading.Event()
    os.kill(pid, 15)
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        gone.wait(0.05)
    os.kill(pid, 9)
