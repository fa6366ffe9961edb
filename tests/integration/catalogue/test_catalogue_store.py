"""The catalogue on SQLite and MariaDB: only whole, checked images appear in it."""

from __future__ import annotations

import contextlib
import gzip
import io
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3
from sqlalchemy import Engine

from database import open_engine
from image_transfer import Announcement, Attempt, KeySource, derive_attempt_keys, send_image
from image_transfer.errors import SourceChanged
from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.errors import ImageInUseError, ImageRefusedError, UnknownImageError
from orchestrator.store.tables import migrate_orchestrator
from timekeeping import FakeClock

MAX_BYTES = 5_000_000


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    migrate_orchestrator(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def local_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'local.sqlite'}")
    migrate_orchestrator(engine)
    yield engine
    engine.dispose()


def catalogue_on(engine: Engine, folder: Path, clock: FakeClock | None = None) -> Catalogue:
    return Catalogue(engine, folder / "catalogue", clock or FakeClock(), max_image_bytes=MAX_BYTES)


@pytest.fixture
def catalogue(local_engine: Engine, tmp_path: Path) -> Catalogue:
    return catalogue_on(local_engine, tmp_path)


def image(mark: bytes = b"x") -> tuple[str, bytes]:
    return normal_archive.build({"architecture": "amd64", "os": "linux"}, [mark * 5000])


def pieces(content: bytes, size: int = 4096) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def nobody(_: bytes) -> int:
    return 0


def files(tmp_path: Path) -> list[str]:
    return sorted(
        str(path.relative_to(tmp_path / "catalogue"))
        for path in (tmp_path / "catalogue").rglob("*")
        if path.is_file()
    )


def test_an_image_comes_is_found_and_goes(engine: Engine, tmp_path: Path) -> None:
    """On SQLite and MariaDB."""
    clock = FakeClock()
    catalogue = catalogue_on(engine, tmp_path, clock)
    image_id, content = image()
    row = catalogue.add(pieces(gzip.compress(content)), "web")
    assert row.digest == blake3(content).digest()
    assert (row.vim_image_id, row.size, row.format) == (image_id, len(content), "docker-archive")
    assert catalogue.file(row.digest).read_bytes() == content
    for reference in ("web", row.digest.hex(), row.digest.hex()[:12]):
        assert catalogue.get(reference).digest == row.digest

    clock.advance(1)
    newer = catalogue.add(pieces(image(b"y")[1]), "web")
    assert catalogue.get("web").digest == newer.digest, "a name means its newest image"
    assert [each.digest for each in catalogue.all()] == [newer.digest, row.digest]

    catalogue.remove(row.digest.hex(), users=nobody)
    with pytest.raises(UnknownImageError):
        catalogue.get(row.digest.hex())
    assert files(tmp_path) == [f"images/{newer.digest.hex()}"]


def test_the_same_content_is_one_image(engine: Engine, tmp_path: Path) -> None:
    catalogue = catalogue_on(engine, tmp_path)
    first = catalogue.add(pieces(image()[1]), "web")
    again = catalogue.add(pieces(gzip.compress(image()[1])), "other")
    assert again.digest == first.digest
    assert len(catalogue.all()) == 1


def test_many_at_once_are_one_image(catalogue: Catalogue) -> None:
    content = image()[1]
    threads = [
        threading.Thread(target=catalogue.add, args=(pieces(content), "web")) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (row,) = catalogue.all()
    assert catalogue.file(row.digest).read_bytes() == content


def test_of_adding_and_removing_at_once_nothing_half_is_left(
    engine: Engine, tmp_path: Path
) -> None:
    catalogue = catalogue_on(engine, tmp_path)
    content = image()[1]
    start = threading.Barrier(3)

    def add() -> None:
        start.wait(30)
        catalogue.add(pieces(content, len(content)), "web")

    def remove() -> None:
        start.wait(30)
        with contextlib.suppress(UnknownImageError):
            catalogue.remove("web", users=nobody)

    with ThreadPoolExecutor(3) as pool:
        for _ in range(30):
            for done in [pool.submit(work) for work in (add, remove, add)]:
                done.result(30)
            left = [f"images/{row.digest.hex()}" for row in catalogue.all()]
            assert files(tmp_path) == left


def test_an_image_in_use_stays(catalogue: Catalogue) -> None:
    row = catalogue.add(pieces(image()[1]), "web")
    with pytest.raises(ImageInUseError, match="2 deployment"):
        catalogue.remove("web", users=lambda digest: 2 if digest == row.digest else 0)
    assert catalogue.file(row.digest).exists()


def test_an_unknown_image(catalogue: Catalogue) -> None:
    catalogue.add(pieces(image()[1]), "web")
    for reference in ("other", "abc", "0" * 64, "../web", ""):
        with pytest.raises(UnknownImageError):
            catalogue.get(reference)


def foreign_tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        info = tarfile.TarInfo("notes.txt")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"hi"))
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"hello" * 1000, "neither"),
        (bytes(9000), "neither"),
        (image()[1][:3000], "truncated"),
        (image()[1].replace(b"xxxx", b"xxyx", 1), "altered or damaged"),
        (foreign_tar(), "no manifest.json"),
        (b"QFI\xfb" + bytes(3000), "version"),
        (gzip.compress(image()[1])[:200], "damaged or truncated"),
        (bytes(MAX_BYTES + 1), "larger than"),
    ],
)
def test_what_is_refused_leaves_nothing(catalogue, tmp_path: Path, content: bytes, why) -> None:
    with pytest.raises(ImageRefusedError, match=why):
        catalogue.add(pieces(content, 65536), "web")
    assert files(tmp_path) == []
    assert catalogue.all() == []


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 65, "a/b", "a\n", "ü"])
def test_names_that_are_none(catalogue: Catalogue, tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageRefusedError, match="no name"):
        catalogue.add(pieces(image()[1]), name)
    assert files(tmp_path) == []


