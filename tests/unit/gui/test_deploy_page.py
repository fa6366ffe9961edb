"""What the deploy page says of a plan; facts of steps in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from markupsafe import Markup

from orchestrator.errors import UnknownImageError
from orchestrator.gui.deploy import Deploy
from orchestrator.gui.formats import fact_text, words_text
from orchestrator.vnf_lcm.schemas import PlanView

CHOSEN = {"image": "web", "data_centre": "dc-1", "wait_s": "600"}


class Lifecycle:
    """Plans with the given wait."""

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s

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
            transfer_s=None,
            steps_s=None,
            measured_transfers=0,
            measured_deployments=0,
            takes_s=None,
        )


def deploy(lifecycle: Lifecycle, **chosen: str) -> Deploy:
    settings = SimpleNamespace(pad_limit_bytes=1)
    rooms = SimpleNamespace(lifecycle=lifecycle, settings=settings)
    return Deploy(cast("Any", rooms), {**CHOSEN, **chosen})


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
