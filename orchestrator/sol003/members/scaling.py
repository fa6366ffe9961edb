"""What a VNF would be, as a request to scale it says."""

from __future__ import annotations

from orchestrator.sol003.documents import ScaleVnfRequest, ScaleVnfToLevelRequest
from orchestrator.sol003.errors import MalformedRequestError, ScaleRefusedError
from orchestrator.sol003.members.shape import Shape
from orchestrator.sol003.onboarding.vnfd import ScalingAspect, Vnfd


def shape_after(vnfd: Vnfd, shape: Shape, wanted: ScaleVnfRequest) -> Shape:
    """Raises MalformedRequestError or ScaleRefusedError."""
    aspect = _aspect(vnfd, wanted.aspect_id)
    steps = wanted.number_of_steps if wanted.type == "SCALE_OUT" else -wanted.number_of_steps
    present = shape.scale_levels.get(aspect.aspect_id, 0)
    _check(aspect, present + steps, present)
    return shape.at_levels(vnfd, {**shape.scale_levels, aspect.aspect_id: present + steps})


def shape_wanted(vnfd: Vnfd, shape: Shape, wanted: ScaleVnfToLevelRequest) -> Shape:
    """Aspects that are not named stay as they are. Raises MalformedRequestError or
    ScaleRefusedError."""
    if wanted.instantiation_level_id is not None:
        level = vnfd.level(wanted.instantiation_level_id)
        if level is None:
            known = ", ".join(each.level_id for each in vnfd.levels) or "default"
            raise MalformedRequestError(
                f"instantiationLevelId: the VNFD has no level {wanted.instantiation_level_id}.",
                next_step=f"Use {known}.",
            )
        return shape.at_level(level)
    found = dict(shape.scale_levels)
    for each in wanted.scale_info or ():
        aspect = _aspect(vnfd, each.aspect_id)
        _check(aspect, each.scale_level, found.get(aspect.aspect_id, 0))
        found[aspect.aspect_id] = each.scale_level
    return shape.at_levels(vnfd, found)


def _aspect(vnfd: Vnfd, aspect_id: str) -> ScalingAspect:
    aspect = vnfd.aspect(aspect_id)
    if aspect is None:
        known = ", ".join(each.aspect_id for each in vnfd.aspects)
        raise MalformedRequestError(
            f"aspectId: the VNFD has no scaling aspect {aspect_id}.", next_step=f"Use {known}."
        )
    return aspect


def _check(aspect: ScalingAspect, level: int, present: int) -> None:
    if not 0 <= level <= aspect.max_level:
        raise ScaleRefusedError(
            f"{aspect.aspect_id} is at level {present} and would be at {level}; there are 0 to "
            f"{aspect.max_level}.",
            next_step="Scale by fewer steps.",
            present_level=present,
            max_level=aspect.max_level,
        )
