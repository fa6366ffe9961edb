"""Several Alices: which of them serves which Bob.

Each Bob loads an Alice with the share of her time that he takes at the least (utilisation plus
set-up over his longest cycle, see `qkd_scheduler.bounds`), and loads every shared fibre and switch
port of his path just the same, since turns that share one exclude each other. The plan keeps the
largest load small: heaviest Bobs first, each to where the largest load on his way grows least; then
Bobs move away from the fullest Alice while that helps. Bobs stay with their present Alice unless
moving is worth it, because a move is a new path and a cold start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qkd_scheduler.bounds import Lot, load
from qkd_scheduler.errors import DemandError

_MOVES_PER_BOB: Final = 2


@dataclass(frozen=True, slots=True)
class Route:
    """How one Alice reaches one Bob: rate and set-up of that line, its fibres and ports."""

    lot: Lot
    resources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Site:
    """A Bob and his routes, by Alice."""

    name: str
    routes: Mapping[str, Route]


@dataclass(frozen=True)
class Assignment:
    """Who serves whom, and the least share of her time that it takes each Alice."""

    alice_of: dict[str, str]
    load_of: dict[str, float]
    resource_load: dict[str, float]
    """Of fibres and ports, where routes name any."""
    moved: tuple[str, ...]

    @property
    def largest_load(self) -> float:
        """Above 1, the demand cannot be served this way."""
        return max([*self.load_of.values(), *self.resource_load.values()], default=0.0)

    def bobs_of(self, alice: str) -> list[str]:
        return [bob for bob, of in self.alice_of.items() if of == alice]


def assign(
    sites: Sequence[Site],
    alices: Collection[str],
    present: Mapping[str, str] | None = None,
    *,
    worth: float = 0.05,
) -> Assignment:
    """Assign every Bob. `worth`: load by which a move must relieve the larger of both Alices.

    Raises `DemandError` if a Bob has no route from any of these Alices.
    """
    return _Planner(sites, alices, present or {}, worth).run()


class _Planner:
    def __init__(
        self,
        sites: Sequence[Site],
        alices: Collection[str],
        present: Mapping[str, str],
        worth: float,
    ) -> None:
        self._sites = {site.name: site for site in sites}
        self._present = present
        self._worth = worth
        self._load: dict[str, float] = dict.fromkeys(sorted(alices), 0.0)
        self._resource_load: defaultdict[str, float] = defaultdict(float)
        self._alice_of: dict[str, str] = {}
        self._weight: dict[tuple[str, str], float] = {}
        for site in sites:
            reachable = False
            for alice in self._load:
                route = site.routes.get(alice)
                if route is not None:
                    self._weight[site.name, alice] = load([route.lot])
                    reachable = True
            if not reachable:
                raise DemandError(
                    f"no Alice has a path to {site.name}",
                    next_step="Connect him, or leave him out.",
                )

    def run(self) -> Assignment:
        new: list[tuple[float, str]] = []
        for name, site in self._sites.items():
            alice = self._present.get(name)
            if alice is not None and (name, alice) in self._weight:
                self._place(name, alice)
            else:
                new.append((-min(self._weights(site)), name))
        for _, name in sorted(new):
            self._place(name, self._best(name)[1])
        self._relieve()
        moved = tuple(
            bob for bob, alice in self._alice_of.items() if self._present.get(bob, alice) != alice
        )
        shared = {name: share for name, share in self._resource_load.items() if share > 0}
        return Assignment(dict(self._alice_of), dict(self._load), shared, moved)

    def _weights(self, site: Site) -> list[float]:
        return [self._weight[site.name, a] for a in site.routes if (site.name, a) in self._weight]

    def _place(self, bob: str, alice: str, sign: int = 1) -> None:
        weight = self._weight[bob, alice] * sign
        self._load[alice] += weight
        for resource in self._sites[bob].routes[alice].resources:
            self._resource_load[resource] += weight
        if sign > 0:
            self._alice_of[bob] = alice

    def _with(self, bob: str, alice: str) -> float:
        """The largest load on his way if he came to this Alice."""
        weight = self._weight[bob, alice]
        largest = self._load[alice] + weight
        for resource in self._sites[bob].routes[alice].resources:
            largest = max(largest, self._resource_load[resource] + weight)
        return largest

    def _best(self, bob: str) -> tuple[float, str]:
        weights, load_of = self._weight, self._load
        routes = self._sites[bob].routes
        # The largest load first; among equals who takes least of her time.
        return min(
            (
                (
                    self._with(bob, alice)
                    if route.resources
                    else load_of[alice] + weights[bob, alice],
                    alice,
                )
                for alice, route in routes.items()
                if (bob, alice) in weights
            ),
            key=lambda found: (found[0], weights[bob, found[1]], found[1]),
        )

    def _relieve(self) -> None:
        """Move Bobs from the fullest Alice while the larger of both loads falls by `worth`."""
        for _ in range(_MOVES_PER_BOB * len(self._sites)):
            fullest = max(self._load, key=lambda alice: (self._load[alice], alice))
            if not self._move_from(fullest):
                return

    def _move_from(self, fullest: str) -> bool:
        before = self._load[fullest]
        bobs = [bob for bob, alice in self._alice_of.items() if alice == fullest]
        for bob in sorted(bobs, key=lambda b: (-self._weight[b, fullest], b)):
            self._place(bob, fullest, -1)
            after, alice = self._best(bob)
            worth = self._worth if self._present.get(bob) == fullest else 1e-9
            if alice != fullest and max(after, self._load[fullest]) < before - worth:
                self._place(bob, alice)
                return True
            self._place(bob, fullest)
        return False
