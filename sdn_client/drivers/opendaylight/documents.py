"""OpenDaylight's documents: what is sent and what comes back. No sockets.

Node ids are `openflow:<datapath id, decimal>`, connectors `openflow:<datapath id>:<port>`. Only
what is needed is read; whatever else an answer holds is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from sdn_client.drivers.opendaylight.restconf import Answer
from sdn_client.errors import MalformedAnswer
from sdn_client.topology import CrossConnect

_PORT = re.compile(r"(?:openflow:\d{1,20}:)?(\d{1,10})")
_DEVICE_ERROR = re.compile(r"Device reported error type (\w+) code (\w+)")
_REASONS = {
    ("FLOWMODFAILED", "OVERLAP"): "a port is in use on the switch",
    ("FLOWMODFAILED", "EPERM"): "the ports are of two partitions or of two kinds of light",
    ("FLOWMODFAILED", "TABLEFULL"): "the switch's table is full",
    ("FLOWMODFAILED", "UNKNOWN"): "the device refused",
    ("BADACTION", "BADOUTPORT"): "the switch has no such port",
    ("BADACTION", "BADARGUMENT"): "the ports do not fit together",
}


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Text = Annotated[str, Field(max_length=4096)]


# --- the inventory


class _State(_Document):
    link_down: bool = Field(default=False, alias="link-down")


class _Connector(_Document):
    id: Text
    state: _State = Field(
        default_factory=_State, validation_alias=AliasChoices("flow-node-inventory:state", "state")
    )
    configuration: Text = Field(
        default="",
        validation_alias=AliasChoices("flow-node-inventory:configuration", "configuration"),
    )


class _Node(_Document):
    id: Text
    connection: int | None = Field(
        default=None,
        validation_alias=AliasChoices("flow-node-inventory:port-number", "port-number"),
    )
    connectors: tuple[_Connector, ...] = Field(default=(), alias="node-connector")


class _Nodes(_Document):
    nodes: tuple[_Node, ...] = Field(default=(), alias="node")


class _Inventory(_Document):
    inventory: _Nodes = Field(default_factory=_Nodes, alias="opendaylight-inventory:nodes")


@dataclass(frozen=True)
class NodeSeen:
    """One switch as OpenDaylight reports it. `connection` changes with every new connection."""

    connection: int | None
    ports: frozenset[int]
    ports_down: frozenset[int]
    ports_dark: frozenset[int]


INVENTORY = (
    "/rests/data/opendaylight-inventory:nodes?content=nonconfig&fields=node(id;"
    "flow-node-inventory:port-number;node-connector(id;flow-node-inventory:state;"
    "flow-node-inventory:configuration))"
)
_EMPTY = 409  # RESTCONF's data-missing


def read_inventory(answer: Answer) -> dict[str, NodeSeen]:
    """The connected switches by node id. Raises MalformedAnswer."""
    if answer.status == _EMPTY:
        return {}
    _expect_success(answer, "the inventory")
    return {node.id: _seen(node) for node in answer.read(_Inventory).inventory.nodes}


def _seen(node: _Node) -> NodeSeen:
    prefix = f"{node.id}:"
    by_port: dict[int, _Connector] = {}
    for connector in node.connectors:
        number = connector.id.removeprefix(prefix)
        if number.isascii() and number.isdigit() and len(number) <= 10:  # not `LOCAL`
            by_port[int(number)] = connector
    down = {p for p, c in by_port.items() if "PORT-DOWN" in c.configuration.upper()}
    dark = {p for p, c in by_port.items() if c.state.link_down}
    return NodeSeen(node.connection, frozenset(by_port), frozenset(down), frozenset(dark - down))


# --- the config datastore


class _ConfigFlow(_Document):
    id: Text
    match: dict[str, Any] = Field(default_factory=dict)


class _ConfigTable(_Document):
    id: int
    flows: tuple[_ConfigFlow, ...] = Field(default=(), alias="flow")


class _ConfigNode(_Document):
    id: Text
    tables: tuple[_ConfigTable, ...] = Field(
        default=(), validation_alias=AliasChoices("flow-node-inventory:table", "table")
    )


class _ConfigNodes(_Document):
    nodes: tuple[_ConfigNode, ...] = Field(default=(), alias="node")


class _Config(_Document):
    inventory: _ConfigNodes = Field(
        default_factory=_ConfigNodes, alias="opendaylight-inventory:nodes"
    )


CONFIG = "/rests/data/opendaylight-inventory:nodes?content=config"


def config_node(node_id: str) -> str:
    """The path of one node in the config datastore."""
    return f"/rests/data/opendaylight-inventory:nodes/node={node_id.replace(':', '%3A')}"


def nodes_with_config_flows(answer: Answer) -> dict[str, int]:
    """How many flows each node has in the config datastore. Raises MalformedAnswer."""
    if answer.status == _EMPTY:
        return {}
    _expect_success(answer, "the config datastore")
    found = {
        node.id: sum(len(table.flows) for table in node.tables)
        for node in answer.read(_Config).inventory.nodes
    }
    return {node: count for node, count in found.items() if count}


# --- flows


class _Output(_Document):
    connector: Text = Field(alias="output-node-connector")


class _Action(_Document):
    output: _Output | None = Field(default=None, alias="output-action")


class _Actions(_Document):
    actions: tuple[_Action, ...] = Field(default=(), alias="action")


class _Instruction(_Document):
    apply: _Actions | None = Field(default=None, alias="apply-actions")


class _Instructions(_Document):
    instructions: tuple[_Instruction, ...] = Field(default=(), alias="instruction")


class _Match(_Document):
    model_config = ConfigDict(extra="forbid", frozen=True)

    in_port: Text = Field(alias="in-port")


class _Flow(_Document):
    priority: int = Field(default=0, ge=0, le=65535)
    match: _Match
    instructions: _Instructions


class _FlowList(_Document):
    flows: tuple[_Flow, ...] = Field(default=(), alias="flow-and-statistics-map-list")


class _Statistics(_Document):
    output: _FlowList = Field(
        default_factory=_FlowList, alias="opendaylight-direct-statistics:output"
    )


@dataclass(frozen=True)
class FlowSeen:
    """One flow of a switch's own table."""

    cross_connect: CrossConnect
    in_port: int
    out_port: int
    priority: int


