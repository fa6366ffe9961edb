"""TOSCA definitions of a package: the entry file and what it imports, as one set of templates.

Why not tosca-parser: docs/decisions/0013-own-reader-of-vnfds.md.
"""

from __future__ import annotations

import posixpath
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.sol003.onboarding.archive import PackageArchive, refused

_FILES_MAX = 32
_DEPTH_MAX = 16
_DIGITS_MAX = 64
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_VERSIONS = ("tosca_simple_yaml_1_", "tosca_simple_profile_for_nfv_1_")
_STANDARD = "etsi_nfv_sol001_"
"""What ETSI publishes; we know those types, so nobody need pack them."""


@dataclass(frozen=True)
class NodeTemplate:
    """A node template, or a policy."""

    name: str
    file: str
    body: dict[str, Any]


@dataclass
class Definitions:
    files: list[str] = field(default_factory=list)
    """The entry file first."""
    node_types: dict[str, dict[str, Any]] = field(default_factory=dict)
    templates: list[NodeTemplate] = field(default_factory=list)
    policies: list[NodeTemplate] = field(default_factory=list)

    def line_of_descent(self, type_name: str) -> list[str]:
        """The type and those that it derives from, as far as they are known."""
        found = [type_name]
        while len(found) < _DEPTH_MAX:
            parent = self.node_types.get(found[-1], {}).get("derived_from")
            if not isinstance(parent, str) or parent in found:
                break
            found.append(parent)
        return found

    def of_type(self, base: str) -> list[NodeTemplate]:
        return [
            each for each in self.templates if base in self.line_of_descent(str(each.body["type"]))
        ]

    def properties(self, template: NodeTemplate) -> dict[str, Any]:
        """Its own, and where it has none of a name the default of its type."""
        found = dict(mapping_at(template.body, "properties"))
        for name in self.line_of_descent(str(template.body["type"])):
            for key, said in mapping_at(self.node_types.get(name, {}), "properties").items():
                if isinstance(said, dict) and "default" in said:
                    found.setdefault(key, said["default"])
        return found


def mapping_at(document: Any, *path: str) -> dict[str, Any]:
    """What lies there if it is a mapping; else an empty one."""
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def read_definitions(archive: PackageArchive, entry: str) -> Definitions:
    """Raises PackageRefusedError."""
    found = Definitions()
    waiting, seen = deque([entry]), {entry}
    while waiting:
        name = waiting.popleft()
        if len(found.files) == _FILES_MAX:
            raise refused(f"The VNFD has more than {_FILES_MAX} files.")
        document = _load(archive, name)
        found.files.append(name)
        found.node_types |= {
            str(key): body
            for key, body in mapping_at(document, "node_types").items()
            if isinstance(body, dict)
        }
        nodes = mapping_at(document, "topology_template", "node_templates")
        for node, body in nodes.items():
            if not isinstance(body, dict) or not isinstance(body.get("type"), str):
                raise refused(f"{name}: the node template {node} has no type.")
            found.templates.append(NodeTemplate(str(node), name, body))
        found.policies += _policies(name, document)
        fresh = [each for each in _imports(archive, name, document) if each not in seen]
        waiting += dict.fromkeys(fresh)
        seen.update(fresh)
    return found


def _policies(name: str, document: dict[str, Any]) -> list[NodeTemplate]:
    """A list of mappings of one policy each, as TOSCA writes them."""
    listed = mapping_at(document, "topology_template").get("policies") or []
    if not isinstance(listed, list):
        raise refused(f"{name}: policies is no list.")
    found = []
    for each in listed:
        for policy, body in each.items() if isinstance(each, dict) else ():
            if not isinstance(body, dict) or not isinstance(body.get("type"), str):
                raise refused(f"{name}: the policy {policy} has no type.")
            found.append(NodeTemplate(str(policy), name, body))
    return found


class _PlainLoader(yaml.SafeLoader):
    """Without aliases, by which a small file can stand for an endless one; without text that no
    answer could carry, and numbers that take long to read."""

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str):
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise yaml.MarkedYAMLError(problem="half a character", problem_mark=node.start_mark)
            if node.tag in _NUMBERS and len(value) > _DIGITS_MAX:
                raise yaml.MarkedYAMLError(
                    problem="a number of too many digits", problem_mark=node.start_mark
                )
        return value

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases are not read here",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        return super().compose_node(parent, index)


def _load(archive: PackageArchive, name: str) -> dict[str, Any]:
    try:
        document = yaml.load(archive.document(name), Loader=_PlainLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise refused(f"{name}{line}: {error.problem or 'no YAML'}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise refused(f"{name} is no YAML: {error}.") from error
    except RecursionError as error:
        raise refused(f"{name} is nested too deeply.") from error
    version = document.get("tosca_definitions_version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not str(version).startswith(_VERSIONS):
        raise refused(
            f"{name} is no TOSCA definition: its tosca_definitions_version is {version!r}.",
            f"Write the VNFD in {_VERSIONS[0]}2, as ETSI GS NFV-SOL 001 says.",
        )
    return document


def _imports(archive: PackageArchive, name: str, document: dict[str, Any]) -> list[str]:
    listed = document.get("imports") or []
    if not isinstance(listed, list):
        raise refused(f"{name}: imports is no list.")
    files = []
    for each in listed:
        wanted = each.get("file") if isinstance(each, dict) else each
        if isinstance(each, dict) and wanted is None and len(each) == 1:
            wanted = next(iter(each.values()))  # - name: file
            wanted = wanted.get("file") if isinstance(wanted, dict) else wanted
        if not isinstance(wanted, str):
            raise refused(f"{name}: an import names no file.")
        if posixpath.basename(wanted).startswith(_STANDARD):
            continue
        if "://" in wanted:
            raise refused(
                f"{name} imports {wanted}, and nothing is fetched.",
                "Put the file into the package.",
            )
        files.append(resolve(archive, name, wanted))
    return files


def resolve(archive: PackageArchive, file: str, wanted: str) -> str:
    """The member that `file` means by `wanted`: beside itself, or from the root."""
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(file), wanted))
    for name in (beside, posixpath.normpath(wanted)):
        if name in archive:
            return name
    raise refused(f"{file} names {wanted}, which is not in the package.")
