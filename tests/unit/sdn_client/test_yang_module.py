"""Our YANG module is well-formed, and what we write as RFC 8345 is valid under it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from yangson import DataModel
from yangson.enumerations import ContentType
from yangson.exceptions import YangsonException

from sdn_client.topology import PortRef, load_topology, parse_topology
from sdn_client.topology.rfc8345 import document

LABS = Path(__file__).parents[3] / "emulators" / "lab"
MODULE = Path(__file__).parents[3] / "sdn_client" / "topology" / "qnfv-optical-topology.yang"
# The public modules come with pyang.
PUBLIC = Path(sys.prefix) / "share" / "yang" / "modules" / "ietf"
USED = {"ietf-network": 1, "ietf-network-topology": 1, "ietf-inet-types": 0}
OURS = "qnfv-optical-topology:"
STATES = {PortRef("polatis-1", 1): "up", PortRef("polatis-1", 4): "dark"}


def library_entry(file: Path, *, is_implemented: bool) -> dict[str, Any]:
    text = file.read_text()
    found = {
        key: re.search(rf"^\s*{key}\s+\"?([^\s\";]+)", text, re.MULTILINE)
        for key in ("namespace", "revision")
    }
    return {
        "name": file.stem,
        **{key: match[1] for key, match in found.items() if match},
        "conformance-type": "implement" if is_implemented else "import",
    }


@pytest.fixture(scope="module")
def model() -> DataModel:
    modules = [library_entry(MODULE, is_implemented=True)]
    modules += [
        library_entry(PUBLIC / f"{name}.yang", is_implemented=bool(implemented))
        for name, implemented in USED.items()
    ]
    library = {"ietf-yang-library:modules-state": {"module-set-id": "test", "module": modules}}
    return DataModel(json.dumps(library), (str(MODULE.parent), str(PUBLIC)))


def check(model: DataModel, read: Any) -> None:
    """Raises YangsonException."""
    model.from_raw(json.loads(json.dumps(read))).validate(ctype=ContentType.all)


def test_the_module_is_well_formed() -> None:
    command = [sys.executable, "-m", "pyang", "--lint", "--path", str(PUBLIC), str(MODULE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("file", ["topology.toml", "relay_topology.toml", "alices_topology.toml"])
def test_every_laboratory_is_valid(model: DataModel, file: str) -> None:
    topology = load_topology(LABS / file)
    check(model, document(topology))
    check(model, document(topology, STATES))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "quantum"', '"kind": "gamma"'),
        ('"km": "25.0"', '"km": "-25.0"'),
        ('"km": "25.0"', '"km": 25.0'),
        ('"km": "25.0"', '"metres": "25.0"'),
        (':state": "dark"', ':state": "dim"'),
        ('"owner": "node-1", ', ""),
        (':reverse-of": "quantum-spool-3"', ':reverse-of": "no-such-link"'),
        (':patch": [null]', ':patch": "yes"'),
        ('"datapath-id": "0000000000000001"', '"datapath-id": "1"'),
        ('"ingress-ports": 16', '"ingress-ports": 0'),
        (':optical": {}', ':optical": {"of": "glass"}'),
        (f'"{OURS}optical": {{}}', ""),
    ],
)
def test_what_is_wrong_is_not_valid(model: DataModel, old: str, new: str) -> None:
    toml = (
        (LABS / "topology.toml")
        .read_text()
        .replace("\nports = 32\n", "\nports = 32\ningress_ports = 16\n")
    )
    text = json.dumps(document(parse_topology(toml), STATES))
    assert old in text
    with pytest.raises(YangsonException):
        check(model, json.loads(text.replace(old, new)))
