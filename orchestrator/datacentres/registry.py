"""Every data centre that the settings name, with a client for its slave stack."""

from __future__ import annotations

from dataclasses import dataclass

from nfv_stack.contract.client import SlaveClient
from orchestrator.errors import UnknownDataCentreError


@dataclass(frozen=True)
class DataCentre:
    name: str
    link: str
    """Under which link the centre has keys with it: its Bob's, or a relayed one."""
    end_point: str
    """Its classical end point on the optical network."""
    slave: SlaveClient
    bob_link: str | None = None
    """The link of its Bob, where its keys are relayed and `link` is none that a unit serves."""

    @property
    def unit_link(self) -> str:
        """The link at which its Bob's unit stands."""
        return self.bob_link or self.link


class DataCentres:
    """The data centres by name and by link."""

    def __init__(self, data_centres: list[DataCentre]) -> None:
        self._by_name = {data_centre.name: data_centre for data_centre in data_centres}
        self._by_link = {data_centre.link: data_centre for data_centre in data_centres}

    def all(self) -> list[DataCentre]:
        return [self._by_name[name] for name in sorted(self._by_name)]

    def named(self, name: str) -> DataCentre:
        """Raises UnknownDataCentreError."""
        if name not in self._by_name:
            known = ", ".join(sorted(self._by_name)) or "none is configured"
            raise UnknownDataCentreError(
                f"There is no data centre {name}.", next_step=f"Use one of: {known}."
            )
        return self._by_name[name]

    def at_link(self, link: str) -> DataCentre:
        return self._by_link[link]

    @property
    def links(self) -> list[str]:
        return sorted(self._by_link)

    def close(self) -> None:
        for data_centre in self._by_name.values():
            data_centre.slave.close()
