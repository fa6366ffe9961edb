"""From tables to a checked topology; every fault with the place where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from sdn_client.errors import TopologyError
from sdn_client.topology.conditions import faults
from sdn_client.topology.model import Topology


class Places(Protocol):
    """Where the tables' rows and keys stand in the file."""

    def of(self, table: str, index: int | None, key: str = "") -> int:
        """The line of `key` in the `index`-th row of `table`, else of that row, else 1."""
        ...


def checked(tables: Mapping[str, Any], places: Places, source: str) -> Topology:
    """The topology that `tables` describe. TopologyError with every fault and its line."""
    try:
        topology = Topology.model_validate(tables)
    except ValidationError as error:
        raise invalid(source, [_shape_fault(e, places, tables) for e in error.errors()]) from None
    found = [
        f"line {places.of(f.table, f.index, f.key)}: {f.table} {f.name!r}: {f.condition}"
        for f in faults(topology)
    ]
    if found:
        raise invalid(source, found)
    return topology


def invalid(source: str, found: list[str]) -> TopologyError:
    """The error that tells all of `found`."""
    return TopologyError(
        f"{source}: " + "; ".join(found) + ".",
        next_step="Correct the topology file and start again.",
        faults=found,
    )


def _shape_fault(error: Mapping[str, Any], places: Places, tables: Mapping[str, Any]) -> str:
    place = list(error["loc"])
    table = str(place[0]) if place else ""
    index = place[1] if len(place) > 1 and isinstance(place[1], int) else None
    key = str(place[2]) if len(place) > 2 else ""
    where = f"line {places.of(table, index, key)}: {table or 'file'}"
    if index is not None:
        rows = tables.get(table)
        row = rows[index] if isinstance(rows, list) and index < len(rows) else None
        name = row.get("name") if isinstance(row, dict) else None
        where += f" {name!r}" if isinstance(name, str) else f" number {index + 1}"
    return f"{where}: {key + ': ' if key else ''}{error['msg'].removeprefix('Value error, ')}"
