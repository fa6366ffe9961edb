"""A chain of trusted nodes, each with a ledger of its own, joined by links that have keys."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

from database import open_engine
from key_management.extraction import LocalEnd
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.relay.node import Carried, Leg, RelayNode, Reservation
from key_management.relay.origin import RelayedLink, RelayOrigin
from key_management.relay.routes import HopLink
from key_management.relay.tables import migrate_relay
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from problem_details import ProblemError
from timekeeping import FakeClock

FAR = "centre--far"


class NodeAwayError(ProblemError):
    slug = "node-away"
    title = "The node does not answer"


class Place:
    """One node with its stores."""

    def __init__(self, name: str, database_url: str, folder: Path) -> None:
        self.name = name
        self._url, self._folder = database_url, folder
        self.clock = FakeClock()
        self.restart()

    def restart(self) -> None:
        """What a crash leaves: the database and the wrapping keys."""
        self.engine = open_engine(self._url)
        migrate_keys(self.engine)
        migrate_relay(self.engine)
        self.ledger = KeyLedger(self.engine, WrappingKeys(self._folder / "wrapping"), self.clock)
        self.node = RelayNode(self.name, self.ledger, self.engine, self.clock)


class Reached:
    """A node as the origin reaches it. `before` and `after` may raise, by request."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}
        self.messages: list[bytes] = []
        self.alter: Callable[[bytes], bytes] = lambda message: message

    def _at(self, moments: dict[str, Callable[[], None]], request: str) -> None:
        moments.get(request, lambda: None)()

    def reserve(self, leg: Leg) -> Reservation:
        self._at(self.before, "reserve")
        answer = self.place.node.reserve(leg)
        self._at(self.after, "reserve")
        return answer

    def carry(self, route_id: UUID, message: bytes) -> Carried:
        self._at(self.before, "carry")
        self.messages.append(message)
        answer = self.place.node.carry(route_id, self.alter(message))
        self._at(self.after, "carry")
        return answer

    def finish(self, route_id: UUID) -> None:
        self._at(self.before, "finish")
        self.place.node.finish(route_id)

    def withdraw(self, route_id: UUID, reason: str, *, burn: bool) -> None:
        self._at(self.before, "withdraw")
        self.place.node.withdraw(route_id, reason, burn=burn)
        self._at(self.after, "withdraw")


class Chain:
    """centre - one - two - far; each link with `keys` keys at both ends."""

    def __init__(self, folder: Path, *, keys: int = 40, emulated: bool = False) -> None:
        names = ("centre", "one", "two", "far")
        self.places = {
            name: Place(name, f"sqlite:///{folder / name / 'keys.sqlite'}", folder / name)
            for name in names
        }
        self.hops = [HopLink(f"{a}--{b}", a, b) for a, b in itertools.pairwise(names)]
        for hop in self.hops:
            self.produce(hop, keys, emulated=emulated)
        self.reached = {name: Reached(self.places[name]) for name in names[1:]}
        self.open_origin()

    def open_origin(self) -> None:
        centre = self.places["centre"]
        self.origin = RelayOrigin(
            centre.node,
            self.reached,
            self.hops,
            centre.ledger,
            centre.engine,
            centre.clock,
            residual_keys=lambda hop: self.level(hop.from_node, hop.name),
        )
        self.relayed = RelayedLink(FAR, "far", LocalEnd(self.places["far"].ledger))

    def produce(self, hop: HopLink, count: int, *, emulated: bool = False) -> None:
        epoch = uuid4()
        drawn = [(uuid4(), secrets.token_bytes(32)) for _ in range(count)]
        for name in (hop.to_node, hop.from_node):
            ledger = self.places[name].ledger
            keys = [ExtractedKey(key_id, b"12345678", bytearray(key)) for key_id, key in drawn]
            ids = ledger.add_pending(hop.name, epoch, keys, emulated=emulated)
            ledger.confirm(hop.name, epoch, ids)

    def level(self, name: str, link: str) -> int:
        return self.places[name].ledger.counts(link)[KeyState.AVAILABLE]

    def same_keys(self) -> int:
        """How many relayed keys the centre offers; each must be the same at the far end."""
        centre, far = self.places["centre"].ledger, self.places["far"].ledger
        count = 0
        while centre.counts(FAR)[KeyState.AVAILABLE]:
            owner, message = uuid4(), Message(uuid4(), bytes(32), "far")
            key_id = centre.reserve(FAR, owner).key_id
            far.reserve_by_id(FAR, key_id, owner)
            found = set()
            for ledger in (centre, far):
                ledger.arm(FAR, key_id, message)
                found.add(ledger.with_armed_key(FAR, key_id, message, bytes))
            assert len(found) == 1
            count += 1
        return count

    def spent(self) -> dict[str, dict[str, int]]:
        """Of each hop, how many blocks are in which state at its allocating end."""
        return {
            hop.name: {
                state.value: count
                for state, count in self.places[hop.from_node].ledger.counts(hop.name).items()
                if count
            }
            for hop in self.hops
        }

    def assert_both_ends_agree(self) -> None:
        """No block is free at one end of a hop and gone at the other; nothing is left open."""
        for hop in self.hops:
            a, b = (
                self.places[name].ledger.counts(hop.name) for name in (hop.from_node, hop.to_node)
            )
            assert a[KeyState.AVAILABLE] == b[KeyState.AVAILABLE], hop.name
            for counts in (a, b):
                assert counts[KeyState.RESERVED] == counts[KeyState.ARMED] == 0, hop.name
        for place in self.places.values():
            for link in (FAR, *(hop.name for hop in self.hops)):
                assert place.ledger.account(link).missing == 0
                assert place.ledger.counts(link)[KeyState.PENDING] == 0
