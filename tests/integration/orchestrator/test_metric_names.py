"""What the dashboard and the alerts ask for stands at `/metrics` under these names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from account_room import AccountRoom

MONITORING = Path(__file__).parents[3] / "deploy" / "monitoring"


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "qnfv-alerts.yml"])
def test_what_is_asked_for_is_told(room: AccountRoom, name: str) -> None:
    asked = set(re.findall(r"\bqnfv_\w+", (MONITORING / name).read_text()))
    answer = room.owner().get("/metrics")
    assert answer.status_code == 200
    told = set(re.findall(r"^# TYPE (qnfv_\w+) ", answer.text, re.MULTILINE))
    assert asked
    assert asked <= told
