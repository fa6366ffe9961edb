"""What we use of a VNFD (ETSI GS NFV-SOL 001): one VNF of one flavour, its VDUs, how it scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

DEFAULT_LEVEL = "default"
"""The instantiation level of a VNFD that names none."""


@dataclass(frozen=True)
class Vdu:
    """A part of the VNF: a virtual machine or a container, with its image."""

    vdu_id: str
    image_id: str
    image_name: str
    image_version: str
    image_file: str
    """Its path in the package."""
    image_checksum: tuple[str, str] | None = None
    """Algorithm and hash, as the VNFD says them."""
    memory_mib: int | None = None
    cpus: float | None = None
    min_instances: int = 1
    max_instances: int = 1


@dataclass(frozen=True)
class ScalingAspect:
    aspect_id: str
    name: str
    max_level: int
    steps: dict[str, tuple[int, ...]]
    """By VDU how many instances each step to the next level adds; as many steps as levels."""


@dataclass(frozen=True)
class InstantiationLevel:
    level_id: str
    scale_levels: dict[str, int]
    """By scaling aspect."""
    instances: dict[str, int]
    """By VDU."""


@dataclass(frozen=True)
class Vnfd:
    descriptor_id: UUID
    provider: str
    product_name: str
    software_version: str
    descriptor_version: str
    flavour_id: str
    vdus: tuple[Vdu, ...]
    aspects: tuple[ScalingAspect, ...] = ()
    initial: dict[str, int] = field(default_factory=dict)
    """By VDU that an aspect scales, its instances where all aspects are at level 0."""
    levels: tuple[InstantiationLevel, ...] = ()
    default_level: str = DEFAULT_LEVEL

    def vdu(self, vdu_id: str) -> Vdu:
        return next(each for each in self.vdus if each.vdu_id == vdu_id)

    def level(self, level_id: str | None) -> InstantiationLevel | None:
        """The default one of None; None if there is no such level."""
        if not self.levels and level_id in (None, DEFAULT_LEVEL):
            instances = {vdu.vdu_id: max(1, vdu.min_instances) for vdu in self.vdus}
            return InstantiationLevel(
                DEFAULT_LEVEL,
                {aspect.aspect_id: 0 for aspect in self.aspects},
                {**instances, **self.initial},
            )
        wanted = self.default_level if level_id is None else level_id
        return next((each for each in self.levels if each.level_id == wanted), None)

    def aspect(self, aspect_id: str) -> ScalingAspect | None:
        return next((each for each in self.aspects if each.aspect_id == aspect_id), None)

    def instances_at(self, scale_levels: Mapping[str, int]) -> dict[str, int]:
        """By VDU that an aspect scales, its instances at these levels of the aspects."""
        found = dict(self.initial)
        for aspect in self.aspects:
            for vdu_id, steps in aspect.steps.items():
                found[vdu_id] += sum(steps[: scale_levels.get(aspect.aspect_id, 0)])
        return found

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "descriptor_id": str(self.descriptor_id)}

    @classmethod
    def from_stored(cls, told: dict[str, Any]) -> Vnfd:
        if "vdus" not in told:  # stored when there was one VDU a VNFD
            named = {"descriptor_id", *_NAMES}
            vdu = {name: value for name, value in told.items() if name not in named}
            told = {**{name: told[name] for name in named}, "vdus": [vdu]}
        return cls(
            **{
                **told,
                "descriptor_id": UUID(told["descriptor_id"]),
                "vdus": tuple(_vdu(each) for each in told["vdus"]),
                "aspects": tuple(_aspect(each) for each in told.get("aspects", ())),
                "levels": tuple(InstantiationLevel(**each) for each in told.get("levels", ())),
            }
        )


_NAMES = ("provider", "product_name", "software_version", "descriptor_version", "flavour_id")


def _vdu(told: dict[str, Any]) -> Vdu:
    checksum = told["image_checksum"]
    return Vdu(**{**told, "image_checksum": tuple(checksum) if checksum else None})


def _aspect(told: dict[str, Any]) -> ScalingAspect:
    return ScalingAspect(
        **{**told, "steps": {vdu: tuple(steps) for vdu, steps in told["steps"].items()}}
    )