def test_a_disk_is_catalogued_as_what_it_is(catalogue: Catalogue) -> None:
    disk = bytes(510) + b"\x55\xaa" + b"data" * 1000
    row = catalogue.add(pieces(disk), "vm")
    assert row.format == ImageFormat.RAW
    assert row.vim_image_id == f"blake3:{blake3(disk).hexdigest()}"


def test_an_upload_that_breaks_off_leaves_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    class UploadBrokeError(Exception):
        pass

    def broken() -> Iterator[bytes]:
        yield image()[1][:2000]
        raise UploadBrokeError

    with pytest.raises(UploadBrokeError):
        catalogue.add(broken(), "web")
    assert files(tmp_path) == []


def test_a_full_disk_is_said_so(catalogue: Catalogue, tmp_path: Path, monkeypatch) -> None:
    """Writing to /dev/full fails as on a disk without space, from the kernel itself."""
    monkeypatch.setattr("orchestrator.catalogue.incoming.secrets.token_hex", lambda _: "full")
    (tmp_path / "catalogue" / "incoming" / "full.raw").symlink_to("/dev/full")
    with pytest.raises(ImageRefusedError, match="No space left") as error:
        catalogue.add(pieces(image()[1]), "web")
    assert "Free space" in error.value.next_step
    assert files(tmp_path) == []


def test_what_a_crash_cut_off_is_cleared_at_the_next_start(local_engine, tmp_path: Path) -> None:
    catalogue_on(local_engine, tmp_path)
    (tmp_path / "catalogue" / "incoming" / "1.raw").write_bytes(b"half")
    catalogue_on(local_engine, tmp_path)
    assert files(tmp_path) == []


def test_what_another_orchestrator_takes_in_is_left_to_it(engine: Engine, tmp_path: Path) -> None:
    one = catalogue_on(engine, tmp_path)
    content = image()[1]

    def while_another_starts() -> Iterator[bytes]:
        yield content[:100]
        catalogue_on(engine, tmp_path).settle()
        yield content[100:]

    row = one.add(while_another_starts(), "web")
    assert files(tmp_path) == [f"images/{row.digest.hex()}"]


KILLED = """
import sys, os, signal
from pathlib import Path
from database import open_engine
from orchestrator.catalogue import catalogue as room
from timekeeping import FakeClock

url, folder, moment = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
catalogue = room.Catalogue(open_engine(url), folder, FakeClock(), max_image_bytes=5_000_000)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "between its file and its row":
    room.writing = die
    catalogue.add([Path(sys.argv[4]).read_bytes()], "web")
else:
    catalogue.file = die
    catalogue.remove("web", users=lambda _: 0)
"""


@pytest.mark.parametrize(
    "moment", ["between its file and its row", "between its row and its file", "beside others"]
)
def test_a_kill_while_an_image_comes_or_goes_leaves_no_file(
    moment: str, local_engine: Engine, tmp_path: Path
) -> None:
    catalogue = catalogue_on(local_engine, tmp_path)
    kept = catalogue.add(pieces(image(b"k")[1]), "kept")
    unknown = tmp_path / "catalogue" / "images" / ("0" * 64)
    unknown.write_bytes(b"of a database that is not here")
    if moment == "between its row and its file":
        catalogue.add(pieces(image()[1]), "web")
    (tmp_path / "image.tar").write_bytes(image()[1])
    if moment != "beside others":
        command = [sys.executable, "-c", KILLED, str(local_engine.url)]
        command += [str(tmp_path / "catalogue"), moment, str(tmp_path / "image.tar")]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(list((tmp_path / "catalogue" / "images").iterdir())) == 3
        assert [row.name for row in catalogue.all()] == ["kept"]
    catalogue_on(local_engine, tmp_path).settle()
    assert files(tmp_path) == [f"images/{'0' * 64}", f"images/{kept.digest.hex()}"]


def test_adding_a_rotten_image_again_mends_it(catalogue: Catalogue) -> None:
    row = catalogue.add(pieces(image()[1]), "web")
    stored = catalogue.file(row.digest)
    stored.write_bytes(stored.read_bytes()[:-1])
    catalogue.add(pieces(image()[1]), "web")
    assert stored.read_bytes() == image()[1]


def test_a_stored_image_that_lost_bytes_is_noticed_before_it_leaves(catalogue: Catalogue) -> None:
    """Bits that flip without a change of size are noticed at the other end, by the digest:
    tests/integration/nfv_stack/test_image_intake_transfers.py."""
    row = catalogue.add(pieces(image()[1]), "web")
    stored = catalogue.file(row.digest)
    stored.write_bytes(stored.read_bytes()[:-100])
    announced = Announcement(
        uuid4(), row.digest, row.size, uuid4(), KeySource.EMULATED, "central", "dc-1"
    )
    near, far = socket.socketpair()
    with near, far, pytest.raises(SourceChanged, match="were announced") as error:
        send_image(
            near,
            stored,
            announced,
            Attempt(1, 0, bytes(32)),
            lambda header: derive_attempt_keys(bytes(32), header),
        )
    assert "catalogue" in error.value.next_step
