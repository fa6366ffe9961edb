"""What can go wrong on the optical network, as one tree.

SdnError
+-- TopologyError            the topology file contradicts itself
+-- RequestRefused           we refuse before any device is asked
|   +-- UnknownName          no such node, end point, chassis or circuit
|   +-- UnknownPort          no such port on the chassis
|   +-- SamePort             a cross-connect from a port to itself
|   +-- SameSide             both ports on one side of a two-sided switch
|   +-- OtherPartition       the two ports belong to different virtual switches
|   +-- KindsMixed           quantum and classical light would meet
|   +-- NoPath               no path joins the two ends
|   +-- LossOverBudget       the best path loses more than the budget
|   +-- BandwidthTooLow      an end point is slower than what is asked for
|   +-- PortInUse            a port serves another circuit
|   +-- OwnerElsewhere       the owner already has a circuit with other ends
|   +-- CircuitBusy          an operation or a turn uses the circuit; it is not a person's to end
|   +-- NotAdoptable         what the device holds is no circuit from end point to end point
+-- SwitchUnreachable        no connection to the switch
+-- SwitchRefused            the switch refused, with its reason
+-- OutcomeUnknown           the connection broke before the switch confirmed
+-- NotConfirmed             the switch said yes, but its own table says otherwise
|   +-- Unverified           the switch cannot be read back, so nothing on it is believed
+-- MalformedMessage         bytes that are no valid OpenFlow message
+-- MalformedAnswer          an answer over TL1 or RESTCONF that cannot be read
"""

from __future__ import annotations

from typing import ClassVar

from problem_details import ProblemError


class SdnError(ProblemError):
    """Root of the optical network's errors."""

    slug: ClassVar[str] = "optical-network-error"
    title: ClassVar[str] = "The optical network reported an error"


class TopologyError(SdnError):
    slug = "topology-invalid"
    title = "The topology file is not valid"


class RequestRefused(SdnError):
    """A request that we refuse without asking a device."""

    slug = "circuit-refused"
    title = "The circuit is refused"


class UnknownName(RequestRefused):
    slug = "network-element-unknown"
    title = "The network has no element of this name"


class UnknownPort(RequestRefused):
    slug = "port-unknown"
    title = "The switch has no such port"


class SamePort(RequestRefused):
    slug = "port-to-itself"
    title = "A cross-connect needs two different ports"


class SameSide(RequestRefused):
    slug = "ports-on-one-side"
    title = "Both ports are on the same side of the switch"


class OtherPartition(RequestRefused):
    slug = "ports-in-two-partitions"
    title = "The ports belong to different virtual switches"


class KindsMixed(RequestRefused):
    slug = "quantum-and-classical-mixed"
    title = "Quantum and classical light never share a fibre"


class NoPath(RequestRefused):
    slug = "no-path"
    title = "No path joins the two ends"


class LossOverBudget(RequestRefused):
    slug = "loss-over-budget"
    title = "The path loses more light than the budget allows"


class BandwidthTooLow(RequestRefused):
    slug = "bandwidth-too-low"
    title = "An end point is slower than the bandwidth that is asked for"


class CircuitBusy(RequestRefused):
    slug = "circuit-busy"
    title = "The circuit serves an operation or a turn of Alice"


class NotAdoptable(RequestRefused):
    slug = "cross-connects-not-adoptable"
    title = "The cross-connects are no circuit from end point to end point"


class PortInUse(RequestRefused):
    slug = "port-in-use"
    title = "A port of the path serves another circuit"


class OwnerElsewhere(RequestRefused):
    slug = "owner-has-another-circuit"
    title = "The owner already has a circuit between other ends"


class MalformedMessage(SdnError):
    slug = "openflow-malformed"
    title = "The peer sent bytes that are no valid OpenFlow message"


class SwitchUnreachable(SdnError):
    slug = "switch-unreachable"
    title = "The optical switch is not reachable"


class SwitchRefused(SdnError):
    slug = "switch-refused"
    title = "The optical switch refused the cross-connects"


class OutcomeUnknown(SdnError):
    slug = "switch-outcome-unknown"
    title = "The connection to the switch broke before it confirmed"


class NotConfirmed(SdnError):
    slug = "switch-not-confirmed"
    title = "The switch's own table does not show what was asked"


class Unverified(NotConfirmed):
    slug = "switch-unverified"
    title = "The optical switch cannot be read back, so nothing on it is believed"


class MalformedAnswer(SdnError):
    slug = "switch-answer-malformed"
    title = "The optical switch sent an answer that cannot be read"
