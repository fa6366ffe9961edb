"""A topology file from the disk, in either form."""

from __future__ import annotations

from pathlib import Path

from sdn_client.errors import TopologyError
from sdn_client.topology import rfc8345, toml_file
from sdn_client.topology.model import Topology


def load_topology(path: Path) -> Topology:
    """Read and check `path`: `.json` in the shape of RFC 8345, anything else TOML.

    Raises TopologyError, which names the line, the element and the condition of every fault.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyError(
            f"The topology file {path} cannot be read: {error}.",
            next_step="Name a readable TOML or JSON file in the settings.",
        ) from error
    parse = rfc8345.parse if path.suffix == ".json" else toml_file.parse_topology
    return parse(text, source=str(path))
