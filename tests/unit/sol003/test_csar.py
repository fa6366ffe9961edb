"""VNF packages as archives: what is read of a good one, and why each bad one is refused."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from csar_builder import ENTRY, IMAGE, MANIFEST, META, README, TYPES, Csar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.sol003.errors import PackageRefusedError
from orchestrator.sol003.onboarding import archive as archives
from orchestrator.sol003.onboarding import csar as csars

LIMIT = 10_000_000


def read(tmp_path: Path, content: bytes, limit: int = LIMIT) -> csars.Csar:
    file = tmp_path / "package"
    file.write_bytes(content)
    with archives.open_archive(file, max_bytes=limit) as archive:
        return csars.read_csar(archive)


def why(tmp_path: Path, content: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(PackageRefusedError) as refused:
        read(tmp_path, content, limit)
    assert refused.value.next_step
    return refused.value.detail


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512"])
def test_what_is_read_of_a_package(tmp_path: Path, algorithm: str) -> None:
    made = Csar().with_manifest(algorithm)
    found = read(tmp_path, made.packed())
    vnfd = found.vnfd
    (vdu,) = vnfd.vdus
    assert str(vnfd.descriptor_id) == made.vnfd_id
    assert (vnfd.provider, vnfd.product_name, vnfd.software_version) == ("Acme", "Router", "2.1")
    assert (vnfd.descriptor_version, vnfd.flavour_id, vdu.vdu_id) == ("1.0", "simple", "VDU1")
    assert (vdu.image_file, vdu.image_name) == (IMAGE, "router-disk")
    assert (vdu.memory_mib, vdu.cpus) == (512, 2.0)
    assert found.vnfd_files == [ENTRY, TYPES]
    assert [file.source for file in found.artifacts] == [README]
    assert type(vnfd).from_stored(vnfd.stored()) == vnfd


def changed(name: str, old: str, new: str) -> Callable[[Csar], None]:
    def change(made: Csar) -> None:
        text = made.files[name].decode()
        assert old in text
        made.files[name] = text.replace(old, new).encode()

    return change


def without(name: str) -> Callable[[Csar], None]:
    return lambda made: made.files.pop(name) and None


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (without(META), f"no file {META}"),
        (without(ENTRY), f"no file {ENTRY}"),
        (without(TYPES), "types.yaml"),
        (without(IMAGE), "router.img"),
        (changed(META, "Entry-Definitions", "Entry"), "Entry-Definitions"),
        (changed(META, MANIFEST, "other.mf"), "no manifest other.mf"),
        (changed(ENTRY, "    router:", "    router: ["), f"{ENTRY}, line "),
        (changed(ENTRY, "tosca_simple_yaml_1_2", "mine"), "tosca_definitions_version"),
        (changed(ENTRY, "types.yaml\ntopo", "http://elsewhere/t.yaml\ntopo"), "nothing is fetched"),
        (changed(ENTRY, "acme.VNF.Router", "acme.Other"), "tosca.nodes.nfv.VNF"),
        (changed(ENTRY, "flavour_id: simple", ""), "flavour_id"),
        (changed(ENTRY, "descriptor_id: ", "descriptor_id: x"), "no UUID"),
        (changed(ENTRY, "tosca.nodes.nfv.Vdu.Compute", "tosca.nodes.nfv.Vdu.Disk"), "0 VDUs"),
        (changed(ENTRY, "tosca.artifacts.nfv.SwImage", "tosca.artifacts.File"), "0 artifacts"),
        (changed(ENTRY, "512 MiB", "much"), "virtual_mem_size"),
        (changed(ENTRY, "num_virtual_cpu: 2", "num_virtual_cpu: two"), "num_virtual_cpu"),
        (changed(ENTRY, "num_virtual_cpu: 2", "num_virtual_cpu: .nan"), "num_virtual_cpu"),
        (changed(ENTRY, "512 MiB", "512 TiB"), "virtual_mem_size"),
        (changed(ENTRY, "vnfm_info: [qnfv]", 'vnfm_info: ["\\uD800"]'), "half a character"),
        (changed(ENTRY, "vnfm_info: [qnfv]", "vnfm_info: [1" + ":1" * 99 + "]"), "many digits"),
        (changed(ENTRY, "../Files/images/router.img", "../../../etc/passwd"), "not in the package"),
        (changed(ENTRY, "vnfm_info: [qnfv]", "vnfm_info: [&a x, *a]"), "aliases"),
        (changed(ENTRY, "vnfm_info: [qnfv]", "vnfm_info: " + "[" * 5000), ENTRY),
        (changed(ENTRY, "sha-256", "md5"), "md5"),
        (changed(ENTRY, "hash: ", "hash: 00"), "the VNFD says"),
    ],
)
def test_a_package_that_is_wrong(tmp_path: Path, fault: Callable[[Csar], None], says: str) -> None:
    made = Csar()
    fault(made)
    assert says in why(tmp_path, made.packed())


def test_a_file_is_read_once_however_often_it_is_imported(tmp_path: Path) -> None:
    made = Csar()
    changed(ENTRY, "types.yaml\ntopo", "types.yaml\n" + "  - types.yaml\n" * 5000 + "topo")(made)
    assert read(tmp_path, made.packed()).vnfd_files.count(TYPES) == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (changed(MANIFEST, "metadata:", "data:"), "no metadata"),
        (changed(MANIFEST, "SHA-256", "MD5"), "MD5 is not accepted"),
        (
            changed(MANIFEST, f"Source: {README}", "Source: http://elsewhere/x"),
            "nothing is fetched",
        ),
        (changed(MANIFEST, f"Source: {README}", "Source: Files/other"), "Files/other"),
        (changed(MANIFEST, f"Source: {README}", f"Source: {IMAGE}"), "twice"),
        (changed(README, "how", "not how"), f"digest of {README}"),
        (lambda made: made.files.update(extra=b"x"), "does not list extra"),
        (lambda made: made.files.update({MANIFEST: b"metadata:\nHash: 00\n"}), "line 2"),
        (lambda made: made.files.update({MANIFEST: b"metadata:\nSource: x\n"}), "needs"),
    ],
)
def test_a_manifest_that_is_wrong(tmp_path: Path, fault: Callable[[Csar], None], says: str) -> None:
    made = Csar().with_manifest()
    fault(made)
    assert says in why(tmp_path, made.packed())


# --- the archive itself


def zipped(*members: tuple[zipfile.ZipInfo | str, bytes], packs: int = 8) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packs) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def symlink() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted() -> bytes:
    content = bytearray(zipped(("a", b"x")))
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(("../../etc/passwd", b"x")), "leads out"),
        (zipped(("/etc/passwd", b"x")), "leads out"),
        (zipped(("a/./b", b"x")), "leads out"),
        (zipped(("a\\..\\b", b"x")), "no name"),
        (zipped(("C:/b", b"x")), "no name"),
        (zipped(("n" * 300, b"x")), "no name"),
        (zipped(("a", b"x"), ("a", b"y")), "two members"),
        (zipped(("A", b"x"), ("a", b"y")), "two members"),
        (zipped((symlink(), b"/etc/passwd")), "neither a file nor a folder"),
        (encrypted(), "encrypted"),
        (zipped(("a", b"x"), packs=zipfile.ZIP_LZMA), "method"),
        (zipped(("a", bytes(LIMIT + 1)), packs=zipfile.ZIP_STORED), "unpacks to more"),
        (zipped(*((str(n), b"") for n in range(2049))), "more than 2048"),
        (b"PK\x03\x04" + bytes(1000), "cannot be read"),
        (Csar().packed()[:-30], "cannot be read"),
    ],
)
def test_an_archive_that_is_wrong(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in why(tmp_path, content)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    content = zipped(("zeros", bytes(70 * 1024**2)))
    assert len(content) < 100_000
    assert "200 times" in why(tmp_path, content, limit=10**12)


def test_members_that_lie_over_each_other(tmp_path: Path) -> None:
    """Many entries of the list that mean the same packed bytes."""
    one = zipped(("a", b"x" * 1000), packs=zipfile.ZIP_STORED)
    start = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    entry = one[start:end]
    name_at = len(entry) - 1
    entries = b"".join(entry[:name_at] + bytes([ord("a") + n]) for n in range(20))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 20, 20, len(entries), start, 0)
    assert "over each other" in why(tmp_path, one[:start] + entries + tail)


def end_record(content: bytes, *, size: int = 0, offset: int = 0) -> bytes:
    """With the size and the offset of the list of members that much larger than they are."""
    at = content.index(b"PK\x05\x06") + 12
    found = struct.unpack_from("<II", content, at)
    changed = struct.pack("<II", found[0] + size, found[1] + offset)
    return content[:at] + changed + content[at + 8 :]


@pytest.mark.parametrize("fault", [{"size": 100_000}, {"offset": 100_000}])
def test_an_archive_that_points_outside_of_itself_is_no_full_disk(
    tmp_path: Path, fault: dict[str, int]
) -> None:
    assert "cannot be read" in why(tmp_path, end_record(Csar().packed(), **fault))


def test_a_member_is_checked_under_each_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer versions of zipfile take the name from another place than the list of members."""
    listed = zipfile.ZipFile.infolist

    def renamed(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        for info in (infos := listed(archive)):
            info.filename = "../" + info.filename
        return infos

    monkeypatch.setattr(zipfile.ZipFile, "infolist", renamed)
    assert "leads out" in why(tmp_path, Csar().packed())


def test_a_damaged_image_is_found(tmp_path: Path) -> None:
    content = Csar().packed()
    at = content.index(IMAGE.encode()) + 2000
    damaged = content[:at] + bytes(40) + content[at + 40 :]
    assert IMAGE in why(tmp_path, damaged)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)), max_size=4)
)
def test_whatever_is_changed_it_is_read_or_refused(
    tmp_path: Path, cuts: list[tuple[int, bytes]]
) -> None:
    content = bytearray(_GOOD)
    for at, new in cuts:
        at %= len(content)
        content[at : at + len(new)] = new
    with contextlib.suppress(PackageRefusedError):
        assert read(tmp_path, bytes(content)).vnfd.product_name


_GOOD = Csar(image=bytes(510) + b"\x55\xaa").packed()
