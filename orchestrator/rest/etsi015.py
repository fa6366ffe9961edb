"""ETSI GS QKD 015 over RESTCONF (RFC 8040), read only: `/qkd-nodes/NODE/restconf/data/...`.

The standard's `qkd_node` is the root of one node's datastore. This orchestrator knows all nodes, so
each has a RESTCONF root of its own; the one without a prefix is the orchestrator's own node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from orchestrator.errors import NotFoundError
from orchestrator.network.etsi015 import MODULE, QkdLink, node_ids, qkd_node
from sdn_client.drivers.port import CircuitDriver
from sdn_client.topology import Topology

_YANG_DATA = "application/yang-data+json"
_ROOT = f"/restconf/data/{MODULE}:qkd_node"
_KEYS = {
    "qkd_interface": "qkdi_id",
    "qkd_link": "qkdl_id",
    "qkd_app": "app_id",
    "phys_perf": "perf_type",
}


class QkdNodeView(BaseModel):
    node: str
    qkdn_id: str
    url: str


def etsi015_router(
    topology: Topology, driver: CircuitDriver, links: Callable[[], list[QkdLink]], own_node: str
) -> APIRouter:
    router = APIRouter(tags=["ETSI GS QKD 015"])

    def data(node: str, path: str) -> JSONResponse:
        if node not in node_ids(topology):
            raise NotFoundError(
                f"{node} is no QKD node.", next_step="See `/qkd-nodes` for those that are."
            )
        states = driver.chassis_states()
        failed = {
            name: state.fault or "away" for name, state in states.items() if not state.connected
        }
        root = {f"{MODULE}:qkd_node": qkd_node(topology, node, links(), failed)}
        return JSONResponse(_walk(root, path), media_type=_YANG_DATA)

    @router.get("/qkd-nodes")
    def qkd_nodes() -> list[QkdNodeView]:
        return [
            QkdNodeView(node=node, qkdn_id=str(id_), url=f"/qkd-nodes/{node}{_ROOT}")
            for node, id_ in node_ids(topology).items()
        ]

    @router.get(f"/qkd-nodes/{{node}}{_ROOT}")
    def whole(node: str) -> JSONResponse:
        return data(node, "")

    @router.get(f"/qkd-nodes/{{node}}{_ROOT}/{{path:path}}")
    def part(node: str, path: str) -> JSONResponse:
        return data(node, path)

    @router.get(_ROOT)
    def own_whole() -> JSONResponse:
        return data(own_node, "")

    @router.get(_ROOT + "/{path:path}")
    def own_part(path: str) -> JSONResponse:
        return data(own_node, path)

    return router


def _walk(root: dict[str, Any], path: str) -> dict[str, Any]:
    """The part of the tree that an RFC 8040 path names; list entries by `list=key`."""
    label, at = next(iter(root.items()))
    is_one_entry = False
    for segment in filter(None, path.split("/")):
        name, has_key, key = segment.removeprefix(f"{MODULE}:").partition("=")
        if is_one_entry:
            at = at[0]
        value = at.get(name) if isinstance(at, dict) else None
        is_one_entry = bool(has_key)
        if has_key:
            entries = value if isinstance(value, list) and name in _KEYS else []
            value = [entry for entry in entries if str(entry[_KEYS[name]]) == key] or None
        if value is None:
            raise NotFoundError(
                f"The datastore has no {segment}.", next_step="Ask for the whole qkd_node."
            )
        label, at = f"{MODULE}:{name}", value
    return {label: at}
