"""What one copy cost, and starting the two ends of a copy as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one copy: wall time, and CPU time of both ends together."""

    wall_s: float
    cpu_s: float

    def without(self, overhead: Cost) -> Cost:
        return Cost(self.wall_s - overhead.wall_s, self.cpu_s - overhead.cpu_s)


def copy_between_processes(candidate: str, source: Path, target: Path, digest: bytes) -> Cost:
    """Let `candidate` (a name that `benchmarks.transfer.ends` knows) copy `source` to `target`."""
    job: dict[str, Any] = {
        "candidate": candidate,
        "source": str(source),
        "target": str(target),
        "digest": digest.hex(),
        "size": source.stat().st_size,
    }
    with _start("receive") as receiver, _start("send") as sender:
        _tell(receiver, job)
        port = _hear(receiver)["port"]
        _tell(sender, job | {"port": port})
        sent, received = _hear(sender), _hear(receiver)
        for end in (sender, receiver):
            if end.wait(timeout=30) != 0:
                raise RuntimeError(f"an end of the candidate {candidate} failed")
    wall_s = received["end_s"] - sent["start_s"]
    return Cost(wall_s, sent["cpu_s"] + received["cpu_s"])


def _start(end: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transfer.ends", end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _tell(process: subprocess.Popen[str], job: dict[str, Any]) -> None:
    stream = _pipe(process.stdin)
    stream.write(json.dumps(job) + "\n")
    stream.flush()


def _hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = _pipe(process.stdout).readline()
    if not line:
        raise RuntimeError("an end of the copy died; its error is above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