def read_statistics(answer: Answer, chassis: str) -> tuple[FlowSeen, ...]:
    """A switch's own table. Raises MalformedAnswer, also for a flow that is no cross-connect."""
    seen = []
    for flow in answer.read(_Statistics).output.flows:
        outputs = [
            action.output
            for instruction in flow.instructions.instructions
            for action in (instruction.apply.actions if instruction.apply else ())
        ]
        output = outputs[0] if len(outputs) == 1 else None
        if output is None:
            raise MalformedAnswer(
                f"{chassis} holds a flow with {len(outputs)} actions, which is no cross-connect.",
                next_step="Remove it on the switch; this network is programmed by qnfv alone.",
            )
        a, b = _port_number(flow.match.in_port), _port_number(output.connector)
        seen.append(FlowSeen(CrossConnect(chassis, a, b), a, b, flow.priority))
    return tuple(seen)


def _port_number(text: str) -> int:
    found = _PORT.fullmatch(text)
    if found is None:
        raise MalformedAnswer(
            f"OpenDaylight names a port {text!r}.",
            next_step="See whether its version is a known one.",
        )
    return int(found[1])


def node_reference(node_id: str) -> str:
    return (
        "/opendaylight-inventory:nodes/opendaylight-inventory:node"
        f"[opendaylight-inventory:id='{node_id}']"
    )


def statistics_input(node_id: str) -> dict[str, Any]:
    return {"node": node_reference(node_id), "store-stats": False}


# In one process-flat-batch the steps are done in the order of OpenDaylight's own map of them, which
# is not that of the numbers. With these two numbers what is removed comes first (measured with
# openflowplugin 0.17.3). Were it otherwise, a port would still be in use when it is asked for; the
# driver then asks again.
_REMOVE_STEP, _ADD_STEP = 1, 0


def batch_input(
    node_id: str,
    remove: Sequence[FlowSeen],
    add: Iterable[CrossConnect],
    priority: int,
    *,
    both_directions: bool = False,
) -> dict[str, Any]:
    """Input of `sal-flat-batch:process-flat-batch`: `remove`, then `add`, without waiting."""
    steps: list[dict[str, Any]] = []
    if remove:
        gone = [_flow(node_id, f.in_port, f.out_port, f.priority) for f in remove]
        steps.append({"batch-order": _REMOVE_STEP, "flat-batch-remove-flow": _numbered(gone)})
    made = []
    for x in sorted(add):
        made.append(_flow(node_id, x.in_port, x.out_port, priority))
        if both_directions:
            made.append(_flow(node_id, x.out_port, x.in_port, priority))
    if made:
        steps.append({"batch-order": _ADD_STEP, "flat-batch-add-flow": _numbered(made)})
    return {"node": node_reference(node_id), "batch": steps, "exit-on-first-error": False}


def _numbered(flows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"batch-order": number, **flow} for number, flow in enumerate(flows)]


def _flow(node_id: str, in_port: int, out_port: int, priority: int) -> dict[str, Any]:
    output = {"output-node-connector": str(out_port), "max-length": 0}
    actions = {"action": [{"order": 0, "output-action": output}]}
    return {
        "flow-id": f"{in_port}-{out_port}",
        "table_id": 0,
        "priority": priority,
        "match": {"in-port": f"{node_id}:{in_port}"},
        "instructions": {"instruction": [{"order": 0, "apply-actions": actions}]},
    }


# --- errors


class _Error(_Document):
    tag: Text = Field(default="", alias="error-tag")
    message: Text = Field(default="", alias="error-message")


class _ErrorList(_Document):
    errors: tuple[_Error, ...] = Field(default=(), alias="error")


class _Errors(_Document):
    errors: _ErrorList = Field(default_factory=_ErrorList)


def device_refusals(answer: Answer) -> tuple[str, ...]:
    """Why the switch refused, in words, each reason once; empty when no switch refused."""
    reasons: dict[str, None] = {}
    for error in answer.read(_Errors).errors.errors:
        for kind, code in _DEVICE_ERROR.findall(error.message):
            known = _REASONS.get((kind, code), "no reason known")
            reasons[f"{known} (OpenFlow error {kind}/{code})"] = None
    return tuple(reasons)


def error_text(answer: Answer) -> str:
    """What OpenDaylight says of a failure, on one line."""
    errors = answer.read(_Errors).errors.errors
    said = "; ".join(e.message or e.tag for e in errors)[:500]
    return f"HTTP {answer.status}: {said or 'without a reason'}"


def _expect_success(answer: Answer, what: str) -> None:
    if not answer.is_success:
        raise MalformedAnswer(
            f"OpenDaylight does not show {what}: {error_text(answer)}.",
            next_step="See whether it runs the OpenFlow plugin, and its log.",
        )
