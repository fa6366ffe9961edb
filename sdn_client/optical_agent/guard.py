"""The agent's own list of what must never be joined, whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sdn_client.errors import KindsMixed, OtherPartition, SdnError, UnknownPort
from sdn_client.openflow13.constants import BadAction, ErrorType, FlowModFailed
from sdn_client.optical_agent.presented import PresentedSwitch
from sdn_client.optical_agent.refusal import Refusal
from sdn_client.topology import CrossConnect, LightKind, PortRef, Topology


class Guard:
    """Refuses a cross-connect before the device hears of it.

    The list is the topology file's: which light passes which port, and which partition has it.
    """

    def __init__(self, topology: Topology, presented: PresentedSwitch) -> None:
        self._topology = topology
        self._presented = presented

    def check(self, cross_connect: CrossConnect, beside: Iterable[CrossConnect] = ()) -> None:
        """Whether it may be joined `beside` what is joined already. Raises Refusal."""
        self._check_ports(cross_connect)
        crossed = {port: x for x in (*beside, cross_connect) for port in x.ports}
        met: dict[LightKind, PortRef] = {}
        for port in cross_connect.ports:
            met |= self._met(port, crossed)
        if LightKind.QUANTUM in met and LightKind.CLASSICAL in met:
            raise Refusal(
                ErrorType.FLOW_MOD_FAILED,
                FlowModFailed.PERMISSION,
                f"{cross_connect} leads quantum light at {met[LightKind.QUANTUM]} and classical"
                f" light at {met[LightKind.CLASSICAL]} into each other",
            )

    def _met(
        self, port: PortRef, crossed: Mapping[PortRef, CrossConnect]
    ) -> dict[LightKind, PortRef]:
        """For which light the fibres and end points are that light leaving `port` meets, and where:
        a fibre for both kinds says nothing of what comes behind it."""
        met: dict[LightKind, PortRef] = {}
        passed: set[PortRef] = set()
        while port not in passed and (facing := self._topology.facing(port)) is not None:
            passed.add(port)
            met.setdefault(facing.kind, port)
            if not isinstance(facing.end, PortRef) or facing.end not in crossed:
                break
            port = next(p for p in crossed[facing.end].ports if p != facing.end)
        return met

    def _check_ports(self, cross_connect: CrossConnect) -> None:
        try:
            self._topology.check_cross_connect(cross_connect)
        except (KindsMixed, OtherPartition) as error:
            raise Refusal(
                ErrorType.FLOW_MOD_FAILED, FlowModFailed.PERMISSION, error.detail
            ) from error
        except UnknownPort as error:
            raise Refusal(ErrorType.BAD_ACTION, BadAction.BAD_OUT_PORT, error.detail) from error
        except SdnError as error:  # one port twice, or two of one side
            raise Refusal(ErrorType.BAD_ACTION, BadAction.BAD_ARGUMENT, error.detail) from error
        for port in cross_connect.ports:
            if port.port not in self._presented.ports:
                raise Refusal(
                    ErrorType.FLOW_MOD_FAILED,
                    FlowModFailed.PERMISSION,
                    f"{port} is no port of {self._presented.name}",
                )
