"""Which members a VNF has and gets: placement, levels, scaling in both directions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sol003.documents import ScaleInfo, ScaleVnfRequest, ScaleVnfToLevelRequest
from orchestrator.sol003.errors import (
    AdditionalParamsError,
    MalformedRequestError,
    ScaleRefusedError,
)
from orchestrator.sol003.members.scaling import shape_after, shape_wanted
from orchestrator.sol003.members.shape import Member, Shape, Slot, first_shape, placement_of
from orchestrator.sol003.members.tasks import member_name
from orchestrator.sol003.onboarding.vnfd import InstantiationLevel, ScalingAspect, Vdu, Vnfd
from orchestrator.vnf_lcm.schemas import DeploymentRequest

VNFD = Vnfd(
    UUID(int=1), "Acme", "Router", "1", "1", "simple",
    vdus=(
        Vdu("head", "i", "i", "1", "a"),
        Vdu("worker", "i", "i", "1", "b", max_instances=9),
        Vdu("store", "i", "i", "1", "c", max_instances=9),
    ),
    aspects=(
        ScalingAspect("work", "work", 3, {"worker": (1, 2, 1)}),
        ScalingAspect("keep", "keep", 2, {"store": (1, 1), "worker": (1, 0)}),
    ),
    initial={"worker": 1, "store": 1},
    levels=(
        InstantiationLevel("small", {"work": 0, "keep": 0}, {"head": 1, "worker": 1, "store": 1}),
        InstantiationLevel("large", {"work": 1, "keep": 1}, {"head": 1, "worker": 3, "store": 2}),
    ),
    default_level="small",
)  # fmt: skip
EVERYWHERE = {vdu.vdu_id: ["dc-1"] for vdu in VNFD.vdus}


def shape(level: str = "small", placement: dict[str, list[str]] = EVERYWHERE) -> Shape:
    found = VNFD.level(level)
    assert found is not None
    return first_shape(VNFD, found, placement, {})


def members(of: Shape) -> list[Member]:
    return [
        Member(slot.vdu_id, slot.number, cast("Any", SimpleNamespace(data_centre=slot.data_centre)))
        for slot in of.slots()
    ]


@pytest.mark.parametrize(
    ("params", "placement"),
    [
        ({"data_centre": "dc-2"}, {"head": ["dc-2"], "worker": ["dc-2"], "store": ["dc-2"]}),
        (
            {"data_centres": ["dc-1", "dc-2"]},
            {name: ["dc-1", "dc-2"] for name in ("head", "worker", "store")},
        ),
        (
            {"data_centres": {"head": "dc-1", "worker": ["dc-2", "dc-3"], "store": "dc-3"}},
            {"head": ["dc-1"], "worker": ["dc-2", "dc-3"], "store": ["dc-3"]},
        ),
    ],
)
def test_placements(params: dict[str, Any], placement: dict[str, list[str]]) -> None:
    assert placement_of(params, VNFD) == placement


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"data_centre": "dc-1", "data_centres": ["dc-1"]},
        {"data_centre": ["dc-1"]},
        {"data_centre": ""},
        {"data_centres": []},
        {"data_centres": ["dc-1", "dc-1"]},
        {"data_centres": [1]},
        {"data_centres": {"head": "dc-1"}},
        {"data_centres": {"head": "dc-1", "worker": "dc-1", "store": "dc-1", "other": "dc-1"}},
        {"data_centres": {"head": "dc-1", "worker": [], "store": "dc-1"}},
        {"data_centres": {"head": {"dc-1": 1}, "worker": "dc-1", "store": "dc-1"}},
        {"data_centres": 7},
    ],
)
def test_placements_that_cannot_be(params: dict[str, Any]) -> None:
    with pytest.raises(AdditionalParamsError) as refused:
        placement_of(params, VNFD)
    assert "additionalParams.data_centre" in refused.value.detail
    assert refused.value.next_step


def test_a_step_adds_what_its_delta_says() -> None:
    counts, at = [], shape()
    for _ in range(3):
        at = shape_after(VNFD, at, ScaleVnfRequest(type="SCALE_OUT", aspect_id="work"))
        counts.append(at.instances)
    assert [each["worker"] for each in counts] == [2, 4, 5]
    assert all((each["head"], each["store"]) == (1, 1) for each in counts)
    both = shape_after(VNFD, at, ScaleVnfRequest(type="SCALE_OUT", aspect_id="keep"))
    assert (both.instances["worker"], both.instances["store"]) == (6, 2)
    with pytest.raises(ScaleRefusedError, match="at level 3 and would be at 4"):
        shape_after(VNFD, at, ScaleVnfRequest(type="SCALE_OUT", aspect_id="work"))
    with pytest.raises(ScaleRefusedError, match="at level 0 and would be at -1"):
        shape_after(VNFD, at, ScaleVnfRequest(type="SCALE_IN", aspect_id="keep"))
    with pytest.raises(MalformedRequestError, match="no scaling aspect"):
        shape_after(VNFD, at, ScaleVnfRequest(type="SCALE_IN", aspect_id="else"))


def test_out_adds_and_in_takes_the_newest() -> None:
    small = shape(placement={**EVERYWHERE, "worker": ["dc-1", "dc-2"]})
    there = members(small)
    large = shape_wanted(VNFD, small, ScaleVnfToLevelRequest(instantiation_level_id="large"))
    added = set(large.missing(there))
    assert added == {
        *(Slot("worker", number, where) for number in (2, 3) for where in ("dc-1", "dc-2")),
        Slot("store", 2, "dc-1"),
    }
    assert large.superfluous(there) == []
    gone = {(m.vdu_id, m.number) for m in small.superfluous(members(large))}
    assert gone == {("worker", 2), ("worker", 3), ("store", 2)}


def test_members_that_went_otherwise_are_made_anew() -> None:
    small = shape()
    left = [member for member in members(small) if member.vdu_id != "store"]
    out = shape_after(VNFD, small, ScaleVnfRequest(type="SCALE_OUT", aspect_id="work"))
    assert set(out.missing(left)) == {Slot("store", 1, "dc-1"), Slot("worker", 2, "dc-1")}


def test_up_here_and_down_there_at_once() -> None:
    at = shape_wanted(
        VNFD,
        shape(),
        ScaleVnfToLevelRequest(scale_info=[ScaleInfo(aspect_id="work", scale_level=3)]),
    )
    other = shape_wanted(
        VNFD,
        at,
        ScaleVnfToLevelRequest(
            scale_info=[
                ScaleInfo(aspect_id="work", scale_level=0),
                ScaleInfo(aspect_id="keep", scale_level=2),
            ]
        ),
    )
    there = members(at)
    assert other.missing(there) == [Slot("store", number, "dc-1") for number in (2, 3)]
    gone = [(m.vdu_id, m.number) for m in other.superfluous(there)]
    assert gone == [("worker", number) for number in (3, 4, 5)]
    other.check_many(there)


def test_what_is_added_before_others_go_has_to_fit_beside_them() -> None:
    placement = {"head": ["dc-1"], "worker": ["dc-1"], "store": ["dc-1"]}
    full = Shape({"head": 1, "worker": 60, "store": 1}, placement, {}, {})
    other = full.with_instances({"worker": 59, "store": 4}, {})
    assert len(other.slots()) == 64
    with pytest.raises(ScaleRefusedError, match="65 members before"):
        other.check_many(members(full))
    full.with_instances({"worker": 58, "store": 3}, {}).check_many(members(full))
    full.with_instances({"worker": 1}, {}).check_many(members(full))


def test_limits_of_all_members() -> None:
    wide = {vdu.vdu_id: [f"dc-{number}" for number in range(22)] for vdu in VNFD.vdus}
    with pytest.raises(AdditionalParamsError, match="66 members; 64"):
        shape(placement=wide)
    fits = shape(placement={name: where[:21] for name, where in wide.items()})
    with pytest.raises(ScaleRefusedError, match="84 members; 64"):
        shape_after(VNFD, fits, ScaleVnfRequest(type="SCALE_OUT", aspect_id="work"))
    with pytest.raises(ScaleRefusedError, match="No member"):
        fits.with_instances(dict.fromkeys(("head", "worker", "store"), 0), {})


@given(st.text(max_size=70), st.text(min_size=1, max_size=20), st.integers(1, 64))
def test_names_of_members_are_names_of_services(name: str, vdu_id: str, number: int) -> None:
    instance = cast("Any", SimpleNamespace(row=SimpleNamespace(name=name)))
    made = member_name(instance, Slot(vdu_id, number, "dc-1"))
    if made is not None:
        DeploymentRequest(image="i", data_centre="dc-1", name=made)


@given(st.lists(st.tuples(st.sampled_from(["work", "keep"]), st.integers(0, 3)), max_size=8))
def test_whatever_is_scaled_the_members_follow(steps: list[tuple[str, int]]) -> None:
    at = shape()
    there = members(at)
    for aspect_id, level in steps:
        aspect = VNFD.aspect(aspect_id)
        assert aspect is not None
        info = [ScaleInfo(aspect_id=aspect_id, scale_level=min(level, aspect.max_level))]
        at = shape_wanted(VNFD, at, ScaleVnfToLevelRequest(scale_info=info))
        leaving = at.superfluous(there)
        there = [member for member in there if member not in leaving]
        there += [
            Member(each.vdu_id, each.number, cast("Any", SimpleNamespace(data_centre="dc-1")))
            for each in at.missing(there)
        ]
        assert sorted((m.vdu_id, m.number) for m in there) == sorted(
            (slot.vdu_id, slot.number) for slot in at.slots()
        )
    assert Shape.from_stored(at.stored()) == at
