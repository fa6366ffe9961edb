"""How long a deployment takes, from what was measured before; facts of steps in words."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from markupsafe import Markup

from orchestrator.errors import UnknownImageError
from orchestrator.gui.deploy import Deploy
from orchestrator.gui.formats import fact_text, words_text
from orchestrator.vnf_lcm.schemas import PlanView

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CHOSEN = {"image": "web", "data_centre": "dc-1", "wait_s": "600"}


class Lifecycle:
    """Plans with the given wait, and remembers what was deployed before."""

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s
        self.there: UUID = uuid4()
        self.rates: list[tuple[str, float | None]] = []
        self.boots_s: list[float] = []

    def plan(self, request: Any) -> PlanView:
        if request.image == "gone":
            raise UnknownImageError("It is gone.", next_step="Add it.")
        return PlanView(
            image_digest="ab",
            image_bytes=10_000_000,
            data_centre=request.data_centre,
            cipher=request.cipher,
            key_mode=request.key_mode,
            key_bits=256,
            key_available=self.wait_s == 0,
            keys_expected_in_s=self.wait_s,
            path=["a:1-2"],
            path_km=1.0,
            path_loss_db=1.0,
            emulated_keys=True,
        )

    def transfers(self, limit: int) -> list[Any]:
        return [SimpleNamespace(data_centre=dc, bytes_per_s=rate) for dc, rate in self.rates]

    def operations(self, limit: int) -> list[Any]:
        return [
            SimpleNamespace(
                kind="INSTANTIATE",
                state="COMPLETED",
                deployment_id=self.there,
                steps=[
                    SimpleNamespace(name="boot", seconds=boot_s),
                    SimpleNamespace(name="stream", seconds=1000.0),
                    SimpleNamespace(name="key", seconds=None),
                ],
            )
            for boot_s in self.boots_s
        ]


def deploy(lifecycle: Lifecycle, **chosen: str) -> Deploy:
    records = SimpleNamespace(
        deployments=lambda: [SimpleNamespace(deployment_id=lifecycle.there, data_centre="dc-1")]
    )
    settings = SimpleNamespace(pad_limit_bytes=1)
    rooms = SimpleNamespace(lifecycle=lifecycle, records=records, settings=settings)
    return Deploy(cast("Any", rooms), {**CHOSEN, **chosen})


def test_an_estimate_joins_wait_transfer_and_steps() -> None:
    lifecycle = Lifecycle(wait_s=30.0)
    lifecycle.rates = [("dc-1", 1e6), ("dc-1", 2e6), ("dc-1", 4e6), ("dc-2", 1.0), ("dc-1", None)]
    lifecycle.boots_s = [2.0, 4.0, 60.0]
    estimate = deploy(lifecycle).estimate
    assert (estimate.wait_s, estimate.transfer_s, estimate.steps_s) == (30.0, 5.0, 4.0)
    assert estimate.whole_s == 39.0


def test_without_a_measurement_nothing_is_promised() -> None:
    assert deploy(Lifecycle(wait_s=0.0)).estimate.whole_s is None
    lifecycle = Lifecycle(wait_s=None)  # nobody can say when there are keys
    lifecycle.rates, lifecycle.boots_s = [("dc-1", 1e6)], [1.0]
    assert deploy(lifecycle).estimate.whole_s is None


def test_what_makes_it_impossible_is_told_in_the_place_of_the_plan() -> None:
    gone = deploy(Lifecycle(0.0), image="gone")
    assert gone.plan is None
    assert gone.problem is not None
    assert (gone.problem.status, gone.problem.next_step) == (404, "Add it.")
    pad = deploy(Lifecycle(0.0), cipher="one-time-pad", key_mode="on_demand")
    assert pad.problem is not None
    assert "one-time pad" in pad.problem.detail
    assert not deploy(Lifecycle(0.0), image="").is_chosen


def test_each_form_has_an_id_of_its_own() -> None:
    lifecycle = Lifecycle(0.0)
    assert deploy(lifecycle).deployment_id != deploy(lifecycle).deployment_id


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("image_bytes", 2_010_000, "2.01 MB"),
        ("bytes", 5, "5 B"),
        ("bytes_per_s", 47.4e6, "47.4 MB/s"),
        ("key_bits", 256, "256"),
        ("emulated", True, "yes"),
        ("km", 15.01, "15.01"),
        ("cross_connects", ["a:1-2", "b:3-4"], "a:1-2, b:3-4"),
        ("end_points", [{"port": 80, "host_port": 1}], "port 80 host port 1"),
        ("key_id", "008af717-5b4f-4444-998b-95a9b32aa600", "008af717-5b4f-4444-998b-95a9b32aa600"),
    ],
)
def test_facts_by_the_units_in_their_names(name: str, value: object, text: str) -> None:
    assert fact_text(value, name) == text


def test_a_digest_is_shortened_and_markup_is_none() -> None:
    short = fact_text("sha256:" + "ab" * 32, "vim_image_id")
    assert isinstance(short, Markup)
    assert f'title="sha256:{"ab" * 32}"' in short
    assert "&lt;b&gt;" in Markup("{}").format(fact_text("<b>", "x"))
    assert "&lt;b&gt;" in fact_text("<b>" + "x" * 50, "x")
    assert words_text("WAITING_FOR_KEY") == "waiting for key"
