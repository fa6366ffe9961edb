"""Runs the candidates in turn and sets their costs in relation."""

from __future__ import annotations

import contextlib
import filecmp
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.table import Table

from benchmarks.transfer.measure import Cost, copy_between_processes
from benchmarks.transfer.sftp import Sftp, SftpMissing, running_sftp

SIZE_BYTES: Final = 1 << 30
QUICK_SIZE_BYTES: Final = 128 << 20
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 2
MEMORY_FILE_SYSTEM: Final = Path("/dev/shm")
AIMS: Final = {
    "wall_to_plain": 1.15,
    "cpu_to_plain": 1.35,
    "wall_to_sftp": 0.40,
    "cpu_to_sftp": 0.60,
}

_BLOCK_BYTES: Final = 1 << 20
_FLOOR_BLOCKS: Final = 64


def run(
    *, quick: bool = False, rounds: int | None = None, size_bytes: int | None = None
) -> dict[str, Any]:
    """Measure; the answer holds seconds per round and candidate, medians and ratios."""
    size_bytes = size_bytes or (QUICK_SIZE_BYTES if quick else SIZE_BYTES)
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    report: dict[str, Any] = {"size_bytes": size_bytes, "rounds": rounds, "aims": AIMS}
    base = MEMORY_FILE_SYSTEM if MEMORY_FILE_SYSTEM.is_dir() else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=base)))
        source, target = folder / "image", folder / "copy"
        digest = _write_random(source, size_bytes)
        candidates = {
            name: _between_processes(name, source, target, digest) for name in ("plain", "sealed")
        }
        try:
            sftp = stack.enter_context(running_sftp(folder))
            candidates["sftp"] = _through_sftp(sftp, source, target, folder)
            candidates["sftp"]()
        except SftpMissing as error:
            candidates.pop("sftp", None)
            report["sftp_skipped"] = str(error)
        costs: dict[str, list[Cost]] = {name: [] for name in candidates}
        # The first round only touches the memory that all others use again.
        for number in range(rounds + 1):
            for name, copy in candidates.items():
                target.unlink(missing_ok=True)
                cost = copy()
                _check(source, target)
                if number > 0:
                    costs[name].append(cost)
    report["seconds"] = {
        name: [{"wall": round(c.wall_s, 4), "cpu": round(c.cpu_s, 4)} for c in candidate]
        for name, candidate in costs.items()
    }
    report["ratios"] = _ratios(costs)
    report["cipher_and_digest_cpu_s"] = round(_cipher_and_digest_cpu_s(size_bytes), 4)
    plain_cpu_s = statistics.median(c.cpu_s for c in costs["plain"])
    report["cpu_to_plain_floor"] = round(1 + report["cipher_and_digest_cpu_s"] / plain_cpu_s, 3)
    return report


def table(report: dict[str, Any]) -> Table:
    """The report for a person."""
    size_mib = report["size_bytes"] >> 20
    title = f"Transfer of {size_mib} MiB of random bytes, median of {report['rounds']} rounds"
    shown = Table(title=title, caption=_caption(report), caption_justify="left", min_width=80)
    shown.add_column("candidate")
    for column in ("wall s", "CPU s (both ends)"):
        shown.add_column(column, justify="right")
    for name, rounds in report["seconds"].items():
        medians = (statistics.median(r[kind] for r in rounds) for kind in ("wall", "cpu"))
        shown.add_row(name, *(f"{value:.3f}" for value in medians))
    return shown


def _caption(report: dict[str, Any]) -> str:
    lines = [
        f"sealed: {name.replace('_', ' ')} {ratio['median']:.2f} "
        f"({ratio['lowest']:.2f} to {ratio['highest']:.2f}), aim {AIMS[name]:.2f}"
        for name, ratio in report["ratios"].items()
    ]
    lines.append(
        f"cipher and digest alone need {report['cipher_and_digest_cpu_s']:.2f} CPU s here: "
        f"cpu to plain has its floor at about {report['cpu_to_plain_floor']:.2f}"
    )
    if "sftp_skipped" in report:
        lines.append(f"sftp skipped: {report['sftp_skipped']}")
    return "\n".join(lines)


def _between_processes(
    candidate: str, source: Path, target: Path, digest: bytes
) -> Callable[[], Cost]:
    return lambda: copy_between_processes(candidate, source, target, digest)


def _through_sftp(sftp: Sftp, source: Path, target: Path, folder: Path) -> Callable[[], Cost]:
    empty = folder / "empty"
    empty.touch()

    def copy() -> Cost:
        session = sftp.copy(empty, folder / "empty-copy")
        return sftp.copy(source, target).without(session)

    return copy


def _cipher_and_digest_cpu_s(size_bytes: int) -> float:
    """What sealing, opening and digesting so many bytes costs here, one thread, in the cache.

    No sealed stream can cost less than a plain copy and this; the processor decides it.
    """
    plain, sealed = bytearray(_BLOCK_BYTES), bytearray(_BLOCK_BYTES + 16)
    cipher, digest = AESGCM(os.urandom(32)), blake3()
    start_s = time.process_time()
    for index in range(_FLOOR_BLOCKS):
        nonce = index.to_bytes(12, "big")
        cipher.encrypt_into(nonce, plain, None, sealed)
        cipher.decrypt_into(nonce, sealed, None, plain)
        digest.update(plain)
    return (time.process_time() - start_s) * size_bytes / (_FLOOR_BLOCKS * _BLOCK_BYTES)


def _ratios(costs: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    """Ratios of each round's pair: what disturbs the machine for long disturbs both."""
    ratios = {}
    for peer in ("plain", "sftp"):
        pairs = list(zip(costs["sealed"], costs.get(peer, ()), strict=False))
        for kind in ("wall", "cpu") if pairs else ():
            values = [getattr(a, f"{kind}_s") / getattr(b, f"{kind}_s") for a, b in pairs]
            ratios[f"{kind}_to_{peer}"] = {
                "median": round(statistics.median(values), 3),
                "lowest": round(min(values), 3),
                "highest": round(max(values), 3),
            }
    return ratios


def _write_random(path: Path, size_bytes: int) -> bytes:
    """Fill `path` with random bytes; their BLAKE3 digest."""
    digest = blake3()
    with path.open("wb") as file:
        left = size_bytes
        while left:
            block = os.urandom(min(left, _BLOCK_BYTES))
            digest.update(block)
            left -= file.write(block)
    return digest.digest()


def _check(source: Path, target: Path) -> None:
    """A copy that is no copy must not count."""
    if not filecmp.cmp(source, target, shallow=False):
        raise RuntimeError("a candidate did not copy the image")
