"""An OpenFlow 1.3 controller that does what a test says; spoken with the project's codec."""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
from collections.abc import Iterable
from typing import TypeVar

from sdn_client.openflow13 import messages as of
from sdn_client.openflow13 import multipart as mp
from sdn_client.openflow13.constants import FlowCommand
from sdn_client.openflow13.reading import decode
from sdn_client.openflow13.structures import ApplyActions, Match, Output, Port
from sdn_client.openflow_framing import FrameReader

M = TypeVar("M", bound=of.Message)


class Peer:
    """The controller's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        self.socket = connection
        self._frames = FrameReader()
        self._read: list[of.Message] = []
        self.xids = itertools.count(1000)

    def send(self, *messages: of.Message) -> None:
        self.socket.sendall(b"".join(of.encode(m) for m in messages))

    def send_raw(self, hex_: str) -> None:
        self.socket.sendall(bytes.fromhex(hex_))

    def receive(self) -> of.Message:
        """The next message but port status, which may come at any time."""
        while isinstance(message := self._next(), of.PortStatus):
            pass
        return message

    def port_status(self) -> of.PortStatus:
        """The next message, which has to be a port status."""
        message = self._next()
        assert isinstance(message, of.PortStatus), message
        return message

    def _next(self) -> of.Message:
        """The next message but echo requests, which are answered; ConnectionError at the end."""
        while True:
            while not self._read:
                data = self.socket.recv(1 << 16)
                if not data:
                    raise ConnectionError("the switch closed the connection")
                self._read.extend(decode(f) for f in self._frames.feed(data))
            message = self._read.pop(0)
            if not isinstance(message, of.EchoRequest):
                return message
            self.send(of.EchoReply(message.xid, message.data))

    def receive_one(self, kind: type[M]) -> M:
        """The next message, which has to be a `kind`."""
        message = self.receive()
        assert isinstance(message, kind), message
        return message

    def is_silent(self, for_s: float) -> bool:
        """Whether nothing comes for so long."""
        if self._read:
            return False
        self.socket.settimeout(for_s)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)

    def ends(self) -> bool:
        """Whether the switch closes the connection, whatever it says before."""
        try:
            while True:
                self.receive()
        except (ConnectionError, TimeoutError) as error:
            return isinstance(error, ConnectionError)

    # --- what a controller asks for

    def barrier(self) -> list[of.ErrorMessage]:
        """Pass a barrier; the errors that came before its answer."""
        xid = next(self.xids)
        self.send(of.BarrierRequest(xid))
        return self.errors_until_barrier(xid)

    def errors_until_barrier(self, xid: int) -> list[of.ErrorMessage]:
        errors = []
        while True:
            message = self.receive()
            if isinstance(message, of.BarrierReply):
                assert message.xid == xid
                return errors
            if isinstance(message, of.ErrorMessage):
                errors.append(message)

    def multipart(self, body: mp.Body) -> list[mp.Body]:
        """Ask; the bodies of all parts of the answer."""
        xid = next(self.xids)
        self.send(of.MultipartRequest(xid, body))
        bodies = []
        while True:
            reply = self.receive_one(of.MultipartReply)
            assert reply.xid == xid
            bodies.append(reply.content)
            if not reply.flags:
                return bodies

    def flows(self, request: mp.FlowRequest | None = None) -> list[mp.FlowStats]:
        return [
            flow
            for body in self.multipart(request or mp.FlowRequest())
            if isinstance(body, mp.FlowReply)
            for flow in body.flows
        ]

    def pairs(self) -> set[tuple[int, int]]:
        """The flow table as pairs (in_port, out_port)."""
        return {pair_of(flow) for flow in self.flows()}

    def ports(self) -> dict[int, Port]:
        return {
            port.port_no: port
            for body in self.multipart(mp.RawBody(13))
            if isinstance(body, mp.PortDescriptionReply)
            for port in body.ports
        }


def pair_of(flow: mp.FlowStats) -> tuple[int, int]:
    (in_port,) = struct.unpack("!I", flow.match.fields[0].payload)
    (instruction,) = flow.instructions
    assert isinstance(instruction, ApplyActions)
    (output,) = instruction.actions
    assert isinstance(output, Output)
    return in_port, output.port


def add(a: int, b: int, xid: int = 7, *, cookie: int = 0, flags: int = 0) -> of.FlowMod:
    """The flow in_port=a -> output b."""
    return of.FlowMod(
        xid,
        FlowCommand.ADD,
        Match.in_port(a),
        (ApplyActions((Output(b),)),),
        priority=100,
        cookie=cookie,
        flags=flags,
    )


def delete(a: int, xid: int = 8) -> of.FlowMod:
    return of.FlowMod(xid, FlowCommand.DELETE_STRICT, Match.in_port(a), priority=100)


def with_barriers(mods: Iterable[of.FlowMod], first_xid: int = 500) -> list[of.Message]:
    """Each of `mods` with a barrier behind it, xids from `first_xid`."""
    xids = itertools.count(first_xid)
    return [m for mod in mods for m in (mod, of.BarrierRequest(next(xids)))]


class Controller:
    """Listens on a free port of loopback; with `tls`, as a TLS server."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: list[Peer] = []

    def accept(self, timeout_s: float = 20, *, greet: bool = True) -> Peer:
        """The next connection of a switch, after both said HELLO (with `greet`)."""
        self._listener.settimeout(timeout_s)
        connection, _ = self._listener.accept()
        if self._tls is not None:
            connection.settimeout(timeout_s)
            connection = self._tls.wrap_socket(connection, server_side=True)
        peer = Peer(connection)
        self._peers.append(peer)
        if greet:
            peer.send(of.Hello(1))
            peer.receive_one(of.Hello)
        return peer

    def close(self) -> None:
        for peer in self._peers:
            peer.socket.close()
        self._listener.close()
