"""The bench runs, measures copies that are copies, and says what it left out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from benchmarks.transfer import run
from benchmarks.transfer.sftp import Sftp, SftpMissing


def test_bench_reports_ratios(tmp_path):
    report_file = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "transfer", "--quick", "--report", report_file],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(report_file.read_text())["transfer"]
    assert len(report["seconds"]["sealed"]) == report["rounds"]
    assert {"wall_to_plain", "cpu_to_plain"} <= set(report["ratios"])
    assert ("wall_to_sftp" in report["ratios"]) != ("sftp_skipped" in report)
    assert report["cpu_to_plain_floor"] > 1
    assert "sealed" in done.stdout


def test_missing_sftp_is_named(monkeypatch):
    def missing(*_: object) -> None:
        raise SftpMissing("sftp failed: no such thing")

    monkeypatch.setattr(Sftp, "copy", missing)
    if shutil.which("sshd", path="/usr/sbin:/usr/bin:/bin") is None:
        pytest.skip("real part missing: sshd")
    report = run(rounds=1, size_bytes=1 << 20)
    assert "no such thing" in report["sftp_skipped"]
    assert set(report["seconds"]) == {"plain", "sealed"}


def test_unknown_bench_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "known: transfer" in done.stderr
