"""What Prometheus and Grafana ask for is what the orchestrator tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"


def told() -> set[str]:
    """Names of the orchestrator's metrics, as its source has them."""
    found: set[str] = set()
    for file in (ROOT / "orchestrator").rglob("*.py"):
        for kind, name in re.findall(r'(\w+)MetricFamily\(\s*"(qnfv_\w+)"', file.read_text()):
            found.add(f"{name}_total" if kind == "Counter" else name)
    return found


def asked(text: str) -> set[str]:
    return set(re.findall(r"\bqnfv_\w+", text))


def test_the_dashboard_asks_for_metrics_that_are_told() -> None:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = asked(" ".join(expressions))
    assert names <= told()
    assert {name for name in told() if name.startswith("qnfv_instance_")} <= names
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_alerts_ask_for_metrics_that_are_told_and_say_what_to_do() -> None:
    rules = yaml.safe_load((MONITORING / "qnfv-alerts.yml").read_text())["groups"][0]["rules"]
    assert asked(" ".join(rule["expr"] for rule in rules)) <= told()
    assert all(rule["annotations"]["summary"].endswith(".") for rule in rules)


def test_prometheus_scrapes_with_a_token_from_a_file() -> None:
    document = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = document["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["credentials_file"]
    assert document["rule_files"] == ["qnfv-alerts.yml"]
