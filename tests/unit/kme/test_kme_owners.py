"""A peer chooses the id of a batch; with it, it reaches no key of an operation or a route."""

from __future__ import annotations

import secrets
from uuid import uuid4

from pair_of_ends import End, two_databases

from key_management.kme.directory import KmeLink
from key_management.ledger import ExtractedKey
from key_management.states import KeyState
from timekeeping import FakeClock


def test_a_batch_that_is_called_as_an_operation_withdraws_nothing_of_it() -> None:
    with two_databases() as homes:
        engine, folder = homes[0]
        end = End("alice", engine, folder, FakeClock(), "alice--bob")
        end.start()
        epoch, operation_id = uuid4(), uuid4()
        drawn = [
            ExtractedKey(uuid4(), b"12345678", bytearray(secrets.token_bytes(32))) for _ in range(6)
        ]
        ids = end.ledger.add_pending(end.link, epoch, drawn, emulated=False)
        end.ledger.confirm(end.link, epoch, ids)
        pad = end.ledger.reserve_many(end.link, operation_id, 4)
        link = KmeLink(end.link, "kme-bob", allocates=True)
        blocks = [record.key_id for record in pad]
        assert end.kme.withdraw(link, operation_id, blocks, "a peer says so") == []
        assert end.ledger.counts(end.link)[KeyState.RESERVED] == 4
        assert end.ledger.held_by_all(end.link, operation_id) == pad
