"""The emulated receiver. He detects, reports what he sifted, and shelves what Alice distils."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from emulators.clavis2 import physics
from emulators.clavis2.distillation import (
    MAX_LINE_OCTETS,
    REPLY_TIMEOUT_S,
    Confirmed,
    Distilled,
    Hello,
    Message,
    Peer,
    PeerLostError,
    Sifted,
)
from emulators.clavis2.light_frame import FrameKind, LightFrame
from emulators.clavis2.plant_link import Channel, PlantLink
from emulators.clavis2.unit import PHASES, UnitState


@dataclass(slots=True)
class _Session:
    """The Alice who speaks to us. A newer one takes her place."""

    peer: Peer
    session: bytes
    block: LightFrame | None = None
    sifted: Sifted | None = None
    arrived: Channel | None = None


class Bob:
    """`run` never returns; cancel it to stop."""

    def __init__(self, state: UnitState, line_attenuation_db: float) -> None:
        self._state = state
        self._session: _Session | None = None
        self.link = PlantLink(state.settings.plant, state.settings.end_point, self._detect)
        state.log.info("LineMeasurement", f"Line attenuation given: {line_attenuation_db:g} dB")

    async def run(self) -> None:
        settings = self._state.settings
        server = await asyncio.start_server(
            self._meet_alice, settings.address, settings.distillation_port, limit=MAX_LINE_OCTETS
        )
        async with server:
            self._state.log.info("QKDSequence", "Standing by for Alice")
            await self._watch_line()

    async def _watch_line(self) -> None:
        while True:
            channel = self.link.channel
            await self.link.changes_from(channel, 3600.0)
            if channel is not None and self.link.channel is None:
                self._state.log.warn("LineMeasurement", "No light on the line; waiting")

    async def _meet_alice(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        session: _Session | None = None
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                hello = (await peer.receive()).hello
            if hello is None:
                raise PeerLostError("no greeting")
            session = self._begin(peer, hello)
            while True:
                self._obey(session, await peer.receive())
        except (PeerLostError, TimeoutError) as lost:
            if session is not None and self._session is session:
                self._session = None
                self._state.log.warn("QKDSequence", f"Alice is lost: {lost}")
        except asyncio.CancelledError:
            # The program stops; a cancelled handler would only make asyncio complain.
            return
        finally:
            peer.close()

    def _begin(self, peer: Peer, hello: Hello) -> _Session:
        if self._session is not None:
            self._session.peer.close()
        self._state.meet(hello.program)
        session = _Session(peer, bytes.fromhex(hello.session))
        self._session = session
        peer.send(Message(hello=Hello(program=self._state.program, session=hello.session)))
        self._state.log.info("QKDSequence", "Alice is here")
        return session

    def _detect(self, octets: bytes, arrived: Channel) -> None:
        """Light arrived. That of an Alice who does not speak to us is noise."""
        session = self._session
        try:
            frame = LightFrame.decode(octets)
        except ValueError:
            return
        if session is None or frame.session != session.session:
            return
        session.arrived = arrived
        if frame.kind is FrameKind.PROBE:
            session.peer.send(Message(seen=frame.number))
            return
        line = physics.line(arrived.loss_db, arrived.fibre_km)
        dice = self._state.dice
        sifted_bit = physics.poisson(dice, line.sifted_rate_bps * frame.exchange_s)
        session.block = frame
        session.sifted = Sifted(
            block=frame.number,
            sifted_bit=sifted_bit,
            errors=physics.binomial(dice, sifted_bit, line.qber),
        )
        session.peer.send(Message(sifted=session.sifted))

    def _obey(self, session: _Session, message: Message) -> None:
        if message.phase in PHASES and session.arrived is not None:
            self._state.log_phase(message.phase, session.arrived)
        elif message.distilled is not None:
            self._shelve(session, message.distilled)

    def _shelve(self, session: _Session, distilled: Distilled) -> None:
        frame, sifted = session.block, session.sifted
        if frame is None or sifted is None or frame.number != distilled.block:
            raise PeerLostError("Alice distilled a block that did not arrive")
        key_ids = [int(key_id, 16) for key_id in distilled.key_ids]
        if 0 in key_ids or len(set(key_ids)) < len(key_ids):
            raise PeerLostError("Alice used a key id twice, or the id 0")
        shelf = self._state.shelf
        kept = min(len(key_ids), shelf.free)
        if any(key_id in shelf for key_id in key_ids[:kept]):
            raise PeerLostError("Alice used the id of a key that is on the shelf")
        for key_id, key in zip(key_ids[:kept], frame.keys(kept), strict=True):
            shelf.put(key_id, key)
        frame.secret.wipe()
        session.block = None
        session.peer.send(Message(confirmed=Confirmed(block=distilled.block, kept=kept)))
        self._state.log_block(sifted.qber, distilled.final_bit, frame.exchange_s)
