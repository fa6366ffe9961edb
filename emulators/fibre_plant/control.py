"""The control side of the plant: switches, units and observers over TCP (CONTROL.md)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from emulators.fibre_plant.light import Light, LitPath, both_directions, dark_ports, follow_all
from problem_details import ProblemError
from sdn_client.errors import SdnError
from sdn_client.topology import LightKind, PortRef, Topology

log = logging.getLogger(__name__)

MAX_LINE_OCTETS: Final = 256 * 1024
MAX_FRAME_OCTETS: Final = 64 * 1024
HELLO_TIMEOUT_S: Final = 5.0
MAX_DEVICES: Final = 1024
# Light is not stored: a receiver that lags behind by more than this misses frames.
_MAX_UNSENT_OCTETS: Final = 4 * 1024 * 1024


class BadMessageError(ProblemError):
    """A device broke a rule of CONTROL.md."""

    slug = "fibre-plant-bad-message"
    title = "A device sent the fibre plant something it cannot accept"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _HelloSwitch(_Message):
    hello: Literal["switch"]
    chassis: str = Field(max_length=64)


class _HelloUnit(_Message):
    hello: Literal["unit"]
    end_point: str = Field(max_length=64)


class _HelloObserver(_Message):
    hello: Literal["observer"]


class _CrossConnects(_Message):
    cross_connects: list[Annotated[list[int], Field(min_length=2, max_length=2)]] = Field(
        max_length=65536
    )


class _Frame(_Message):
    frame: str


class _Cut(_Message):
    cut: str = Field(max_length=64)


class _Repair(_Message):
    repair: str = Field(max_length=64)


_HELLO: Final[TypeAdapter[_HelloSwitch | _HelloUnit | _HelloObserver]] = TypeAdapter(
    Annotated[_HelloSwitch | _HelloUnit | _HelloObserver, Field(discriminator="hello")]
)
_COMMAND: Final[TypeAdapter[_Cut | _Repair]] = TypeAdapter(_Cut | _Repair)


_CROSS_CONNECTS: Final = TypeAdapter(_CrossConnects)
_FRAME: Final = TypeAdapter(_Frame)
_M = TypeVar("_M")


class Device:
    """One connected device; writes never block, a device that does not read is cut off."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read_line(self) -> bytes:
        """The next line, empty at the end. Raises `BadMessageError` for one that is too long."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError as error:
            raise BadMessageError(f"a line is longer than {MAX_LINE_OCTETS} octets") from error

    @property
    def lags(self) -> bool:
        return self._writer.transport.get_write_buffer_size() > _MAX_UNSENT_OCTETS

    def send(self, message: dict[str, Any]) -> None:
        if self.lags:
            self.abort()
        else:
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)
        except (TimeoutError, OSError):
            self.abort()


class Plant:
    """The state of the glass and everybody who is told of it."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._switches: dict[str, tuple[Device, dict[PortRef, PortRef]]] = {}
        self._units: dict[str, Device] = {}
        self._observers: set[Device] = set()
        self._cut: set[str] = set()
        self._known_channels: dict[str, LitPath | None] = {}
        self._told_dark: dict[str, list[int]] = {}
        self._listeners: list[Callable[[Light], None]] = []
        self._fibres = {fibre.name for fibre in topology.fibres}
        self._connected = 0
        self.light = Light((), ())

    def on_change(self, listener: Callable[[Light], None]) -> None:
        """Call `listener` with the light after every change, and now."""
        self._listeners.append(listener)
        listener(self.light)

    async def serve_device(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Handle one connection from the first line to its end."""
        try:
            await self._admit(reader, writer)
        except asyncio.CancelledError:
            # The plant stops; a cancelled handler would only make asyncio complain.
            writer.transport.abort()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        device = Device(reader, writer)
        if self._connected >= MAX_DEVICES:
            device.abort()
            return
        self._connected += 1
        try:
            await self._converse(device)
        except (BadMessageError, SdnError) as error:
            log.warning("device %s: %s", writer.get_extra_info("peername"), error)
            device.send({"error": str(error)})
        except OSError as error:
            log.info("device %s is gone: %s", writer.get_extra_info("peername"), error)
        finally:
            self._connected -= 1
            await device.close()

    async def _converse(self, device: Device) -> None:
        try:
            line = await asyncio.wait_for(device.read_line(), HELLO_TIMEOUT_S)
        except TimeoutError as error:
            raise BadMessageError(f"no hello within {HELLO_TIMEOUT_S:g} s") from error
        if not line:
            return
        match _parsed(_HELLO, line):
            case _HelloSwitch(chassis=chassis):
                self.topology.chassis_named(chassis)
                await self._serve_switch(device, chassis)
            case _HelloUnit(end_point=end_point):
                if self.topology.end_point_named(end_point).kind is not LightKind.QUANTUM:
                    raise BadMessageError(f"{end_point!r} is not a quantum end point")
                await self._serve_unit(device, end_point)
            case _HelloObserver():
                await self._serve_observer(device)

    async def _serve_switch(self, device: Device, chassis: str) -> None:
        self._replace(self._switches.get(chassis, (None,))[0])
        self._switches[chassis] = (device, {})
        self._told_dark.pop(chassis, None)
        self._refresh()
        try:
            while line := await device.read_line():
                message = _parsed(_CROSS_CONNECTS, line)
                crossed = self._checked(chassis, message.cross_connects)
                if self._switches[chassis][0] is not device:
                    return
                self._switches[chassis] = (device, crossed)
                self._refresh()
        finally:
            if self._switches.get(chassis, (None,))[0] is device:
                del self._switches[chassis]
                self._refresh()

    def _checked(self, chassis: str, pairs: list[list[int]]) -> dict[PortRef, PortRef]:
        table = self.topology.chassis_named(chassis)
        for a, b in pairs:
            table.check_pair(a, b)
        try:
            return both_directions(chassis, [(a, b) for a, b in pairs])
        except ValueError as error:
            raise BadMessageError(str(error)) from error

    async def _serve_unit(self, device: Device, end_point: str) -> None:
        self._replace(self._units.get(end_point))
        self._units[end_point] = device
        device.send(_channel(self.light.quantum_channel(end_point)))
        self._tell_observers()
        can_transmit = self.topology.end_point_named(end_point).role != "receiver"
        try:
            while line := await device.read_line():
                message = _parsed(_FRAME, line)
                if not can_transmit:
                    raise BadMessageError(f"{end_point!r} is a receiver and emits no light")
                self._carry(end_point, message.frame)
        finally:
            if self._units.get(end_point) is device:
                del self._units[end_point]
                self._tell_observers()

    def _carry(self, source: str, frame: str) -> None:
        try:
            octets = base64.b64decode(frame, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadMessageError("a frame is not base64") from error
        if len(octets) > MAX_FRAME_OCTETS:
            raise BadMessageError(f"a frame is longer than {MAX_FRAME_OCTETS} octets")
        path = self.light.quantum_channel(source)
        if path is None or path.target.role == "transmitter":
            return
        receiver = self._units.get(path.target.name)
        if receiver is not None and not receiver.lags:
            arrival = {"from": source, "loss_db": path.loss_db, "fibre_km": path.fibre_km}
            receiver.send({"frame": frame, **arrival})

    async def _serve_observer(self, device: Device) -> None:
        self._observers.add(device)
        device.send(self._state())
        try:
            while line := await device.read_line():
                match _parsed(_COMMAND, line):
                    case _Cut(cut=name) if name in self._fibres:
                        self._cut.add(name)
                    case _Repair(repair=name) if name in self._fibres:
                        self._cut.discard(name)
                    case _:
                        device.send({"error": "the network has no fibre of this name"})
                        continue
                self._refresh()
        finally:
            self._observers.discard(device)

    def _replace(self, former: Device | None) -> None:
        if former is not None:
            former.send({"error": "another connection took this device's place"})
            former.abort()

    def _refresh(self) -> None:
        crossed = {a: b for _, pairs in self._switches.values() for a, b in pairs.items()}
        self.light = follow_all(self.topology, crossed, self._cut)
        for alarm in self.light.alarms:
            log.error("alarm: %s", alarm)
        for end_point in self.topology.end_points:
            if end_point.kind is LightKind.QUANTUM:
                self._tell_unit(end_point.name)
        for listener in self._listeners:
            listener(self.light)
        self._tell_switches()
        self._tell_observers()

    def _tell_switches(self) -> None:
        for chassis, (device, _) in self._switches.items():
            dark = dark_ports(self.topology, chassis, self._cut)
            if dark != self._told_dark.get(chassis):
                self._told_dark[chassis] = dark
                device.send({"dark": dark})

    def _tell_unit(self, end_point: str) -> None:
        path = self.light.quantum_channel(end_point)
        if path != self._known_channels.get(end_point):
            self._known_channels[end_point] = path
            if end_point in self._units:
                self._units[end_point].send(_channel(path))

    def _tell_observers(self) -> None:
        state = self._state()
        for observer in self._observers:
            observer.send(state)

    def _state(self) -> dict[str, Any]:
        return {
            "paths": [_path(path) for path in self.light.paths],
            "alarms": list(self.light.alarms),
            "cut": sorted(self._cut),
            "switches": sorted(self._switches),
            "units": sorted(self._units),
        }


def _channel(path: LitPath | None) -> dict[str, Any]:
    if path is None:
        return {"channel": None}
    seen = {"peer": path.target.name, "loss_db": path.loss_db, "fibre_km": path.fibre_km}
    return {"channel": seen}


def _path(path: LitPath) -> dict[str, Any]:
    return {
        "from": path.source.name,
        "to": path.target.name,
        "kind": path.kind.value,
        "loss_db": path.loss_db,
        "fibre_km": path.fibre_km,
        "cross_connects": [f"{a}-{b.port}" for a, b in path.cross_connects],
        "fibres": list(path.fibres),
    }


def _parsed(adapter: TypeAdapter[_M], line: bytes) -> _M:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        # Only the kinds of the faults: the input may be light.
        kinds = ", ".join(sorted({fault["type"] for fault in error.errors(include_input=False)}))
        raise BadMessageError(f"a line does not follow the control protocol ({kinds})") from None
