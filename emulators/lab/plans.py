"""What stands in a laboratory: its topology, and who is where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulators.lab.errors import LabError

_HERE = Path(__file__).parent
CENTRE: Final = "central"


@dataclass(frozen=True)
class Site:
    """A remote data centre, and the QKD link that ends at its Bob.

    Where several Alices are at the centre, `alice` names the link; the schedule says who serves it.
    """

    name: str
    bob: str
    alice: str
    behind: str | None = None
    """The data centre where that Alice stands, as a trusted node; None: at the centre."""

    @property
    def link(self) -> str:
        return f"{self.alice}--{self.bob}"

    @property
    def key_link(self) -> str:
        """Under which link the centre has keys with this data centre: its own, or a relayed one."""
        return self.link if self.behind is None else f"{CENTRE}--{self.name}"


@dataclass(frozen=True)
class LabPlan:
    """One laboratory's plan."""

    name: str
    title: str
    topology_file: Path
    sites: tuple[Site, ...]

    @property
    def alices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(site.alice for site in self.sites))

    @property
    def bobs(self) -> tuple[str, ...]:
        return tuple(site.bob for site in self.sites)

    @property
    def units(self) -> tuple[str, ...]:
        return (*self.alices, *self.bobs)

    def place_of(self, unit: str) -> str | None:
        """The data centre where a unit stands; None: the centre."""
        for site in self.sites:
            if unit == site.bob:
                return site.name
            if unit == site.alice:
                return site.behind
        raise LabError(f"There is no unit {unit} in this laboratory.", next_step="See its plan.")

    def onward(self, data_centre: str) -> tuple[Site, ...]:
        """The sites to which a trusted node sends keys on."""
        return tuple(site for site in self.sites if site.behind == data_centre)


PAPER: Final = LabPlan(
    "paper",
    "the paper's four nodes: one Alice, three Bobs at 5, 15 and 25 km",
    _HERE / "topology.toml",
    tuple(Site(f"dc-{bob}", f"bob-{bob}", "alice") for bob in (1, 2, 3)),
)
RELAY: Final = LabPlan(
    "relay",
    "a chain of trusted nodes, three spans of 20 km",
    _HERE / "relay_topology.toml",
    (
        Site("dc-1", "bob-1", "alice"),
        Site("dc-2", "bob-2", "alice-1", behind="dc-1"),
        Site("dc-3", "bob-3", "alice-2", behind="dc-2"),
    ),
)
ALICES: Final = LabPlan(
    "alices",
    "two Alices at the centre share three Bobs at 5, 15 and 25 km",
    _HERE / "alices_topology.toml",
    (
        Site("dc-1", "bob-1", "alice-1"),
        Site("dc-2", "bob-2", "alice-2"),
        Site("dc-3", "bob-3", "alice-1"),
    ),
)
PLANS: Final = {plan.name: plan for plan in (PAPER, RELAY, ALICES)}


def plan_named(name: str) -> LabPlan:
    """Raises LabError for an unknown name."""
    if name not in PLANS:
        raise LabError(
            f"There is no laboratory plan {name!r}.", next_step=f"Use one of {', '.join(PLANS)}."
        )
    return PLANS[name]
