"""`qnfv schedule simulate` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

QNFV = str(Path(sys.executable).with_name("qnfv"))


def qnfv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [QNFV, "schedule", "simulate", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_labs_bobs_by_default_with_devices_and_costs() -> None:
    done = qnfv("--json", "--days", "5", "--alice-price", "100", "--bob-price", "80")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [round(bob["rate_bps"]) for bob in document["policies"]["lot_sizing"]["bobs"]] == [
        2454,
        727,
        100,
    ]
    assert document["economy"]["shared_devices"] == 4
    assert document["economy"]["own_devices"] == 6
    assert document["economy"]["saved_share"] == pytest.approx(1 - 340 / 540)
    assert document["policies"]["lot_sizing"]["worst_shortfall"] < 1e-3


def test_all_policies_side_by_side_with_pictures(tmp_path: Path) -> None:
    done = qnfv("--policy", "all", "--km", "2,10", "--days", "3", "--plots", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in ("lot_sizing", "proportional", "run_out", "sequential"):
        assert name in done.stdout
        for picture in ("levels.png", "gantt.png"):
            written = (tmp_path / name / picture).read_bytes()
            assert written.startswith(b"\x89PNG")
            assert len(written) > 5000


def test_lines_given_by_rate_and_set_up_and_pads_with_deadlines() -> None:
    done = qnfv(
        *("--lines", "2454:452,727:678", "--demand-bps", "100", "--pad-bits", "500000"),
        *("--transfer-bits", "50000", "--failure", "0.05", "--key-lifetime-h", "30"),
        *("--json", "--days", "4"),
    )
    assert done.returncode == 0, done.stderr
    promises = json.loads(done.stdout)["policies"]["lot_sizing"]["promises"]
    assert promises["asked"] >= promises["admitted"] > 0
    assert promises["kept_share"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--km", "5,40"], "no key is left"),
        (["--km", "five"], "no number"),
        (["--km", "-5"], "does not exist"),
        (["--lines", "0:100"], "without a key rate"),
        (["--lines", "100:-5"], "do not describe a Bob"),
        (["--policy", "best"], "lot_sizing"),
        (["--demand-bps", "5000"], "Lower his demand"),
    ],
)
def test_nonsense_is_answered_with_what_to_do(arguments: list[str], says: str) -> None:
    done = qnfv(*arguments, "--days", "2")
    assert done.returncode == 1
    assert says in " ".join(done.stderr.split())
    assert "Next:" in done.stderr
    assert "Traceback" not in done.stderr
