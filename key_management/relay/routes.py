"""Which way a relayed key goes: over the links whose poorest one is richest."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from key_management.relay.errors import NoRouteError
from key_management.relay.message import MAX_HOPS


@dataclass(frozen=True)
class HopLink:
    """A QKD link between two trusted nodes; its keys are allocated at `from_node` (Alice's end)."""

    name: str
    from_node: str
    to_node: str


def widest_route(
    links: Sequence[HopLink],
    residual_keys: Mapping[str, int],
    origin: str,
    destination: str,
    *,
    least_keys: int = 1,
) -> tuple[HopLink, ...]:
    """The hops from `origin` to `destination` with the largest least residual; then the fewest.

    A link that `residual_keys` does not name is not used. Raises NoRouteError, naming the poorest
    link of the best way if only keys are missing.
    """
    best = _widest(links, residual_keys, origin, destination)
    if best is None:
        raise NoRouteError(
            f"No chain of up to {MAX_HOPS} links that answer leads from {origin} to {destination}.",
            next_step="Check the relay links in the settings, and that every trusted node runs.",
        )
    poorest = min(best, key=lambda link: residual_keys[link.name])
    if residual_keys[poorest.name] < least_keys:
        raise NoRouteError(
            f"{poorest.name} has {residual_keys[poorest.name]} keys left; the best route from "
            f"{origin} to {destination} needs {least_keys}.",
            next_step="Wait until Alice has served this link, or ask for keys now.",
            link=poorest.name,
        )
    return best


def _widest(
    links: Sequence[HopLink], residual_keys: Mapping[str, int], origin: str, destination: str
) -> tuple[HopLink, ...] | None:
    """Dijkstra's search for the widest way, by number of hops, since those are limited."""
    leaving: dict[str, list[HopLink]] = {}
    for link in links:
        if link.name in residual_keys:
            leaving.setdefault(link.from_node, []).append(link)
    # Widest first, then fewest hops, then by name so that the same state gives the same route.
    queue: list[tuple[float, int, tuple[str, ...], str, tuple[HopLink, ...]]] = [
        (-float("inf"), 0, (), origin, ())
    ]
    reached: dict[tuple[str, int], float] = {}
    while queue:
        negative_width, hops, names, node, way = heapq.heappop(queue)
        if node == destination and way:
            return way
        if hops == MAX_HOPS or reached.get((node, hops), 1.0) <= negative_width:
            continue
        reached[node, hops] = negative_width
        visited = {origin, *(link.to_node for link in way)}
        for link in leaving.get(node, ()):
            if link.to_node not in visited:
                width = max(negative_width, -float(residual_keys[link.name]))
                heapq.heappush(
                    queue,
                    (width, hops + 1, (*names, link.name), link.to_node, (*way, link)),
                )
    return None
