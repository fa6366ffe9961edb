"""Runs the candidates in turn and sets their costs in relation."""

from __future__ import annotations

import contextlib
import filecmp
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from blake3 import blake3
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


def run(
    *, quick: bool = False, rounds: int | None = None, size_bytes: int | None = None
) -> dict[str, Any]:
    """Measure; the answer holds seconds per round and candidate, medians and ratios."""
    size_bytes = size_bytes or (QUICK_SIZE_BYTES if quick else SIZE_BYTES)
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    costs: dict[str, list[Cost]] = {"plain": [], "sealed": []}
    report: dict[str, Any] = {"size_bytes": size_bytes, "rounds": rounds, "aims": AIMS}
    base = MEMORY_FILE_SYSTEM if MEMORY_FILE_SYSTEM.is_dir() else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=base)))
        source, target = folder / "image", folder / "copy"
        digest = _write_random(source, size_bytes)
        sftp: Sftp | None = None
        try:
            sftp = stack.enter_context(running_sftp(folder))
            costs["sftp"] = []
        except SftpMissing as error:
            report["sftp_skipped"] = str(error)
        for _ in range(rounds):
            for candidate in ("plain", "sealed"):
                costs[candidate].append(copy_between_processes(candidate, source, target, digest))
                _check(source, target)
            if sftp is not None:
                costs["sftp"].append(_sftp_cost(sftp, source, target, folder))
                _check(source, target)
    report["seconds"] = {
        name: [{"wall": round(c.wall_s, 4), "cpu": round(c.cpu_s, 4)} for c in candidate]
        for name, candidate in costs.items()
    }
    report["ratios"] = _ratios(costs)
    return report


def table(report: dict[str, Any]) -> Table:
    """The report for a person."""
    size_mib = report["size_bytes"] >> 20
    title = f"Transfer of {size_mib} MiB of random bytes, median of {report['rounds']} rounds"
    shown = Table(title=title, caption=_caption(report))
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
    if "sftp_skipped" in report:
        lines.append(f"sftp skipped: {report['sftp_skipped']}")
    return "\n".join(lines)


def _sftp_cost(sftp: Sftp, source: Path, target: Path, folder: Path) -> Cost:
    empty = folder / "empty"
    empty.touch()
    session = sftp.copy(empty, folder / "empty-copy")
    return sftp.copy(source, target).without(session)


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
    """A copy that is no copy must not count, and the next one starts without a target."""
    if not filecmp.cmp(source, target, shallow=False):
        raise RuntimeError("a candidate did not copy the image")
    target.unlink()
