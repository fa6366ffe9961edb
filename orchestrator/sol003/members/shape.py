"""How many members of a VNF are where, and what they are deployed with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from orchestrator.sol003.errors import AdditionalParamsError, ScaleRefusedError
from orchestrator.sol003.onboarding.vnfd import InstantiationLevel, Vnfd
from orchestrator.store.tables import DeploymentRow

MEMBERS_MAX = 64
"""Of one VNF instance, also while it is scaled."""


@dataclass(frozen=True)
class Member:
    vdu_id: str
    number: int
    """Counted in its VDU and data centre, from 1."""
    deployment: DeploymentRow


@dataclass(frozen=True)
class Slot:
    """Where a member is or shall be."""

    vdu_id: str
    number: int
    data_centre: str


@dataclass(frozen=True)
class Shape:
    """What a VNF of several members is once its occurrence is COMPLETED."""

    instances: dict[str, int]
    """By VDU, in each of its data centres."""
    placement: dict[str, list[str]]
    """By VDU its data centres."""
    scale_levels: dict[str, int]
    """By scaling aspect; empty where nothing can be scaled."""
    request: dict[str, Any]
    """What else each member was asked with: cipher, sizes and so on."""

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_stored(cls, told: dict[str, Any]) -> Shape:
        return cls(**told)

    def slots(self) -> list[Slot]:
        """All members that there shall be."""
        return [
            Slot(vdu_id, number, data_centre)
            for vdu_id, count in self.instances.items()
            for number in range(1, count + 1)
            for data_centre in self.placement[vdu_id]
        ]

    def missing(self, members: Iterable[Member]) -> list[Slot]:
        """Members that shall be there and are not."""
        there = {slot_of(member) for member in members}
        return [slot for slot in self.slots() if slot not in there]

    def superfluous(self, members: Iterable[Member]) -> list[Member]:
        """Members that shall go: those with the highest numbers, which came last."""
        wanted = set(self.slots())
        return [member for member in members if slot_of(member) not in wanted]

    def check_many(self, members: Collection[Member]) -> None:
        """What is added is there before anything else goes. Raises ScaleRefusedError where that
        would be too many at once."""
        many = len(members) + len(self.missing(members))
        if many > MEMBERS_MAX:
            raise ScaleRefusedError(
                f"The VNF would have {many} members before those that go are removed; "
                f"{MEMBERS_MAX} are the most.",
                next_step="Scale in first, then out (POST .../scale).",
            )

    def at_levels(self, vnfd: Vnfd, scale_levels: Mapping[str, int]) -> Shape:
        """VDUs that no aspect scales stay as they are. Raises ScaleRefusedError where that would
        be too many members, or none."""
        return self.with_instances(vnfd.instances_at(scale_levels), scale_levels)

    def at_level(self, level: InstantiationLevel) -> Shape:
        """Raises as `at_levels`."""
        return self.with_instances(level.instances, level.scale_levels)

    def with_instances(
        self, instances: Mapping[str, int], scale_levels: Mapping[str, int]
    ) -> Shape:
        scaled = replace(
            self,
            instances={**self.instances, **instances},
            scale_levels=dict(scale_levels),
        )
        if not scaled.slots():
            raise ScaleRefusedError(
                "No member of the VNF would be left.", next_step="Terminate it instead."
            )
        if (many := len(scaled.slots())) > MEMBERS_MAX:
            raise ScaleRefusedError(
                f"The VNF would have {many} members; {MEMBERS_MAX} are the most.",
                next_step="Scale out less.",
            )
        return scaled


def slot_of(member: Member) -> Slot:
    return Slot(member.vdu_id, member.number, member.deployment.data_centre)


def first_shape(
    vnfd: Vnfd, level: InstantiationLevel, placement: dict[str, list[str]], request: dict[str, Any]
) -> Shape:
    """Raises AdditionalParamsError where it is too large."""
    shape = Shape(
        {vdu.vdu_id: level.instances[vdu.vdu_id] for vdu in vnfd.vdus},
        placement,
        level.scale_levels,
        request,
    )
    many = len(shape.slots())
    if many > MEMBERS_MAX:
        raise AdditionalParamsError(
            f"The VNF would have {many} members; {MEMBERS_MAX} are the most.",
            next_step="Choose a smaller instantiation level or fewer data centres.",
        )
    return shape


def placement_of(params: dict[str, Any], vnfd: Vnfd) -> dict[str, list[str]]:
    """By VDU its data centres, as `data_centre` or `data_centres` say. Raises
    AdditionalParamsError."""
    one, several = params.get("data_centre"), params.get("data_centres")
    if (one is None) == (several is None):
        raise _misplaced("one of data_centre and data_centres must be there", "data_centre")
    known = [vdu.vdu_id for vdu in vnfd.vdus]
    if one is not None:
        return {vdu_id: _names(one, "data_centre", one_only=True) for vdu_id in known}
    if not isinstance(several, dict):
        return {vdu_id: _names(several, "data_centres") for vdu_id in known}
    if set(several) != set(known):
        raise _misplaced(f"must name each of {', '.join(known)} and nothing else", "data_centres")
    return {vdu_id: _names(several[vdu_id], f"data_centres.{vdu_id}") for vdu_id in known}


def _names(said: Any, where: str, *, one_only: bool = False) -> list[str]:
    names = [said] if isinstance(said, str) else said
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and 0 < len(name) <= 64 for name in names)
        or len(set(names)) < len(names)
        or (one_only and not isinstance(said, str))
    ):
        raise _misplaced(
            "is no name of a data centre"
            if one_only
            else "is no name of a data centre and no list of different ones",
            where,
        )
    return list(names)


def _misplaced(why: str, where: str) -> AdditionalParamsError:
    where = f"additionalParams.{where}"
    return AdditionalParamsError(
        f"{where}: {why}.",
        next_step="Correct the named parameters; docs/sol003.md has their meaning.",
        faults=[{"where": where, "why": why}],
    )
