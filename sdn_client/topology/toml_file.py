"""The topology as TOML, one `[[table]]` for each element."""

from __future__ import annotations

import re
import tomllib

from sdn_client.topology.checking import checked, invalid
from sdn_client.topology.model import Topology


def parse_topology(text: str, *, source: str = "topology") -> Topology:
    """The topology in `text`; `source` names it in errors. Raises TopologyError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise invalid(source, [f"not TOML: {error}"]) from error
    return checked(tables, _Lines(text), source)


class _Lines:
    """Finds the line of a table's header or of a key in it; tomllib does not tell."""

    _HEADER = re.compile(r"\s*\[\[\s*([\w-]+)\s*\]\]")
    _KEY = re.compile(r"\s*([\w-]+)\s*=")

    def __init__(self, text: str) -> None:
        self._tables: dict[str, list[dict[str, int]]] = {}
        self._top: dict[str, int] = {}
        keys = self._top
        for number, line in enumerate(text.splitlines(), 1):
            if header := self._HEADER.match(line):
                keys = {"": number}
                self._tables.setdefault(header[1], []).append(keys)
            elif key := self._KEY.match(line):
                keys.setdefault(key[1], number)

    def of(self, table: str, index: int | None, key: str = "") -> int:
        """The line of `key` in the `index`-th `[[table]]`, else of its header, else 1."""
        rows = self._tables.get(table, [])
        if index is None or index >= len(rows):
            return self._top.get(table, 1)
        return rows[index].get(key, rows[index][""])
