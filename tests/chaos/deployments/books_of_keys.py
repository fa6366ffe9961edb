"""The key stores of both ends, held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from database import reading
from key_management.states import KeyState
from key_management.tables import KeyAccountRow, KeyRow, KeyUseRow

_PROMISED = (KeyState.RESERVED, KeyState.ARMED)
_ERASED = (KeyState.CONSUMED, KeyState.BURNED, KeyState.EXPIRED)


@dataclass(frozen=True)
class _Key:
    state: str
    owner: UUID | None
    is_erased: bool
    reason: str | None

    def __str__(self) -> str:
        return f"{self.state} of {self.owner} ({self.reason})"


class KeyBooks:
    """One link at rest: everything that the stores of its two ends disagree about."""

    def __init__(self, link: str, alice: Engine, bob: Engine) -> None:
        self._link = link
        self._keys: dict[str, dict[UUID, _Key]] = {}
        self._uses: dict[str, dict[UUID, tuple[UUID, str]]] = {}
        self._made: dict[str, int] = {}
        for end, engine in (("alice", alice), ("bob", bob)):
            with reading(engine) as session:
                self._keys[end] = _keys(link, session)
                self._uses[end] = _uses(link, session)
                self._made[end] = _made(link, session)

    def differences(self, ended: Mapping[UUID, str]) -> Iterator[str]:
        """`ended` tells for each transfer the state in which its operation ended.

        A pad has hundreds of keys: what is said of many in the same words is said once.
        """
        found: dict[str, list[UUID]] = {}
        for about in (
            *map(self._of_one_end, self._keys),
            self._between(),
            self._of_transfers(ended),
        ):
            for key_id, what in about:
                found.setdefault(what, []).append(key_id)
        for what, key_ids in found.items():
            yield f"{self._link}: {len(key_ids)} keys, one of them {key_ids[0]}: {what}"
        for end, keys in self._keys.items():
            if self._made[end] != len(keys):
                made = self._made[end]
                yield f"{self._link}: {made} keys came in at {end}, {len(keys)} are there"

    def _of_one_end(self, end: str) -> Iterator[tuple[UUID, str]]:
        for key_id, key in self._keys[end].items():
            if key.state in _PROMISED:
                yield key_id, f"still promised at {end}, {key}"
            if key.is_erased != (key.state in _ERASED):
                yield key_id, f"over and not erased at {end}, or the other way round, {key}"
        for key_id in self._uses[end]:
            key_there = self._keys[end].get(key_id)
            if key_there is None or key_there.state not in (KeyState.CONSUMED, KeyState.BURNED):
                yield key_id, f"protected a message at {end}, and is {key_there}"

    def _between(self) -> Iterator[tuple[UUID, str]]:
        """Keys that a killed turn left PENDING at Alice go with the link's next turn."""
        alice, bob = self._keys["alice"], self._keys["bob"]
        for key_id in alice.keys() | bob.keys():
            here, there = alice.get(key_id), bob.get(key_id)
            living = [key.state for key in (here, there) if key and key.state not in _ERASED]
            if here is not None and here.state == KeyState.PENDING:
                continue
            if living and (here is None or there is None or here.state != there.state):
                yield key_id, f"at Alice {here}, at Bob {there}"
        for key_id in self._uses["alice"].keys() & self._uses["bob"].keys():
            if self._uses["alice"][key_id] != self._uses["bob"][key_id]:
                yield key_id, "protects two messages"

    def _of_transfers(self, ended: Mapping[UUID, str]) -> Iterator[tuple[UUID, str]]:
        """What a transfer used is CONSUMED at both ends, or it was given up and is over at both.

        Then it is BURNED, or CONSUMED at the end that was done with it already: at Alice's the
        blocks of a pad under which the image was sealed; at Bob's the key of a transfer whose
        acknowledgement he had, and could not answer before the operation was undone.
        """
        for key_id, key in self._keys["alice"].items():
            if key.owner is None or key.state not in _ERASED:
                continue
            there = self._keys["bob"].get(key_id)
            over = ended.get(key.owner)
            if over is None:
                yield key_id, f"belongs to no transfer at Alice, {key}"
            elif over == "COMPLETED":
                if not (key.state == KeyState.CONSUMED and there and there.state == key.state):
                    yield key_id, f"its message arrived, at Alice {key}, at Bob {there}"
            elif there is None or there.state not in (KeyState.BURNED, KeyState.CONSUMED):
                yield key_id, f"its transfer was given up, at Alice {key}, at Bob {there}"
            elif there.owner not in (None, key.owner):
                yield key_id, f"promised to two, at Alice {key}, at Bob {there}"
        for key_id, key in self._keys["bob"].items():
            if key.owner is not None and key.owner not in ended:
                yield key_id, f"belongs to no transfer at Bob, {key}"


def _keys(link: str, session: Session) -> dict[UUID, _Key]:
    rows = session.execute(
        select(KeyRow.key_id, KeyRow.state, KeyRow.owner, KeyRow.wrapped, KeyRow.reason).where(
            KeyRow.link == link
        )
    ).all()
    return {row.key_id: _Key(row.state, row.owner, row.wrapped is None, row.reason) for row in rows}


def _uses(link: str, session: Session) -> dict[UUID, tuple[UUID, str]]:
    rows = session.execute(
        select(KeyUseRow.key_id, KeyUseRow.transfer_id, KeyUseRow.destination).where(
            KeyUseRow.link == link
        )
    ).all()
    return {row.key_id: (row.transfer_id, row.destination) for row in rows}


def _made(link: str, session: Session) -> int:
    """How many keys ever came in."""
    made = select(KeyAccountRow.made).where(KeyAccountRow.link == link)
    return session.scalars(made).one_or_none() or 0
