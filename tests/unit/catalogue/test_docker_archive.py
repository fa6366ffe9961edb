"""docker-save archives of every kind come into one form, or are refused with the reason."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfv_stack.contract import normal_archive
from orchestrator.catalogue.docker_archive import is_tar, normalise
from orchestrator.errors import ImageRefusedError

VECTORS = Path(__file__).parents[2] / "vectors" / "normal_archive"
MAX_BYTES = 10_000_000
CONFIG = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]}}
LAYERS = [b"first layer" * 300, b"second" * 500]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def config_of(layers: list[bytes]) -> bytes:
    diff_ids = [f"sha256:{sha256(layer)}" for layer in layers]
    return json.dumps({**CONFIG, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def file(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.uid, info.uname = len(content), 1_700_000_000, 1000, "builder"
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info, b""


def tar(*parts: tuple[tarfile.TarInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for info, data in parts:
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def manifest(config: str, layers: list[str], tags: object = None, **more: object) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": tags, "Layers": layers, **more}]).encode()


def classic(
    layers: list[bytes] = LAYERS, tags: object = None, **replaced: tuple[tarfile.TarInfo, bytes]
) -> bytes:
    """As engines up to 24 save it: a folder for each layer, manifest.json last."""
    config = config_of(layers)
    parts, names = [], []
    for index, layer in enumerate(layers):
        name = sha256(bytes([index]) + layer)
        names.append(f"{name}/layer.tar")
        parts += [
            folder(f"{name}/"),
            file(f"{name}/VERSION", b"1.0"),
            file(f"{name}/json", b"{}"),
            file(f"{name}/layer.tar", layer),
        ]
    named = {
        "config": file(f"{sha256(config)}.json", config),
        "manifest": file("manifest.json", manifest(f"{sha256(config)}.json", names, tags)),
        "repositories": file("repositories", b"{}"),
        **replaced,
    }
    return tar(*parts, *named.values())


def hybrid(layers: list[bytes] = LAYERS, *, packed: bool = True) -> bytes:
    """As engines from 25 on save it: an OCI layout with a manifest.json beside it."""
    config = config_of(layers)
    blobs = [config]
    names = []
    for layer in layers:
        blob = gzip.compress(layer, mtime=0) if packed else layer
        blobs.append(blob)
        names.append(f"blobs/sha256/{sha256(blob)}")
    oci = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"digest": f"sha256:{sha256(config)}", "size": len(config)},
            "layers": [{"digest": f"sha256:{sha256(blob)}"} for blob in blobs[1:]],
        }
    ).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [{"digest": f"sha256:{sha256(oci)}"}]})
    return tar(
        folder("blobs/"),
        folder("blobs/sha256/"),
        *(file(f"blobs/sha256/{sha256(blob)}", blob) for blob in dict.fromkeys([*blobs, oci])),
        file("index.json", index.encode()),
        file("manifest.json", manifest(f"blobs/sha256/{sha256(config)}", names, ["a:1", "b:2"])),
        file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    )


@pytest.fixture
def normal(tmp_path: Path) -> Callable[..., bytes]:
    def made(content: bytes, *, max_bytes: int = MAX_BYTES) -> bytes:
        source, target = tmp_path / "x.raw", tmp_path / "x.normal"
        source.write_bytes(content)
        try:
            image = normalise(source, target, max_bytes=max_bytes)
            made.image = image
            return target.read_bytes()
        finally:
            left = {path.name for path in tmp_path.iterdir()}
            assert left <= {"x.raw", "x.normal"}, "nothing is left beside them"

    return made


def expected(layers: list[bytes] = LAYERS) -> str:
    return f"sha256:{sha256(config_of(layers))}"


def layers_of(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def test_every_layout_comes_to_the_same_bytes(normal) -> None:
    forms = {
        normal(classic()),
        normal(hybrid()),
        normal(hybrid(packed=False)),
        normal(gzip.compress(classic())),
        normal(gzip.compress(hybrid())),
        normal(classic(tags=["vnf:1", "vnf:latest"])),
    }
    assert len(forms) == 1
    assert normal.image.image_id == expected()
    content = layers_of(forms.pop())
    assert list(content) == [
        "manifest.json",
        f"{sha256(config_of(LAYERS))}.json",
        *(f"{sha256(layer)}/layer.tar" for layer in LAYERS),
    ]
    assert json.loads(content["manifest.json"])[0]["RepoTags"] is None


def test_the_form_is_its_own_form(normal) -> None:
    once = normal(classic())
    assert normal(once) == once


def test_the_vector(normal) -> None:
    """The same file that the intake's inspector reads."""
    wanted = json.loads((VECTORS / "two_layers.json").read_text())
    content = (VECTORS / "two_layers.tar").read_bytes()
    assert normal(content) == content
    assert normal.image.image_id == wanted["image_id"]
    assert normal.image.layers == 2


