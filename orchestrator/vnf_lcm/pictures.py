"""Draws the state machines of `docs/lifecycle.md` from the tables.

    python -m orchestrator.vnf_lcm.pictures docs/lifecycle.md

rewrites what stands between `<!-- drawn: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.vnf_lcm.states import (
    BUSY_WITH,
    CHANGES,
    DEPLOYMENT_ACTIONS,
    DEPLOYMENT_MEANING,
    ENDED,
    OPERATION_MEANING,
    STEP_MEANING,
    TRANSITIONS,
    DeploymentState,
    OperationAction,
    OperationKind,
    OperationState,
    allowed_actions,
)
from orchestrator.vnf_lcm.steps import (
    HEAL,
    HEAL_IN_PLACE,
    INSTANTIATE,
    OPERATE,
    TERMINATE,
    TERMINATE_GRACEFULLY,
)

_DRAWN = re.compile(r"(?<=<!-- drawn: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def draw(page: str) -> str:
    """The page with every picture drawn anew. KeyError if it asks for one that there is not."""
    return _DRAWN.sub(lambda match: f"{match[1]}{match[2]}{_PICTURES[match[1]]()}", page)


def _operation_picture() -> str:
    ways: dict[tuple[OperationState, OperationState], list[str]] = {}
    for way in TRANSITIONS:
        ways.setdefault((way.source, way.target), []).append(way.cause)
    edges = [("[*]", OperationState.STARTING.value, "asked for")]
    edges += [(source, target, ", or ".join(causes)) for (source, target), causes in ways.items()]
    edges += [(state.value, "[*]", "") for state in ENDED]
    return _diagram(edges)


def _deployment_picture() -> str:
    deploying = DeploymentState.DEPLOYING
    edges: list[tuple[str, str, str]] = [
        ("[*]", deploying, "deploy"),
        (deploying, DeploymentState.RUNNING, "completed"),
        (deploying, DeploymentState.FAILED, "rolled back, or given up"),
    ]
    for state, actions in DEPLOYMENT_ACTIONS.items():
        asked: dict[DeploymentState, list[str]] = {}
        for action in actions:
            asked.setdefault(BUSY_WITH[CHANGES[action].kind], []).append(action)
        edges += [(state, busy, ", ".join(actions)) for busy, actions in asked.items()]
    for action, change in CHANGES.items():
        edges.append((BUSY_WITH[change.kind], change.target, f"{action} completed"))
    edges.append((DeploymentState.REMOVED, "[*]", ""))
    return _diagram(edges)


def _diagram(edges: Iterable[tuple[str, str, str]]) -> str:
    lines = [
        f"    {source} --> {target}" + (f": {label}" if label else "")
        for source, target, label in edges
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _meanings(meaning: Mapping[Any, str]) -> str:
    rows = [f"| `{state}` | {text} |" for state, text in meaning.items()]
    return "\n".join(["| state | meaning |", "|---|---|", *rows, ""])


def _action_table() -> str:
    head = f"| state | {' | '.join(OperationAction)} |"
    rows = [
        f"| `{state}` | "
        + " | ".join("yes" if a in allowed_actions(state) else "409" for a in OperationAction)
        + " |"
        for state in OperationState
    ]
    return "\n".join([head, "|---" * (len(OperationAction) + 1) + "|", *rows, ""])


def _kind_table() -> str:
    steps: dict[OperationKind, list[Sequence[str]]] = {
        OperationKind.INSTANTIATE: [INSTANTIATE],
        OperationKind.OPERATE: list(OPERATE.values()),
        OperationKind.HEAL: [HEAL_IN_PLACE, HEAL],
        OperationKind.TERMINATE: [TERMINATE, TERMINATE_GRACEFULLY],
    }
    rows = [
        f"| `{kind}` | `{BUSY_WITH[kind]}` | {'; or '.join(', '.join(s) for s in steps[kind])} |"
        for kind in OperationKind
    ]
    head = "| kind | deployment meanwhile | steps |"
    return "\n".join([head, "|---|---|---|", *rows, ""])


_PICTURES: dict[str, Callable[[], str]] = {
    "operation": _operation_picture,
    "operation-meaning": lambda: _meanings(OPERATION_MEANING),
    "operation-actions": _action_table,
    "operation-kinds": _kind_table,
    "step-meaning": lambda: _meanings(STEP_MEANING),
    "deployment": _deployment_picture,
    "deployment-meaning": lambda: _meanings(DEPLOYMENT_MEANING),
}


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(draw(file.read_text("utf-8")), "utf-8")
