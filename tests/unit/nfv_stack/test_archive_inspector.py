"""Nothing but the catalogue's own form gets past the inspector, however it is cut into chunks."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.errors import ImageRejectedError
from nfv_stack.image_intake.archive_inspector import ArchiveInspector
from nfv_stack.vim.port import ImageSpec

VECTORS = Path(__file__).parents[2] / "vectors" / "normal_archive"
CONFIG = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]}}
LAYERS = [b"first layer" * 100, b"second" * 333, b"first layer" * 100]
IMAGE_ID, ARCHIVE = normal_archive.build(CONFIG, LAYERS)


def inspect(content: bytes, *, image_id: str = IMAGE_ID, size: int | None = None, step=4096):
    spec = ImageSpec(
        bytes(32),
        len(content) if size is None else size,
        ImageFormat.DOCKER_ARCHIVE,
        image_id,
    )
    inspector = ArchiveInspector(spec)
    for start in range(0, len(content), step):
        inspector.feed(memoryview(content)[start : start + step])
    inspector.finish()


def entries() -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE)) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]


def archive(parts: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as written:
        for info, data in parts:
            written.addfile(info, io.BytesIO(data))
    return target.getvalue()


def test_the_vector() -> None:
    """The same file that the catalogue's tests read."""
    expected = json.loads((VECTORS / "two_layers.json").read_text())
    content = (VECTORS / "two_layers.tar").read_bytes()
    assert blake3(content).hexdigest() == expected["blake3"]
    inspect(content, image_id=expected["image_id"])


@pytest.mark.parametrize("step", [1, 7, 511, 512, 513, 10240, 10**6])
def test_the_form_passes_in_any_pieces(step: int) -> None:
    inspect(ARCHIVE, step=step)


def test_an_image_without_layers_passes() -> None:
    image_id, content = normal_archive.build(CONFIG, [])
    inspect(content, image_id=image_id)


def test_it_is_constant_in_memory() -> None:
    image_id, content = normal_archive.build(CONFIG, [bytes(3_000_000)])
    spec = ImageSpec(bytes(32), len(content), ImageFormat.DOCKER_ARCHIVE, image_id)
    inspector = ArchiveInspector(spec)
    for start in range(0, len(content), 65536):
        inspector.feed(memoryview(content)[start : start + 65536])
        assert len(inspector._kept) <= 20480
    inspector.finish()


@pytest.mark.parametrize("end", [0, 1, 511, 512, 600, 1024, 2000, 3584, -10240, -1024, -1])
def test_an_early_end(end: int) -> None:
    with pytest.raises(ImageRejectedError):
        inspect(ARCHIVE[:end], size=len(ARCHIVE))
    with pytest.raises(ImageRejectedError):
        inspect(ARCHIVE[:end])


@pytest.mark.parametrize("more", [b"\0", bytes(512), bytes(10240), ARCHIVE])
def test_bytes_after_the_end(more: bytes) -> None:
    with pytest.raises(ImageRejectedError, match="follow"):
        inspect(ARCHIVE + more, size=len(ARCHIVE))
    with pytest.raises(ImageRejectedError, match="it ends"):
        inspect(ARCHIVE + more)


def changed_entry(**changes: object) -> bytes:
    parts = entries()
    (entry,) = json.loads(parts[0][1])
    data = json.dumps([{**entry, **changes}], separators=(",", ":")).encode()
    return archive([(normal_archive.member("manifest.json", len(data)), data), *parts[1:]])


@pytest.mark.parametrize(
    "changes",
    [
        {"RepoTags": ["debian:latest"]},
        {"RepoTags": []},
        {"Config": "../config.json"},
        {"Layers": ["../../layer.tar"] * 3},
        {"Layers": "layer.tar"},
        {"Layers": [7]},
        {"Layers": None},
        {"LayerSources": {}},
    ],
)
def test_another_manifest(changes: dict[str, object]) -> None:
    with pytest.raises(ImageRejectedError, match=r"manifest\.json"):
        inspect(changed_entry(**changes))


@pytest.mark.parametrize("manifest", [b"", b"[]", b"[{},{}]", b"{", b"null", b"[" * 5000])
def test_a_manifest_that_is_none(manifest: bytes) -> None:
    info = normal_archive.member("manifest.json", len(manifest))
    with pytest.raises(ImageRejectedError):
        inspect(archive([(info, manifest), *entries()[1:]]))


