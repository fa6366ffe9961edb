"""How each Alice reaches each Bob: units, line, and what the path shares with others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.errors import UnknownLinkError
from orchestrator.schedule.errors import NoWayError
from problem_details import ProblemError
from qkd_scheduler import link_model
from qkd_scheduler.ports import Pair
from sdn_client.paths import LightPath

_CONNECTING_S = 0.025
"""A mirror's move."""


@dataclass(frozen=True)
class Way:
    """One Alice's way to one Bob. `resources` are the fibres and switch ports of its path: turns
    that share one exclude each other."""

    alice: str
    pair: Pair
    km: float
    loss_db: float
    resources: frozenset[str] = frozenset()

    @property
    def link(self) -> str:
        return self.pair.link

    @property
    def expected_rate_bps(self) -> float:
        """What the line's physics promise; 0 where no key is left."""
        return link_model.line(self.loss_db, self.km).secret_key_rate_bps

    @property
    def expected_set_up_s(self) -> float:
        """QKD seconds from the cross-connect to the first key, by the line's physics."""
        at = link_model.line(self.loss_db, self.km)
        return _CONNECTING_S + link_model.initialisation_s(at)


def way_over(path: LightPath, alice: str, pair: Pair) -> Way:
    resources = {f"fibre {fibre}" for fibre in path.fibres}
    resources |= {f"port {port}" for port in path.ports}
    return Way(alice, pair, path.km, path.loss_db, frozenset(resources))


def find_ways(
    link: str,
    pairs: Mapping[str, Pair],
    path_of: Callable[[str], LightPath],
) -> list[Way]:
    """The ways of each of these Alices (`pairs` by her name) to one Bob; `path_of` her path.

    Raises NoWayError if none of them has one on which keys can be made.
    """
    ways: list[Way] = []
    why: list[str] = []
    for alice, pair in pairs.items():
        try:
            way = way_over(path_of(alice), alice, pair)
        except ProblemError as error:
            why.append(error.detail)
            continue
        if way.expected_rate_bps > 0:
            ways.append(way)
        else:
            why.append(f"{alice}: no key is left on a line of {way.loss_db:.2f} dB")
    if not ways:
        raise NoWayError(
            f"No Alice reaches the Bob of {link}. {'; '.join(why) or 'There is no Alice.'}",
            next_step="Correct the topology file, or take this data centre's Bob out of the "
            "settings.",
            link=link,
        )
    return ways


class Ways:
    """All ways, by link and by Alice."""

    def __init__(self, ways: Iterable[Way]) -> None:
        self._by_link: dict[str, dict[str, Way]] = {}
        for way in ways:
            self._by_link.setdefault(way.link, {})[way.alice] = way

    @property
    def links(self) -> list[str]:
        return sorted(self._by_link)

    @property
    def alices(self) -> list[str]:
        return sorted({alice for ways in self._by_link.values() for alice in ways})

    def to(self, link: str) -> Mapping[str, Way]:
        """This link's ways by Alice. Raises UnknownLinkError."""
        if link not in self._by_link:
            raise UnknownLinkError(
                f"There is no QKD link {link}.",
                next_step=f"Use one of: {', '.join(self.links) or 'none is configured'}.",
            )
        return self._by_link[link]

    def find(self, link: str, alice: str) -> Way | None:
        return self._by_link.get(link, {}).get(alice)

    def of(self, alice: str) -> list[Way]:
        """Every way of one Alice."""
        return [ways[alice] for _, ways in sorted(self._by_link.items()) if alice in ways]
