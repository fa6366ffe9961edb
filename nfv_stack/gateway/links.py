"""The QKD links that end here: Bob's unit, his key source and his end of the key store."""

from __future__ import annotations

from dataclasses import dataclass

from idq3p.unit_agent.client import UnitAgentClient
from key_management.extraction import BobEnd
from key_management.ledger import KeyLedger
from nfv_stack.errors import UnknownLinkError


@dataclass(frozen=True)
class Link:
    name: str
    unit: UnitAgentClient
    keys: BobEnd


class Links:
    """The links by name."""

    def __init__(self, data_centre: str, links: list[Link], ledger: KeyLedger) -> None:
        self._data_centre = data_centre
        self._links = {link.name: link for link in links}
        self._ledger = ledger

    @property
    def names(self) -> list[str]:
        return sorted(self._links)

    def named(self, name: str) -> Link:
        """Raises UnknownLinkError."""
        if name not in self._links:
            raise UnknownLinkError(
                f"{self._data_centre} has no QKD link {name}.",
                next_step=f"Use one of: {', '.join(self.names) or 'none is configured'}.",
            )
        return self._links[name]

    def counts(self, name: str) -> dict[str, int]:
        self.named(name)
        return {state.value: count for state, count in self._ledger.counts(name).items()}

    def close(self) -> None:
        for link in self._links.values():
            link.unit.close()