def test_two_images() -> None:
    parts = entries()
    entry = json.loads(parts[0][1])
    data = json.dumps(entry * 2, separators=(",", ":")).encode()
    with pytest.raises(ImageRejectedError, match="one image"):
        inspect(archive([(normal_archive.member("manifest.json", len(data)), data), *parts[1:]]))


def test_another_image_than_announced() -> None:
    other, _ = normal_archive.build({**CONFIG, "os": "plan9"}, LAYERS)
    with pytest.raises(ImageRejectedError, match="announced"):
        inspect(ARCHIVE, image_id=other)


def test_an_altered_config() -> None:
    at = ARCHIVE.index(b'"/x"') + 1
    with pytest.raises(ImageRejectedError, match="config"):
        inspect(ARCHIVE[:at] + b"!" + ARCHIVE[at + 1 :])


def link(kind: bytes, name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o644
    return info, b""


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, b"3", b"6"])
@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_links_folders_and_devices_anywhere(kind: bytes, place: int) -> None:
    parts = entries()
    name = parts[place][0].name if place < len(parts) else "more"
    with pytest.raises(ImageRejectedError):
        inspect(archive([*parts[:place], link(kind, name, "/etc/passwd"), *parts[place:]]))
    with pytest.raises(ImageRejectedError):
        inspect(archive([*parts[:place], link(kind, name, "/etc/passwd"), *parts[place + 1 :]]))


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "x" * 300])
def test_other_members(name: str) -> None:
    parts = entries()
    evil = (normal_archive.member(name, 4), b"evil")
    for place in range(len(parts) + 1):
        with pytest.raises(ImageRejectedError):
            inspect(archive([*parts[:place], evil, *parts[place:]]))


@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2), (0, 1, 2), (0, 1, 2, 2, 3)]
)
def test_another_order_or_number(order: tuple[int, ...]) -> None:
    parts = entries()
    with pytest.raises(ImageRejectedError):
        inspect(archive([parts[index] for index in order]))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_another_dialect_of_tar(form: int) -> None:
    with pytest.raises(ImageRejectedError):
        inspect(archive(entries(), form))


@pytest.mark.parametrize("field", ["uid", "gid", "mtime", "mode", "uname", "gname"])
def test_other_owners_times_and_modes(field: str) -> None:
    parts = entries()
    for info, _ in parts:
        setattr(info, field, "root" if field.endswith("name") else 1)
    with pytest.raises(ImageRejectedError):
        inspect(archive(parts))


def test_a_size_beyond_the_image_is_refused_at_once() -> None:
    huge = normal_archive.header("manifest.json", 2**40)
    inspector = ArchiveInspector(
        ImageSpec(bytes(32), len(ARCHIVE), ImageFormat.DOCKER_ARCHIVE, IMAGE_ID)
    )
    with pytest.raises(ImageRejectedError):
        inspector.feed(memoryview(huge))
    with pytest.raises(ImageRejectedError):  # and it stays refused
        inspector.feed(memoryview(ARCHIVE))
    with pytest.raises(ImageRejectedError):
        inspector.finish()


def test_a_zero_bomb() -> None:
    with pytest.raises(ImageRejectedError):
        inspect(bytes(1_000_000))


@given(at=st.integers(0, len(ARCHIVE) - 1), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_outside_the_layers(at: int, bit: int) -> None:
    """Within the layers it is the engine, the seal and the digest that notice."""
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE)) as tar:
        contents = [
            range(info.offset_data, info.offset_data + info.size)
            for info in tar
            if info.name.endswith("/layer.tar")
        ]
    damaged = bytearray(ARCHIVE)
    damaged[at] ^= 1 << bit
    if any(at in content for content in contents):
        inspect(bytes(damaged))
    else:
        with pytest.raises(ImageRejectedError):
            inspect(bytes(damaged))


@given(st.binary(max_size=3000), st.integers(1, 700))
@settings(max_examples=100, deadline=None)
def test_any_bytes(content: bytes, step: int) -> None:
    with pytest.raises(ImageRejectedError):
        inspect(content, step=step)


@given(st.lists(st.binary(max_size=2000), max_size=5), st.integers(1, 5000))
@settings(max_examples=50, deadline=None)
def test_whatever_is_built_passes(layers: list[bytes], step: int) -> None:
    image_id, content = normal_archive.build(CONFIG, layers)
    inspect(content, image_id=image_id, step=step)
