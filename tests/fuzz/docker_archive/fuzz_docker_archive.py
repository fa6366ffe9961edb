"""Fuzz target of image archives and disks: any bytes give an error of ours, never a crash or hang.

    python tests/fuzz/docker_archive/fuzz_docker_archive.py [--seconds 60] [file ...]

With files, each is fed once (to look at a finding again). Otherwise atheris drives the target
where it is installed, guided by coverage; without it, archives are mutated at random.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import random
import secrets
import tarfile
import tempfile
import time
from pathlib import Path

from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.errors import ImageRejectedError
from nfv_stack.image_intake.archive_inspector import ArchiveInspector
from nfv_stack.vim.port import ImageSpec
from orchestrator.catalogue.disk_image import disk_format
from orchestrator.catalogue.docker_archive import is_tar, normalise
from orchestrator.errors import ImageRefusedError

MAX_BYTES = 1_000_000
_CONFIG = {"architecture": "amd64", "os": "linux", "config": {}}
IMAGE_ID, ARCHIVE = normal_archive.build(_CONFIG, [b"layer" * 100, b"more" * 50])
_LAYER_FREE_ID, _LAYER_FREE = normal_archive.build(_CONFIG, [])


def feed(data: bytes) -> None:
    """Give `data` to every place that takes an image of somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        _to_catalogue(data, Path(folder))
    _to_inspector(data, IMAGE_ID)
    _to_inspector(data, _LAYER_FREE_ID)


def _to_catalogue(data: bytes, folder: Path) -> None:
    source, target = folder / "x.raw", folder / "x.normal"
    source.write_bytes(data)
    with contextlib.suppress(ImageRefusedError):
        disk_format(source)
    is_tar(source)
    try:
        image = normalise(source, target, max_bytes=MAX_BYTES)
    except ImageRefusedError:
        return
    # Whatever the catalogue takes, the intake takes too.
    content = target.read_bytes()
    _inspect(content, image.image_id)


def _to_inspector(data: bytes, image_id: str) -> None:
    try:
        _inspect(data, image_id)
    except ImageRejectedError:
        return
    # Nothing passes but the form itself; a layer's own bytes are the engine's to judge.
    assert len(data) in (len(ARCHIVE), len(_LAYER_FREE))


def _inspect(content: bytes, image_id: str) -> None:
    spec = ImageSpec(bytes(32), len(content), ImageFormat.DOCKER_ARCHIVE, image_id)
    inspector = ArchiveInspector(spec)
    for start in range(0, len(content), 777):
        inspector.feed(memoryview(content)[start : start + 777])
    inspector.finish()


def _other_forms() -> list[bytes]:
    forms = [ARCHIVE, _LAYER_FREE, gzip.compress(ARCHIVE, mtime=0), b"", b"QFI\xfb" + bytes(200)]
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE)) as archive:
        parts = [(info, archive.extractfile(info).read()) for info in archive]
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=form) as archive:
            for info, data in reversed(parts):
                info.pax_headers = {"comment": "x" * 50, "mtime": "1.5"}
                archive.addfile(info, io.BytesIO(data))
        forms.append(target.getvalue())
    return forms


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 5)):
        # Headers are where the decisions are made.
        block = 512 * chance.randint(0, max(0, len(data) // 512))
        position = min(len(data), block + chance.randint(0, 520))
        match chance.randrange(5):
            case 0 if position < len(data):
                data[position] = chance.randrange(256)
            case 1:
                data[position:position] = chance.randbytes(chance.randint(1, 40))
            case 2:
                del data[position : position + chance.randint(1, 600)]
            case 3:
                other = chance.choice(SEEDS)
                start = 512 * chance.randint(0, len(other) // 512)
                data[block:] = other[start:]
            case _ if len(data) >= block + 512:
                _resize(data, block, chance)
    return bytes(data)


def _resize(data: bytearray, block: int, chance: random.Random) -> None:
    """Another size or type in a header, with a checksum that holds."""
    sizes = (0, 1, 511, 513, 2**30, 2**33 - 1)
    data[block + 124 : block + 136] = b"%011o\0" % chance.choice(sizes)
    if chance.random() < 0.5:
        data[block + 156] = chance.choice(b"0123456789gxLKSVDMN")
    data[block + 148 : block + 156] = b" " * 8
    data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])


SEEDS = _other_forms()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.files:
        for path in arguments.files:
            feed(path.read_bytes())
        return
    try:
        import atheris
    except ImportError:
        _mutate_at_random(arguments.seconds, arguments.seed)
        return
    atheris.Setup([__file__, f"-max_total_time={arguments.seconds:.0f}"], feed)
    atheris.Fuzz()


def _mutate_at_random(seconds: float, seed: int | None) -> None:
    seed = secrets.randbits(32) if seed is None else seed
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < deadline:
        data = mutated(chance.choice(SEEDS), chance)
        try:
            feed(data)
        except BaseException:
            finding = Path(f"finding-{seed}-{rounds}")
            finding.write_bytes(data)
            print(f"written to {finding}")
            raise
        rounds += 1
    print(f"{rounds} inputs, seed {seed}: nothing found")


if __name__ == "__main__":
    main()