def test_tags_are_told_and_left_behind(normal) -> None:
    normal(classic(tags=["vnf:1", "vnf:latest"]))
    assert normal.image.tags == ("vnf:1", "vnf:latest")


def test_a_repeated_layer_is_a_link_in_old_archives_and_travels_once(normal) -> None:
    layers = [LAYERS[0], LAYERS[1], LAYERS[0]]
    config = config_of(layers)
    content = tar(
        folder("a/"),
        file("a/layer.tar", LAYERS[0]),
        folder("b/"),
        file("b/layer.tar", LAYERS[1]),
        folder("c/"),
        link("c/layer.tar", "../a/layer.tar"),
        file("c.json", config),
        file("manifest.json", manifest("c.json", ["a/layer.tar", "b/layer.tar", "c/layer.tar"])),
    )
    archive = normal(content)
    assert normal.image == type(normal.image)(expected(layers), (), 3)
    assert len(layers_of(archive)) == 4
    assert normal_archive.build({}, layers)[1]  # the builder has such layers once, too


def test_a_hard_link_to_a_layer(normal) -> None:
    layers = [LAYERS[0], LAYERS[0]]
    normal(
        tar(
            file("a/layer.tar", LAYERS[0]),
            link("b/layer.tar", "a/layer.tar", tarfile.LNKTYPE),
            file("c.json", config_of(layers)),
            file("manifest.json", manifest("c.json", ["a/layer.tar", "b/layer.tar"])),
        )
    )
    assert normal.image.layers == 2


def test_dots_before_names_are_the_same_names(normal) -> None:
    content = tar(
        file("./l.tar", LAYERS[0]),
        file("./c.json", config_of(LAYERS[:1])),
        file("./manifest.json", manifest("c.json", ["l.tar"])),
    )
    normal(content)
    assert normal.image.layers == 1


CONFIG_NAME = f"{sha256(config_of(LAYERS))}.json"
NAMES = [f"{sha256(bytes([i]) + layer)}/layer.tar" for i, layer in enumerate(LAYERS)]


def classic_with(**changes: object) -> bytes:
    entry = {"Config": CONFIG_NAME, "RepoTags": None, "Layers": NAMES, **changes}
    return classic(manifest=file("manifest.json", json.dumps([entry]).encode()))


def zstd_layer() -> bytes:
    return tar(
        file("l", b"\x28\xb5\x2f\xfd" + bytes(100)),
        file("c.json", config_of([b"x"])),
        file("manifest.json", manifest("c.json", ["l"])),
    )


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no manifest": (lambda: tar(file("x", b"1")), "no manifest.json"),
    "an OCI layout alone": (
        lambda: tar(file("oci-layout", b"{}"), file("index.json", b"{}")),
        "no manifest.json",
    ),
    "a manifest that is no JSON": (
        lambda: classic(manifest=file("manifest.json", b"{")),
        "not JSON",
    ),
    "a manifest too deep": (
        lambda: classic(manifest=file("manifest.json", b"[" * 100_000)),
        "not JSON",
    ),
    "a manifest of another form": (
        lambda: classic(manifest=file("manifest.json", b"{}")),
        "not a list",
    ),
    "a manifest that is a folder": (
        lambda: classic(manifest=folder("manifest.json")),
        "not a plain file",
    ),
    "no image": (lambda: classic(manifest=file("manifest.json", b"[]")), "holds 0 images"),
    "two images": (
        lambda: classic(manifest=file("manifest.json", b"[{},{}]")),
        "holds 2 images",
    ),
    "no config": (lambda: classic_with(Config="other.json"), "is missing"),
    "a config that is none": (lambda: classic_with(Config=None), "is missing"),
    "a config outside": (lambda: classic_with(Config="../../etc/passwd"), "outside"),
    "an absolute layer": (lambda: classic_with(Layers=["/etc/passwd", "/x"]), "outside"),
    "a missing layer": (lambda: classic_with(Layers=["x/layer.tar", NAMES[1]]), "is missing"),
    "a layer too few": (lambda: classic_with(Layers=NAMES[:1]), "different numbers"),
    "layers in another order": (lambda: classic_with(Layers=NAMES[::-1]), "digest"),
    "layers that are no list": (lambda: classic_with(Layers="x"), "different numbers"),
    "tags that are no list": (lambda: classic_with(RepoTags=5), "tags"),
    "a config without layers": (
        lambda: classic(config=file(CONFIG_NAME, b'{"rootfs":{}}')),
        "does not name",
    ),
    "a config that is a list": (lambda: classic(config=file(CONFIG_NAME, b"[]")), "does not name"),
    "a config with wrong digests": (
        lambda: classic(config=file(CONFIG_NAME, b'{"rootfs":{"diff_ids":["x","y"]}}')),
        "does not name",
    ),
    "an altered layer": (
        lambda: classic().replace(b"first layerfirst", b"first layerFirst", 1),
        "altered or damaged",
    ),
    "an altered config": (
        lambda: classic(config=file(CONFIG_NAME, config_of([b"other", b"layers"]))),
        "altered or damaged",
    ),
    "an altered packed layer": (lambda: _damaged_gzip(), "damaged"),
    "a layer packed in another way": (zstd_layer, "Zstandard"),
    "a member with a path": (
        lambda: tar(file("../evil", b"x"), file("manifest.json", b"[]")),
        "outside",
    ),
    "an absolute member": (lambda: tar(file("/evil", b"x")), "outside"),
    "a name twice": (lambda: tar(file("a", b"x"), file("./a", b"y")), "two members"),
    "a link that leaves": (
        lambda: classic(config=link(CONFIG_NAME, "../../etc/passwd")),
        "leaves the archive",
    ),
    "an absolute link": (lambda: classic(config=link(CONFIG_NAME, "/etc/passwd")), "leaves"),
    "a link in a circle": (lambda: classic(config=link(CONFIG_NAME, CONFIG_NAME)), "chain"),
    "a device": (lambda: classic(config=link(CONFIG_NAME, "", tarfile.CHRTYPE)), "not a plain"),
    "too many members": (
        lambda: tar(*(file(str(number), b"") for number in range(4097))),
        "more than 4096",
    ),
    "a sparse giant": (lambda: _claims(10**12), "larger than the catalogue"),
    "a giant long name": (lambda: _claims(2**33, tarfile.GNUTYPE_LONGNAME), "cannot be read"),
    "a giant extended header": (lambda: _claims(2**33, tarfile.XHDTYPE), "cannot be read"),
}


