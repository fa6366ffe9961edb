"""The manifest of a package (ETSI GS NFV-SOL 004): its files and their digests."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.sol003.onboarding.archive import refused

ALGORITHMS = {"sha224": "sha224", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}
_SIGNATURE = "-----BEGIN CMS-----"


@dataclass(frozen=True)
class ListedFile:
    source: str
    algorithm: str
    digest: str
    """In hexadecimal digits."""
    line: int


def algorithm_of(name: str) -> str | None:
    """The digest algorithm that a manifest or VNFD means, as hashlib calls it."""
    return ALGORITHMS.get(name.strip().lower().replace("-", "").replace("_", ""))


def read_manifest(text: str, name: str) -> list[ListedFile]:
    """Every file that it lists. Raises PackageRefusedError, which names the line.

    A signature at its end is not looked at.
    """
    lines = text.partition(_SIGNATURE)[0].splitlines()
    if not any(line.strip().lower().startswith("metadata:") for line in lines):
        raise refused(f"{name} has no metadata.")
    blocks: list[tuple[int, dict[str, str]]] = []
    for number, line in enumerate(lines, 1):
        attribute, _, value = (part.strip() for part in line.partition(":"))
        attribute = attribute.lower()
        if attribute == "source":
            blocks.append((number, {"source": value}))
        elif attribute in ("algorithm", "hash"):
            if not blocks or attribute in blocks[-1][1]:
                raise refused(f"{name}, line {number}: {attribute} belongs to no source.")
            blocks[-1][1][attribute] = value
    return [_listed(block, number, name) for number, block in blocks]


def _listed(block: dict[str, str], number: int, name: str) -> ListedFile:
    source = block["source"].removeprefix("./")
    if "://" in source:
        raise refused(
            f"{name}, line {number}: {source} lies elsewhere, and nothing is fetched.",
            "Put the file into the package.",
        )
    if not block.get("algorithm") or not block.get("hash"):
        raise refused(f"{name}, line {number}: {source} needs an algorithm and a hash.")
    algorithm = algorithm_of(block["algorithm"])
    if algorithm is None:
        raise refused(
            f"{name}, line {number}: {block['algorithm']} is not accepted.",
            "Use SHA-256 or SHA-512.",
        )
    return ListedFile(source, algorithm, block["hash"].lower(), number)
