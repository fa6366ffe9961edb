"""Which levels of the scaling aspects a request asks for."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.sol003.documents import ScaleVnfRequest, ScaleVnfToLevelRequest
from orchestrator.sol003.errors import MalformedRequestError, ScaleRefusedError
from orchestrator.sol003.onboarding.vnfd import ScalingAspect, Vnfd


def levels_after(vnfd: Vnfd, levels: Mapping[str, int], wanted: ScaleVnfRequest) -> dict[str, int]:
    """Raises MalformedRequestError or ScaleRefusedError."""
    aspect = _aspect(vnfd, wanted.aspect_id)
    steps = wanted.number_of_steps if wanted.type == "SCALE_OUT" else -wanted.number_of_steps
    level = levels.get(aspect.aspect_id, 0) + steps
    _check(aspect, level, levels.get(aspect.aspect_id, 0))
    return {**levels, aspect.aspect_id: level}


def levels_wanted(
    vnfd: Vnfd, levels: Mapping[str, int], wanted: ScaleVnfToLevelRequest
) -> dict[str, int]:
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
        return dict(level.scale_levels)
    found = dict(levels)
    for each in wanted.scale_info or ():
        aspect = _aspect(vnfd, each.aspect_id)
        _check(aspect, each.scale_level, levels.get(aspect.aspect_id, 0))
        found[aspect.aspect_id] = each.scale_level
    return found


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