def _damaged_gzip() -> bytes:
    blob = bytearray(hybrid())
    at = blob.index(gzip.compress(LAYERS[0], mtime=0)) + 15
    blob[at] ^= 0xFF
    return bytes(blob)


def _claims(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that says that it has `size` bytes, and a few of them."""
    info = tarfile.TarInfo("big")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(20_000)


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_reason(normal, kind: str) -> None:
    make, why = REFUSED[kind]
    with pytest.raises(ImageRefusedError, match=why) as error:
        normal(make())
    assert error.value.next_step


def test_truncation_anywhere(normal) -> None:
    for content in (classic(), hybrid()):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.getmembers()
            end = archive.offset
        assert normal(content[: end + 512])
        for cut in [*range(1, end, 701), *range(512, end + 1, 512), end + 511]:
            with pytest.raises(ImageRefusedError):
                normal(content[:cut])
    packed = gzip.compress(classic())
    for cut in range(2, len(packed), max(1, len(packed) // 50)):
        with pytest.raises(ImageRefusedError):
            normal(packed[:cut])


def test_bombs_are_bounded(normal) -> None:
    zeros = gzip.compress(bytes(20_000_000))
    with pytest.raises(ImageRefusedError, match="larger than the catalogue"):
        normal(zeros)
    layer = bytes(20_000_000)
    with pytest.raises(ImageRefusedError, match="larger than the catalogue"):
        normal(hybrid([layer]))
    nested = tar(file("l", gzip.compress(layer)), file("c.json", config_of([layer])))
    with pytest.raises(ImageRefusedError):
        normal(nested)


def test_what_looks_like_a_tar(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    for content, looks in (
        (classic(), True),
        (gzip.compress(b"x"), True),
        (b"", False),
        (bytes(10_000), False),
        (b"hello" * 500, False),
        (tarfile.TarInfo("old").tobuf(tarfile.USTAR_FORMAT), True),
    ):
        sample.write_bytes(content)
        assert is_tar(sample) is looks


@given(st.lists(st.binary(max_size=3000), max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_layers_keep_their_bytes(tmp_path_factory, layers: list[bytes]) -> None:
    target = tmp_path_factory.mktemp("any") / "x.normal"
    source = target.with_suffix(".raw")
    source.write_bytes(hybrid(layers, packed=False))
    if any(layer[:2] == b"\x1f\x8b" or layer[:4] == b"\x28\xb5\x2f\xfd" for layer in layers):
        return
    image = normalise(source, target, max_bytes=MAX_BYTES)
    content = layers_of(target.read_bytes())
    assert image.image_id == expected(layers)
    for layer in layers:
        assert content[f"{sha256(layer)}/layer.tar"] == layer
