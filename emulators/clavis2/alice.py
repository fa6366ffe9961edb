"""The emulated sender. She leads: measures the line, sends light, distils, shelves keys."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from emulators.clavis2 import physics
from emulators.clavis2.distillation import (
    MAX_KEYS_A_BLOCK,
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
from emulators.clavis2.light_frame import SECRET_OCTETS, FrameKind, LightFrame
from emulators.clavis2.plant_link import Channel, PlantLink
from emulators.clavis2.unit import KEY_BIT, PHASES, UnitState
from idq3p.key_bytes import KeyBytes

_RETRY_S: Final = 0.2
_PROBE_EVERY_S: Final = 0.25
_BLOCK_QKD_S: Final = 10.0
_BLOCK_REAL_S: Final = 0.1
"""A block stands for 10 s of QKD time; where time is scaled, for at least 0.1 s of real time."""
_DAY_S: Final = 86_400.0


class _LightLostError(Exception):
    """The line went dark or became another one."""


class Alice:
    """`run` never returns; cancel it to stop."""

    def __init__(self, state: UnitState, bob_address: str) -> None:
        self._state = state
        self._bob = (bob_address, state.settings.distillation_port)
        self._number = 0
        self._left_over_bit = 0.0
        self.link = PlantLink(state.settings.plant, state.settings.end_point, self._unexpected)

    async def run(self) -> None:
        told = False
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    *self._bob, limit=MAX_LINE_OCTETS, local_addr=(self._state.settings.address, 0)
                )
            except OSError as error:
                if not told:
                    self._state.log.warn("QKDSequence", f"Bob does not answer yet: {error}")
                told = True
                await asyncio.sleep(_RETRY_S)
                continue
            told = False
            await self._with_bob(Peer(reader, writer))
            await asyncio.sleep(_RETRY_S)

    async def _with_bob(self, peer: Peer) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(peer.fill_inbox())
                tasks.create_task(self._session(peer))
        except* PeerLostError as lost:
            self._state.log.warn("QKDSequence", f"Bob is lost: {lost.exceptions[0]}")
        finally:
            peer.close()

    async def _session(self, peer: Peer) -> None:
        session = secrets.token_hex(16)
        peer.send(Message(hello=Hello(program=self._state.program, session=session)))
        try:
            hello = await peer.reply(lambda message: message.hello, REPLY_TIMEOUT_S)
        except TimeoutError as error:
            raise PeerLostError("no greeting within the time") from error
        self._state.meet(hello.program)
        self._state.log.info("QKDSequence", f"Bob at {self._bob[0]} stands by")
        while True:
            channel = await self.link.lit()
            try:
                await self._key_exchange(peer, bytes.fromhex(session), channel)
            except _LightLostError:
                self._state.log.warn("LineMeasurement", "No light on the line; waiting")

    async def _key_exchange(self, peer: Peer, session: bytes, channel: Channel) -> None:
        """Initialise and generate until the light goes."""
        await self._wait_until_seen(peer, session, channel)
        line = physics.line(channel.loss_db, channel.fibre_km)
        total_s = physics.initialisation_s(line, self._state.settings.initialisation)
        durations_s = {phase: seconds for phase, (_, seconds) in PHASES.items()}
        durations_s["raw_exchange"] = max(0.0, total_s - physics.FIXED_INITIALISATION_S)
        due_s = self._state.clock.monotonic()
        self._left_over_bit = 0.0
        for phase, duration_s in durations_s.items():
            peer.send(Message(phase=phase))
            self._state.log_phase(phase, channel)
            due_s += duration_s
            await self._stay_lit(channel, due_s)
        exchange_s = durations_s["raw_exchange"]
        while True:
            since_s = self._state.clock.monotonic()
            frame = LightFrame(
                session,
                self._next_number(),
                FrameKind.BLOCK,
                exchange_s,
                KeyBytes(secrets.token_bytes(SECRET_OCTETS)),
            )
            with frame.secret:
                sifted = await self._send_block(peer, channel, frame)
                await self._distil(peer, line, frame, sifted)
            block_s = max(_BLOCK_QKD_S, _BLOCK_REAL_S * self._state.clock.scale)
            await self._stay_lit(channel, since_s + block_s)
            exchange_s = self._state.clock.monotonic() - since_s

    async def _wait_until_seen(self, peer: Peer, session: bytes, channel: Channel) -> None:
        """Send probes until Bob says that he sees one: it is he who is at the far end."""
        sent: set[int] = set()

        def seen(message: Message) -> int | None:
            # Only of these probes: an older one may have gone where the light went before.
            return message.seen if message.seen in sent else None

        while True:
            number = self._next_number()
            sent.add(number)
            self.link.emit(LightFrame(session, number, FrameKind.PROBE).encode())
            try:
                await peer.reply(seen, _PROBE_EVERY_S)
                return
            except TimeoutError:
                if self.link.channel is not channel:
                    raise _LightLostError from None

    async def _stay_lit(self, channel: Channel, until_s: float) -> None:
        """Let QKD time pass on this line. Raises `_LightLostError` when it changes meanwhile."""
        while (left_s := until_s - self._state.clock.monotonic()) > 0:
            real_s = min(self._state.clock.real_s(left_s), _DAY_S)
            if await self.link.changes_from(channel, real_s):
                break
        if self.link.channel is not channel:
            raise _LightLostError

    async def _send_block(self, peer: Peer, channel: Channel, frame: LightFrame) -> Sifted:
        """Send the light of one block; what Bob sifted of it."""
        self.link.emit(frame.encode())
        for _ in range(round(REPLY_TIMEOUT_S / _PROBE_EVERY_S)):
            try:
                return await peer.reply(lambda m: _sifted(m, frame.number), _PROBE_EVERY_S)
            except TimeoutError:
                if self.link.channel is not channel:
                    break
        # The light went in flight, or the far end is another Bob now.
        raise _LightLostError

    async def _distil(
        self, peer: Peer, line: physics.Line, frame: LightFrame, sifted: Sifted
    ) -> None:
        final_bit = int(sifted.sifted_bit * line.secret_fraction(sifted.qber))
        self._left_over_bit += final_bit
        made = int(self._left_over_bit // KEY_BIT)
        self._left_over_bit -= made * KEY_BIT
        # What does not fit on the shelf is made and thrown away at both ends.
        offered = min(made, self._state.shelf.free, MAX_KEYS_A_BLOCK)
        key_ids = self._fresh_ids(offered)
        distilled = Distilled(block=frame.number, final_bit=final_bit, key_ids=key_ids)
        peer.send(Message(distilled=distilled))
        try:
            confirmed = await peer.reply(lambda m: _confirmed(m, frame.number), REPLY_TIMEOUT_S)
        except TimeoutError as error:
            raise PeerLostError("Bob did not confirm a block") from error
        kept = min(confirmed.kept, offered)
        for key_id, key in zip(key_ids[:kept], frame.keys(kept), strict=True):
            self._state.shelf.put(int(key_id, 16), key)
        self._state.log_block(sifted.qber, final_bit, frame.exchange_s)

    def _fresh_ids(self, count: int) -> list[str]:
        """Random ids that neither are 0 nor name a key on the shelf."""
        fresh: dict[str, None] = {}
        while len(fresh) < count:
            key_id = secrets.token_bytes(8)
            if any(key_id) and int.from_bytes(key_id, "big") not in self._state.shelf:
                fresh[key_id.hex()] = None
        return list(fresh)

    def _next_number(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    def _unexpected(self, frame: bytes, channel: Channel) -> None:
        self._state.log.warn("QKDSequence", f"Light of {len(frame)} octets from {channel.peer}?")


def _sifted(message: Message, block: int) -> Sifted | None:
    return message.sifted if message.sifted and message.sifted.block == block else None


def _confirmed(message: Message, block: int) -> Confirmed | None:
    found = message.confirmed
    return found if found and found.block == block else None
