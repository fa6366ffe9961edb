"""The agent's own list of what must never be joined, whoever asks."""

from __future__ import annotations

from sdn_client.errors import KindsMixed, OtherPartition, SdnError, UnknownPort
from sdn_client.openflow13.constants import BadAction, ErrorType, FlowModFailed
from sdn_client.optical_agent.presented import PresentedSwitch
from sdn_client.optical_agent.refusal import Refusal
from sdn_client.topology import CrossConnect, Topology


class Guard:
    """Refuses a cross-connect before the device hears of it.

    The list is the topology file's: which light passes which port, and which partition has it.
    """

    def __init__(self, topology: Topology, presented: PresentedSwitch) -> None:
        self._topology = topology
        self._presented = presented

    def check(self, cross_connect: CrossConnect) -> None:
        """Raises Refusal."""
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
