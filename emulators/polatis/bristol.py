"""The OpenFlow face as the Bristol agent of October 2014 has it, faults included.

It numbers ports from 0, reads each as one byte and any command but ADD as a tear-down, tells no
failure and no success, answers barriers before the mirrors stand still, and has no statistics.
CFLOW_MOD.md section 6 lists what is known of it and what is inferred.
"""

from __future__ import annotations

import asyncio
import struct

import structlog

from emulators.polatis.device import Device
from emulators.polatis.mirrors import Refusal
from sdn_client import cflow_mod as of
from sdn_client.cflow_mod.messages import VERSION

log = structlog.get_logger(__name__)

_COMMAND_AT, _IN_PORT_AT, _OUT_PORT_AT = 9, 25, 27
_CFLOW_TYPES = (of.CFlowMod.TYPE, 22)
_BANDWIDTH_HOST_ORDER = struct.Struct("<H6xQ")


class BristolSession:
    """One connection of the agent to a controller."""

    def __init__(self, device: Device, writer: asyncio.StreamWriter) -> None:
        self._device = device
        self._writer = writer

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve until the connection ends; a silent controller is waited for."""
        self._send(of.Hello(1))
        frames = of.FrameReader()
        while data := await reader.read(1 << 16):
            for frame in frames.feed(data):
                self._answer(frame)
            await self._writer.drain()

    def _answer(self, frame: of.Frame) -> None:
        if frame.version != VERSION:
            return
        match frame.type:
            case of.EchoRequest.TYPE:
                self._send(of.EchoReply(frame.xid, frame.body))
            case of.FeaturesRequest.TYPE:
                self._writer.write(self._features(frame.xid))
            case of.BarrierRequest.TYPE:
                self._send(of.BarrierReply(frame.xid))  # the mirrors may still move
            case kind if kind in _CFLOW_TYPES:
                self._obey(frame.raw)

    def _obey(self, raw: bytes) -> None:
        if len(raw) <= _OUT_PORT_AT:
            return
        tears_down = raw[_COMMAND_AT] != 0
        in_port, out_port = raw[_IN_PORT_AT] + 1, raw[_OUT_PORT_AT] + 1
        try:
            if not tears_down:
                self._device.connect([(in_port, out_port)])
            elif pair := self._device.mirrors.pair_at(in_port):
                self._device.disconnect([pair])  # DLT-PATCH knows one port alone
        except Refusal as refusal:
            log.info("refused, and not told", reason=str(refusal))

    def _features(self, xid: int) -> bytes:
        chassis = self._device.mirrors.chassis
        ports = tuple(of.CircuitPort(n, f"{n + 1}", bandwidth=(1,)) for n in range(chassis.ports))
        data = bytearray(of.encode(of.FeaturesReply(xid, chassis.datapath_id, ports)))
        for at in range(len(data) - 16, len(data) - 80 * len(ports), -80):
            _BANDWIDTH_HOST_ORDER.pack_into(data, at, 1, 1)
        return bytes(data)

    def _send(self, message: of.Message) -> None:
        self._writer.write(of.encode(message))
