"""The QKD links of this data centre: the unit beside it, its key source, its end of the store.

At most links it has Bob's end. A trusted node has Alice's end of the links that lead onward.
"""

from __future__ import annotations

from dataclasses import dataclass

from idq3p.unit_agent.client import UnitAgentClient
from idq3p.unit_agent.contract import StartRequest
from key_management.extraction import AliceEnd, BobEnd, LocalEnd
from key_management.ledger import KeyLedger
from nfv_stack.contract.schemas import UnitStart
from nfv_stack.errors import UnknownLinkError


@dataclass(frozen=True)
class Link:
    """`keys` is this end of the store; beside a unit it is Bob's end or Alice's."""

    name: str
    keys: LocalEnd
    unit: UnitAgentClient | None = None
    """None where no unit of ours stands: relayed links."""
    bob: BobEnd | None = None
    alice: AliceEnd | None = None
    bob_address: str | None = None
    """At Alice's end: where her program finds her Bob."""

    def start_request(self, request: UnitStart) -> StartRequest:
        """What this unit's agent is told: an Alice her Bob, a Bob his line's loss."""
        told = (
            {"line_attenuation_db": request.line_attenuation_db}
            if self.bob_address is None
            else {"bob_address": self.bob_address}
        )
        return StartRequest.model_validate(
            {"turn_id": request.turn_id, "fencing": request.fencing, **told}
        )


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
            raise self._unknown(f"{self._data_centre} has no QKD link {name}.")
        return self._links[name]

    def alice(self, name: str) -> AliceEnd:
        """Alice's end of this link. UnknownLinkError where another end stands here."""
        alice = self.named(name).alice
        if alice is None:
            raise self._unknown(f"{self._data_centre} does not have Alice's end of {name}.")
        return alice

    def bob(self, name: str) -> BobEnd:
        """Bob's end of this link. UnknownLinkError where another end stands here."""
        bob = self.named(name).bob
        if bob is None:
            raise self._unknown(f"{self._data_centre} does not have Bob's end of {name}.")
        return bob

    @property
    def units(self) -> list[UnitAgentClient]:
        """The agents of all units here."""
        return [link.unit for link in self._links.values() if link.unit is not None]

    def unit(self, name: str) -> UnitAgentClient:
        """The agent of the unit at this end. UnknownLinkError where there is none."""
        unit = self.named(name).unit
        if unit is None:
            raise self._unknown(f"{name} is a relayed link; {self._data_centre} has no unit there.")
        return unit

    def counts(self, name: str) -> dict[str, int]:
        self.named(name)
        return {state.value: count for state, count in self._ledger.counts(name).items()}

    def close(self) -> None:
        for link in self._links.values():
            if link.unit is not None:
                link.unit.close()

    def _unknown(self, detail: str) -> UnknownLinkError:
        return UnknownLinkError(
            detail, next_step=f"Use one of: {', '.join(self.names) or 'none is configured'}."
        )
