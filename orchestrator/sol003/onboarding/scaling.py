"""How a VNF scales: policies of ETSI GS NFV-SOL 001, as far as they are of VDUs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.sol003.onboarding.archive import refused
from orchestrator.sol003.onboarding.definitions import Definitions, NodeTemplate, mapping_at
from orchestrator.sol003.onboarding.vdus import count, short_text
from orchestrator.sol003.onboarding.vnfd import (
    DEFAULT_LEVEL,
    InstantiationLevel,
    ScalingAspect,
    Vdu,
)

_POLICIES = "tosca.policies.nfv."
_LEVEL_MAX = 64
_ASPECTS_MAX, _LEVELS_MAX = 16, 64


def read_scaling(definitions: Definitions, vdus: Sequence[Vdu]) -> dict[str, Any]:
    """Aspects, initial numbers and levels, as of `Vnfd`. Raises PackageRefusedError."""
    known = {vdu.vdu_id: vdu for vdu in vdus}
    aspects = _aspects(definitions, known)
    scaled = {vdu_id for aspect in aspects for vdu_id in aspect.steps}
    initial = {vdu_id: max(1, known[vdu_id].min_instances) for vdu_id in sorted(scaled)} | _initial(
        definitions, known, scaled
    )
    _check_limits(definitions, known, aspects, initial)
    levels, default_level = _levels(definitions, known, aspects, initial)
    at_first = {vdu.vdu_id: max(1, vdu.min_instances) for vdu in vdus} | initial
    if not levels and not any(at_first.values()):
        raise refused(f"{definitions.files[0]}: the VNF has no instance of any VDU at first.")
    return {
        "aspects": tuple(aspects),
        "initial": initial,
        "levels": tuple(levels),
        "default_level": default_level,
    }


def _aspects(definitions: Definitions, known: dict[str, Vdu]) -> list[ScalingAspect]:
    described: dict[str, tuple[NodeTemplate, dict[str, Any]]] = {}
    for policy in _of(definitions, "ScalingAspects"):
        for name, body in mapping_at(policy.body, "properties", "aspects").items():
            aspect_id = short_text(name, policy.file, "a scaling aspect's name")
            if aspect_id in described:
                raise refused(f"{policy.file}: the scaling aspect {aspect_id} is there twice.")
            described[aspect_id] = (policy, body if isinstance(body, dict) else {})
    if len(described) > _ASPECTS_MAX:
        raise refused(f"The VNFD has {len(described)} scaling aspects; {_ASPECTS_MAX} are read.")
    steps: dict[str, dict[str, tuple[int, ...]]] = {name: {} for name in described}
    for policy in _of(definitions, "VduScalingAspectDeltas"):
        properties = mapping_at(policy.body, "properties")
        aspect_id = str(properties.get("aspect"))
        if aspect_id not in described:
            raise refused(f"{policy.file}: {policy.name} is of the unknown aspect {aspect_id!r}.")
        added = _steps(policy, *described[aspect_id], properties)
        for vdu_id in _targets(policy, known):
            if steps[aspect_id].setdefault(vdu_id, added) != added:
                raise refused(f"{policy.file}: {aspect_id} scales {vdu_id} in two ways.")
    for aspect_id, by_vdu in steps.items():
        if not by_vdu:
            raise refused(
                f"{described[aspect_id][0].file}: the scaling aspect {aspect_id} scales no VDU.",
                f"Say by {_POLICIES}VduScalingAspectDeltas what a step adds.",
            )
    return [
        ScalingAspect(
            aspect_id,
            short_text(body.get("name") or aspect_id, policy.file, "a scaling aspect's name"),
            _max_level(policy, aspect_id, body),
            steps[aspect_id],
        )
        for aspect_id, (policy, body) in described.items()
    ]


def _max_level(policy: NodeTemplate, aspect_id: str, body: dict[str, Any]) -> int:
    level = body.get("max_scale_level")
    if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= _LEVEL_MAX:
        raise refused(
            f"{policy.file}: max_scale_level {level!r} of {aspect_id} is no number up to "
            f"{_LEVEL_MAX}."
        )
    return level


def _steps(
    policy: NodeTemplate, of: NodeTemplate, aspect: dict[str, Any], properties: dict[str, Any]
) -> tuple[int, ...]:
    """How many instances each step adds: one delta for every step, or one a step."""
    deltas = mapping_at(properties, "deltas")
    named = aspect.get("step_deltas") or list(deltas)[:1]
    most = _max_level(of, str(properties.get("aspect")), aspect)
    if not isinstance(named, list) or len(named) not in (1, most):
        raise refused(
            f"{of.file}: {of.name} has {len(named)} step_deltas for {most} levels: give one, or "
            "one a level."
        )
    missing = [str(each) for each in named if str(each) not in deltas]
    if missing:
        raise refused(f"{policy.file}: {policy.name} does not say the delta {missing[0]}.")
    found = [
        count(
            mapping_at(deltas, str(each)).get("number_of_instances"), policy, "number_of_instances"
        )
        for each in named
    ]
    return tuple(found * most if len(found) == 1 else found)


def _initial(definitions: Definitions, known: dict[str, Vdu], scaled: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for policy in _of(definitions, "VduInitialDelta"):
        delta = mapping_at(policy.body, "properties", "initial_delta")
        number = count(delta.get("number_of_instances"), policy, "number_of_instances")
        for vdu_id in _targets(policy, known):
            if found.setdefault(vdu_id, number) != number:
                raise refused(f"{policy.file}: {vdu_id} has two initial deltas.")
    return {vdu_id: number for vdu_id, number in found.items() if vdu_id in scaled}


def _check_limits(
    definitions: Definitions,
    known: dict[str, Vdu],
    aspects: Iterable[ScalingAspect],
    initial: dict[str, int],
) -> None:
    most = dict(initial)
    for aspect in aspects:
        for vdu_id, steps in aspect.steps.items():
            most[vdu_id] += sum(steps)
    for vdu_id, fewest in initial.items():
        vdu = known[vdu_id]
        if fewest < vdu.min_instances or most[vdu_id] > vdu.max_instances:
            raise refused(
                f"{definitions.files[0]}: {vdu_id} scales from {fewest} to {most[vdu_id]} "
                f"instances; its vdu_profile allows {vdu.min_instances} to {vdu.max_instances}."
            )


def _levels(
    definitions: Definitions,
    known: dict[str, Vdu],
    aspects: list[ScalingAspect],
    initial: dict[str, int],
) -> tuple[list[InstantiationLevel], str]:
    described: dict[str, tuple[NodeTemplate, dict[str, Any]]] = {}
    default: Any = None
    for policy in _of(definitions, "InstantiationLevels"):
        properties = mapping_at(policy.body, "properties")
        default = properties.get("default_level") or default
        for name, body in mapping_at(properties, "levels").items():
            level_id = short_text(name, policy.file, "an instantiation level's name")
            described[level_id] = (policy, body if isinstance(body, dict) else {})
    numbers = _numbers(definitions, known, described)
    if not described:
        return [], DEFAULT_LEVEL
    if len(described) > _LEVELS_MAX:
        raise refused(
            f"The VNFD has {len(described)} instantiation levels; {_LEVELS_MAX} are read."
        )
    if default is None and len(described) == 1:
        default = next(iter(described))
    if default not in described:
        raise refused(
            f"{definitions.files[0]}: the default_level is {default!r}, which is none of "
            f"{', '.join(described)}."
        )
    return [
        _level(level_id, policy, _scale_levels(policy, level_id, body, aspects), known,
               numbers.get(level_id, {}), aspects, initial)
        for level_id, (policy, body) in described.items()
    ], str(default)  # fmt: skip


def _numbers(
    definitions: Definitions, known: dict[str, Vdu], described: dict[str, Any]
) -> dict[str, dict[str, int]]:
    """By level and VDU what `VduInstantiationLevels` say."""
    found: dict[str, dict[str, int]] = {}
    for policy in _of(definitions, "VduInstantiationLevels"):
        for name, body in mapping_at(policy.body, "properties", "levels").items():
            if name not in described:
                raise refused(f"{policy.file}: {policy.name} is of the unknown level {name!r}.")
            number = mapping_at({"x": body}, "x").get("number_of_instances")
            for vdu_id in _targets(policy, known):
                found.setdefault(name, {})[vdu_id] = count(number, policy, "number_of_instances")
    return found


def _scale_levels(
    policy: NodeTemplate, level_id: str, body: dict[str, Any], aspects: list[ScalingAspect]
) -> dict[str, int]:
    info = mapping_at(body, "scale_info")
    found = {aspect.aspect_id: 0 for aspect in aspects}
    highest = {aspect.aspect_id: aspect.max_level for aspect in aspects}
    for name, said in info.items():
        level = said.get("scale_level") if isinstance(said, dict) else said
        if name not in found:
            raise refused(f"{policy.file}: {level_id} is of the unknown scaling aspect {name!r}.")
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= highest[name]:
            raise refused(
                f"{policy.file}: scale_level {level!r} of {name} in {level_id} is no number up to "
                f"{highest[name]}."
            )
        found[name] = level
    return found


def _level(
    level_id: str,
    policy: NodeTemplate,
    scale_levels: dict[str, int],
    known: dict[str, Vdu],
    numbers: dict[str, int],
    aspects: list[ScalingAspect],
    initial: dict[str, int],
) -> InstantiationLevel:
    by_scale = dict(initial)
    for aspect in aspects:
        for vdu_id, steps in aspect.steps.items():
            by_scale[vdu_id] += sum(steps[: scale_levels[aspect.aspect_id]])
    instances = {}
    for vdu_id, vdu in known.items():
        number = numbers.get(vdu_id, by_scale.get(vdu_id, max(1, vdu.min_instances)))
        if number != by_scale.get(vdu_id, number):
            raise refused(
                f"{policy.file}: {level_id} has {number} instances of {vdu_id}; by its scale_info "
                f"they are {by_scale[vdu_id]}."
            )
        if not vdu.min_instances <= number <= vdu.max_instances:
            raise refused(
                f"{policy.file}: {level_id} has {number} instances of {vdu_id}; its vdu_profile "
                f"allows {vdu.min_instances} to {vdu.max_instances}."
            )
        instances[vdu_id] = number
    if not any(instances.values()):
        raise refused(f"{policy.file}: {level_id} has no instance of any VDU.")
    return InstantiationLevel(level_id, scale_levels, instances)


def _of(definitions: Definitions, kind: str) -> list[NodeTemplate]:
    return [each for each in definitions.policies if each.body["type"] == f"{_POLICIES}{kind}"]


def _targets(policy: NodeTemplate, known: dict[str, Vdu]) -> list[str]:
    targets = policy.body.get("targets")
    if not isinstance(targets, list) or not targets:
        raise refused(f"{policy.file}: {policy.name} has no targets.")
    strange = [str(each) for each in targets if each not in known]
    if strange:
        raise refused(f"{policy.file}: {policy.name} is of {strange[0]}, which is no VDU.")
    return [str(each) for each in targets]
