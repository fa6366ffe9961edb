"""Uploads that break off, go on, come twice, come wrong, and are left alone."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select, text

from database import migrate, open_engine, reading, writing
from orchestrator.accounts.tables import UserRow, migrate_accounts
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.errors import ImageRefusedError
from orchestrator.settings import UploadsTable
from orchestrator.store.tables import migrate_orchestrator
from orchestrator.uploads.errors import (
    UnknownUploadError,
    UploadDamagedError,
    UploadLimitError,
    UploadOffsetError,
    UploadTooLargeError,
)
from orchestrator.uploads.service import Announced, Uploads
from orchestrator.uploads.tables import MIGRATIONS, UploadRow, migrate_uploads
from timekeeping import FakeClock

DISK = bytes(510) + b"\x55\xaa" + secrets.token_bytes(40_000)
"""A raw disk: no two pieces of it are alike."""
LIMITS = UploadsTable(keep_s=100, most_per_person=2, most_bytes_per_person=100_000)


class Room:
    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.clock = FakeClock()
        self.start()

    def start(self) -> None:
        """As after a crash: nothing is left but the files and the tables."""
        self.catalogue = Catalogue(self.engine, self.folder, self.clock, max_image_bytes=1_000_000)
        self.uploads = Uploads(
            self.engine,
            self.folder / "uploads",
            self.clock,
            self.catalogue,
            LIMITS,
            max_image_bytes=1_000_000,
        )
        self.uploads.settle()

    def begin(self, content: bytes = DISK, owner: str = "ann", **digests: bytes) -> UploadRow:
        return self.uploads.begin(owner, Announced("disk", len(content), **digests))

    def send(self, row: UploadRow, offset: int, piece: bytes) -> UploadRow:
        receiver = self.uploads.receive(row, offset)
        try:
            receiver.write(piece)
        finally:
            receiver.close()
        return self.uploads.finish(row)

    def files(self) -> list[str]:
        return [file.name for file in (self.folder / "uploads").iterdir()]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    yield from room_on(f"sqlite:///{tmp_path / 'o.sqlite'}", tmp_path)


@pytest.fixture
def room_of_each_kind(database_url: str, tmp_path: Path) -> Iterator[Room]:
    yield from room_on(database_url, tmp_path)


def room_on(database_url: str, folder: Path) -> Iterator[Room]:
    engine = open_engine(database_url)
    migrate_orchestrator(engine)
    for _ in range(2):
        migrate_uploads(engine)
    yield Room(engine, folder / "catalogue")
    engine.dispose()


@pytest.fixture
def new_room(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Room]:
    """Rooms with one database: making its tables takes longer than a test."""

    def make() -> Room:
        with room.engine.begin() as connection:
            for table in ("upload", "image"):
                connection.execute(text(f"DELETE FROM {table}"))
        return Room(room.engine, tmp_path_factory.mktemp("room"))

    return make


def test_an_upload_in_two_pieces_with_a_crash_between_is_the_same_image(
    room_of_each_kind: Room,
) -> None:
    room = room_of_each_kind
    row = room.begin(sha256=hashlib.sha256(DISK).digest(), blake3=blake3(DISK).digest())
    assert room.send(row, 0, DISK[:30_000]).image_digest is None
    room.start()
    (there,) = room.uploads.all("ann")
    assert (there.upload_id, room.uploads.offset(there)) == (row.upload_id, 30_000)
    done = room.send(there, 30_000, DISK[30_000:])
    assert done.image_digest is not None
    image = room.catalogue.get(done.image_digest.hex())
    assert room.catalogue.file(image.digest).read_bytes() == DISK
    assert room.files() == []
    assert room.uploads.all("ann") == []
    # Whoever did not hear the answer asks again.
    assert room.uploads.offset(done) == len(DISK)
    assert room.send(done, len(DISK), b"").image_digest == done.image_digest
    assert room.files() == []


def test_a_crash_before_the_catalogue_has_it_costs_one_more_question(room: Room) -> None:
    row = room.begin()
    receiver = room.uploads.receive(row, 0)
    receiver.write(DISK)
    receiver.close()
    room.start()
    assert room.uploads.offset(row) == len(DISK)
    assert room.send(row, len(DISK), b"").image_digest is not None


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 45_000), st.sampled_from(["lost", "twice", "crash", ""]))
    )
)
def test_whatever_happens_on_the_way_the_image_is_what_was_sent(
    new_room: Callable[[], Room], cuts: list[tuple[int, str]]
) -> None:
    room = new_room()
    row = room.begin()
    for length, fate in cuts:
        at = room.uploads.offset(row)
        piece = DISK[at : at + length]
        if len(piece) == len(DISK) - at:
            break
        room.send(row, at, piece)
        if fate == "twice" and piece:
            with pytest.raises(UploadOffsetError):
                room.send(row, at, piece)
        elif fate == "lost":
            with pytest.raises(UploadOffsetError) as refused:
                room.send(row, at + length + 1, piece)
            assert refused.value.extensions["offset"] == room.uploads.offset(row)
        elif fate == "crash":
            room.start()
    at = room.uploads.offset(row)
    done = room.send(row, at, DISK[at:])
    assert done.image_digest is not None
    assert room.catalogue.file(done.image_digest).read_bytes() == DISK


def test_the_newest_connection_takes_over_from_one_that_hangs(room: Room) -> None:
    row = room.begin()
    hanging = room.uploads.receive(row, 0)
    hanging.write(DISK[:1000])
    newest = room.uploads.receive(row, 1000)
    with pytest.raises(UploadOffsetError):
        hanging.write(DISK[1000:2000])
    hanging.close()
    newest.write(DISK[1000:])
    newest.close()
    done = room.uploads.finish(row)
    assert done.image_digest is not None
    assert room.catalogue.file(done.image_digest).read_bytes() == DISK


def test_two_who_finish_at_once_add_one_image(room: Room) -> None:
    row = room.begin()
    receiver = room.uploads.receive(row, 0)
    receiver.write(DISK)
    receiver.close()
    found: list[bytes | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(room.uploads.finish(row).image_digest))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(room.catalogue.all()) == 1


@pytest.mark.parametrize("kind", ["sha256", "blake3"])
def test_another_digest_than_announced_is_refused_and_nothing_kept(room: Room, kind: str) -> None:
    row = room.begin(**{kind: bytes(32)})
    with pytest.raises(UploadDamagedError, match="announced was 0000"):
        room.send(row, 0, DISK)
    _is_gone(room, row)


def test_what_is_no_image_is_refused_and_nothing_kept(room: Room) -> None:
    row = room.begin(b"no image")
    with pytest.raises(ImageRefusedError, match="neither"):
        room.send(row, 0, b"no image")
    _is_gone(room, row)


def _is_gone(room: Room, row: UploadRow) -> None:
    with pytest.raises(UnknownUploadError):
        room.uploads.get(row.upload_id, "ann")
    assert room.files() == []
    assert room.catalogue.all() == []


def test_more_than_announced_is_refused(room: Room) -> None:
    row = room.begin()
    with pytest.raises(UploadTooLargeError):
        room.send(row, 0, DISK + b"x")
    with pytest.raises(UploadTooLargeError):
        room.begin(bytes(1_000_001))
    assert room.uploads.offset(row) == 0


def test_somebody_elses_upload_is_none_of_mine(room: Room) -> None:
    row = room.begin()
    with pytest.raises(UnknownUploadError):
        room.uploads.get(row.upload_id, "ben")
    assert room.uploads.get(row.upload_id, None).owner == "ann"
    assert room.uploads.all("ben") == []
    with pytest.raises(UnknownUploadError):
        room.uploads.get(uuid4(), None)


def test_a_person_has_so_many_uploads_and_bytes_open_and_no_more(room: Room) -> None:
    first = room.begin()
    with pytest.raises(UploadLimitError, match="bytes"):
        room.begin(bytes(70_000))
    room.begin()
    with pytest.raises(UploadLimitError, match="2 uploads"):
        room.begin()
    room.begin(owner="ben")
    room.send(first, 0, DISK)  # what is whole does not count
    room.begin()


def test_what_is_left_alone_goes_and_what_is_worked_on_stays(room: Room) -> None:
    abandoned, alive = room.begin(), room.begin()
    room.send(abandoned, 0, DISK[:100])
    room.clock.advance(60)
    room.send(alive, 0, DISK[:100])
    room.clock.advance(40)
    assert room.uploads.expire() == 1
    assert room.files() == [str(alive.upload_id)]
    receiver = room.uploads.receive(alive, 100)
    room.clock.advance(1000)
    assert room.uploads.expire() == 0
    receiver.write(DISK[100:])
    receiver.close()
    assert room.uploads.finish(alive).image_digest is not None


def test_what_came_over_a_long_connection_is_kept_its_full_time(room: Room) -> None:
    row = room.begin()
    receiver = room.uploads.receive(row, 0)
    receiver.write(DISK[:100])
    room.clock.advance(1000)
    receiver.close()  # the connection broke
    room.clock.advance(99)
    assert room.uploads.expire() == 0
    assert room.send(row, 100, DISK[100:]).image_digest is not None


def test_given_up_while_bytes_come(room: Room) -> None:
    row = room.begin()
    receiver = room.uploads.receive(row, 0)
    receiver.write(DISK[:100])
    room.uploads.give_up(row)
    with pytest.raises(UploadOffsetError):
        receiver.write(DISK[100:])
    receiver.close()
    _is_gone(room, row)


def test_a_file_that_nobody_knows_goes_at_start(room: Room) -> None:
    (room.folder / "uploads" / str(uuid4())).write_bytes(b"left")
    room.start()
    assert room.files() == []


def test_uploads_of_a_name_become_those_of_its_account(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate_accounts(engine)
    migrate(engine, MIGRATIONS, room="uploads", revision="0002")
    user_id, now = uuid4(), FakeClock().now()
    with writing(engine) as session:
        session.add(
            UserRow(
                user_id=user_id, name="ann", role="operator", password_hash="x",
                must_change_password=False, created_at=now, password_at=now,
            )
        )  # fmt: skip
        # Of the columns of then alone.
        session.execute(
            insert(UploadRow.__table__),
            [
                {"upload_id": uuid4(), "owner": owner, "name": "u", "size": 1, "created_at": now,
                 "touched_at": now, "image_digest": digest}
                for owner, digest in (("ann", None), ("local", bytes(32)), ("deleted", None))
            ],
        )  # fmt: skip
    migrate_uploads(engine)
    with reading(engine) as session:
        rows = {row.owner: row for row in session.scalars(select(UploadRow))}
    assert set(rows) == {str(user_id), "local", "deleted"}
    finished = [owner for owner, row in rows.items() if row.finished_at is not None]
    assert finished == ["local"], "what became an image"
    engine.dispose()
