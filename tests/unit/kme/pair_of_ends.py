"""Both ends of a link as a state machine: whatever happens, no key is used twice or lost.

Two ledgers and two KMEs on their own databases, joined by a line that loses requests and answers;
operations, applications, quarantine, expiry and crashes in any order. The model remembers who was
given which bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from sqlalchemy import Engine, select

from database import open_engine, reading
from key_management.errors import KeyManagementError, NoKeyAvailableError
from key_management.kme.deliveries import Deliveries
from key_management.kme.directory import Directory, KmeLink
from key_management.kme.endpoints import STATUS_OF
from key_management.kme.errors import KeysNotFoundError, NotNamedError
from key_management.kme.fake import FakePeer, Line
from key_management.kme.service import Kme
from key_management.kme.settings import LimitTable
from key_management.kme.tables import migrate_kme
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.states import KeyState
from key_management.tables import KeyRow, KeyUseRow, migrate_keys
from key_management.wrapping import WrappingKeys
from problem_details import ProblemError
from timekeeping import FakeClock
from trust import Identity, Role

LIFETIME_S = 1000.0
GRACE_S = 500.0
DELIVERY_LIFETIME_S = 300.0
LIMITS = LimitTable(delivery_lifetime_s=DELIVERY_LIFETIME_S, min_key_size_bit=256)
SAES = {"alice": ("enc-1", "enc-2"), "bob": ("dec-1", "dec-2")}


@dataclass
class End:
    """One end: a database that stays, and objects over it that a crash replaces."""

    role: str
    engine: Engine
    folder: Path
    clock: FakeClock
    link: str
    peer: FakePeer = field(default_factory=lambda: FakePeer(STATUS_OF))
    ledger: KeyLedger = field(init=False)
    kme: Kme = field(init=False)

    def start(self) -> None:
        self.ledger = KeyLedger(self.engine, WrappingKeys(self.folder), self.clock)
        other = "bob" if self.role == "alice" else "alice"
        directory = Directory(
            f"kme-{self.role}",
            {sae: Identity(Role.SAE, sae) for sae in SAES[self.role]},
            {sae: f"kme-{other}" for sae in SAES[other]},
            [KmeLink(self.link, f"kme-{other}", self.role == "alice")],
        )
        self.kme = Kme(
            directory,
            self.ledger,
            Deliveries(self.engine, self.clock),
            {f"kme-{other}": self.peer},
            LIMITS,
            self.clock,
            accept_emulated_keys=True,
        )

    def uses(self) -> dict[UUID, tuple[Any, ...]]:
        """Block to the message that it was armed for."""
        with reading(self.engine) as session:
            rows = session.execute(
                select(
                    KeyUseRow.key_id,
                    KeyUseRow.transfer_id,
                    KeyUseRow.image_digest,
                    KeyUseRow.destination,
                ).where(KeyUseRow.link == self.link)
            )
            return {row[0]: tuple(row[1:]) for row in rows}

    def states(self) -> dict[UUID, str]:
        with reading(self.engine) as session:
            rows = session.execute(
                select(KeyRow.key_id, KeyRow.state).where(KeyRow.link == self.link)
            )
            return {row[0]: row[1] for row in rows}


@contextmanager
def two_databases() -> Iterator[list[tuple[Engine, Path]]]:
    """Shared by all examples of a run; each one has a link of its own."""
    with TemporaryDirectory() as folder:
        found = []
        for role in ("alice", "bob"):
            home = Path(folder) / role
            engine = open_engine(f"sqlite:///{home / 'kme.sqlite'}")
            migrate_keys(engine)
            migrate_kme(engine)
            found.append((engine, home / "wrapping"))
        yield found
        for engine, _ in found:
            engine.dispose()


@dataclass(frozen=True)
class Given:
    """A key that a master SAE was given."""

    key_id: UUID
    master: str
    slaves: tuple[str, ...]
    key: bytes


class PairOfEnds(RuleBasedStateMachine):
    """`homes` is set by who runs it."""

    homes: list[tuple[Engine, Path]]

    turns: Bundle[UUID] = Bundle("turns")
    operations: Bundle[tuple[UUID, tuple[UUID, ...]]] = Bundle("operations")
    given: Bundle[Given] = Bundle("given")

    def __init__(self) -> None:
        super().__init__()
        self.link = f"link-{secrets.token_hex(8)}"
        self.clock = FakeClock()
        self.alice, self.bob = (
            End(role, engine, folder, self.clock, self.link)
            for role, (engine, folder) in zip(("alice", "bob"), self.homes, strict=True)
        )
        for end in (self.alice, self.bob):
            end.start()
        self._join()
        self.made: dict[UUID, bytes] = {}
        self.used_by: dict[bytes, Any] = {}
        """Each block's bytes to the one message or delivered key that had them."""
        self.delivered: set[tuple[UUID, str]] = set()

    def _join(self) -> None:
        self.alice.peer.kme, self.bob.peer.kme = self.bob.kme, self.alice.kme

    def _line(self, line: Line) -> None:
        self.alice.peer.line = self.bob.peer.line = line

    def _use(self, key: bytes, by: Any) -> None:
        for start in range(0, len(key), 32):
            block = key[start : start + 32]
            assert block in self.made.values(), "made by nobody"
            assert self.used_by.setdefault(block, by) == by, "a block for two"

    # --- keys come in -----------------------------------------------------------------------------

    @rule(target=turns, count=st.integers(1, 6), missing=st.integers(0, 1), cut=st.booleans())
    def extract(self, count: int, missing: int, cut: bool) -> UUID:
        """`missing`: Bob's unit lost one; `cut`: Alice's end dies between the two confirmations."""
        epoch, turn = uuid4(), uuid4()
        keys = {uuid4(): secrets.token_bytes(32) for _ in range(count)}
        self.made |= keys
        held = []
        for end, lost in ((self.alice, 0), (self.bob, missing)):
            extracted = [
                ExtractedKey(i, b"12345678", bytearray(k)) for i, k in list(keys.items())[lost:]
            ]
            entered = end.ledger.add_pending(self.link, epoch, extracted, emulated=True, turn=turn)
            held.append(set(entered))
        both = held[0] & held[1]
        self.bob.ledger.confirm(self.link, epoch, both)
        if cut:
            self.alice.start()
            self._join()
            for end in (self.bob, self.alice):
                end.ledger.discard(self.link, epoch)
        else:
            assert self.alice.ledger.confirm(self.link, epoch, both) == len(both)
        return turn

    # --- operations of the orchestrator -----------------------------------------------------------

    @rule(target=operations, count=st.integers(1, 4), many=st.booleans())
    def reserve(self, count: int, many: bool) -> Any:
        owner = uuid4()
        try:
            if many:
                ids = [
                    record.key_id
                    for record in self.alice.ledger.reserve_many(self.link, owner, count)
                ]
            else:
                ids = [self.alice.ledger.reserve(self.link, owner).key_id]
        except NoKeyAvailableError:
            return multiple()
        return owner, tuple(ids)

    @rule(operation=operations, end=st.sampled_from(["consume", "burn", "release"]))
    def carry_out(self, operation: tuple[UUID, tuple[UUID, ...]], end: str) -> None:
        owner, ids = operation
        what = Message(owner, bytes(32), "dc-1")
        try:
            self.bob.ledger.reserve_by_ids(self.link, ids, owner)
            for side in (self.alice, self.bob):
                side.ledger.arm_all(self.link, ids, what)
            read = {
                side.ledger.with_armed_keys(self.link, ids, what, bytes)
                for side in (self.alice, self.bob)
            }
            assert len(read) == 1, "both ends hold the same"
            self._use(read.pop(), owner)
        except KeyManagementError:
            end = "release"  # quarantined, expired at one end, or carried out before
        for side in (self.alice, self.bob):
            try:
                if end == "consume":
                    side.ledger.consume_all(self.link, ids)
                elif end == "burn":
                    side.ledger.burn_all(self.link, ids, "test")
            except KeyManagementError:
                pass
            side.ledger.release(owner, "over")

    # --- applications -----------------------------------------------------------------------------

    @rule(
        target=given,
        at_bob=st.booleans(),
        number=st.integers(1, 3),
        blocks=st.integers(1, 2),
        slaves=st.integers(1, 2),
        line=st.sampled_from([Line.WHOLE, Line.WHOLE, *Line]),
    )
    def ask_for_keys(self, at_bob: bool, number: int, blocks: int, slaves: int, line: Line) -> Any:
        end = self.bob if at_bob else self.alice
        master = SAES[end.role][0]
        slave, *more = SAES["alice" if at_bob else "bob"][:slaves]
        self._line(line)
        try:
            keys = end.kme.new_keys(
                master, slave, number=number, size_bit=256 * blocks, additional_slaves=more
            )
        except ProblemError:
            return multiple()
        finally:
            self._line(Line.WHOLE)
        given = []
        for key in keys:
            assert len(key.key) == 32 * blocks
            self._use(bytes(key.key), key.key_id)
            given.append(Given(key.key_id, master, (slave, *more), bytes(key.key)))
        return multiple(*given)

    @rule(given=given, who=st.integers(0, 3))
    def fetch(self, given: Given, who: int) -> None:
        at_bob = given.master in SAES["alice"]
        end = self.bob if at_bob else self.alice
        sae = (*SAES["bob"], *SAES["alice"])[who]
        if sae not in SAES[end.role]:
            return
        try:
            (key,) = end.kme.keys_by_ids(sae, given.master, [given.key_id])
        except NotNamedError:
            assert sae not in given.slaves
            return
        except KeysNotFoundError:
            assert sae in given.slaves
            return
        assert sae in given.slaves
        assert (given.key_id, sae) not in self.delivered, "delivered twice"
        assert bytes(key.key) == given.key
        self.delivered.add((given.key_id, sae))

    # --- what happens besides ---------------------------------------------------------------------

    @rule(turn=turns)
    def quarantine(self, turn: UUID) -> None:
        for end in (self.alice, self.bob):
            end.ledger.quarantine(self.link, turn, "doubt")

    @rule(turn=turns, sound=st.booleans())
    def decide(self, turn: UUID, sound: bool) -> None:
        for end in (self.bob, self.alice):
            if sound:
                end.ledger.release_quarantined(self.link, turn)
            else:
                end.ledger.burn_quarantined(self.link, turn)

    @rule(seconds=st.sampled_from([1.0, DELIVERY_LIFETIME_S, LIFETIME_S]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def expire(self) -> None:
        now = self.clock.now()
        self.alice.ledger.expire(self.link, now - timedelta(seconds=LIFETIME_S))
        self.bob.ledger.expire(self.link, now - timedelta(seconds=LIFETIME_S + GRACE_S))

    @rule(at_bob=st.booleans(), line=st.sampled_from(Line))
    def crash(self, at_bob: bool, line: Line) -> None:
        end = self.bob if at_bob else self.alice
        end.start()
        self._join()
        self._line(line)
        end.kme.settle(starting=True)
        self._line(Line.WHOLE)
        end.ledger.destroy_drained_epochs()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def every_key_is_accounted_for(self) -> None:
        for end in (self.alice, self.bob):
            end.ledger.check_account(self.link)
        assert self.alice.ledger.account(self.link).made == len(self.made)

    @invariant()
    def a_block_serves_the_same_message_at_both_ends(self) -> None:
        theirs = self.bob.uses()
        for block, message in self.alice.uses().items():
            if block in theirs:
                assert theirs[block] == message

    def teardown(self) -> None:
        """When all is settled, nothing is promised to an application any more."""
        self.clock.advance(2 * DELIVERY_LIFETIME_S)
        for _ in range(2):
            for end in (self.alice, self.bob):
                end.start()
                self._join()
                end.kme.settle(starting=True)
        # What was promised for longer than the grace came back too old; it expires now.
        self.expire()
        at_alice, at_bob = self.alice.states(), self.bob.states()
        for end in (self.alice, self.bob):
            assert end.ledger.counts(self.link)[KeyState.ARMED] == 0
            with reading(end.engine) as session:
                wrapped = session.execute(
                    select(KeyRow.key_id).where(
                        KeyRow.link == self.link,
                        KeyRow.state.in_([KeyState.CONSUMED, KeyState.BURNED, KeyState.EXPIRED]),
                        KeyRow.wrapped.is_not(None),
                    )
                ).all()
            assert not wrapped, "erased"
        gone = {KeyState.CONSUMED, KeyState.BURNED, KeyState.EXPIRED}
        for block, state in at_alice.items():
            if state == KeyState.AVAILABLE:
                assert at_bob[block] not in gone, "Alice offers what Bob has dropped"
