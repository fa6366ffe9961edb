"""The driver `opendaylight`: cross-connects as OpenFlow 1.3 flows of an unmodified OpenDaylight.

A cross-connect is one flow: in_port is the lower port, apply-actions outputs to the higher one.

- A batch is one `sal-flat-batch:process-flat-batch` for each switch, all of them at once. Like
  `sal-flow:add-flow` it answers after the switch's barriers, with the switch's error as the reason;
  unlike several `add-flow` it sends what is removed and what is added in one go. The config
  datastore is never written: it says yes whatever the switch says, and pushes its flows again at
  every connection. Flows that somebody left there for our switches are deleted.
- Read-back is `opendaylight-direct-statistics:get-flow-statistics`, which asks the switch itself.
- Connectivity and ports come from the operational inventory, looked at every `poll_interval_s`.
- A chassis is one switch, or one for each of its virtual switches that has a `datapath_id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdn_client.drivers.opendaylight.driver import OpenDaylightDriver
from sdn_client.drivers.opendaylight.options import OpenDaylightOptions
from sdn_client.drivers.port import CircuitDriver
from sdn_client.topology import Topology

__all__ = ["OpenDaylightDriver", "OpenDaylightOptions", "open_driver"]


def open_driver(options: Mapping[str, Any], topology: Topology) -> CircuitDriver:
    """Entry point: program `topology` through OpenDaylight; `options` as `OpenDaylightOptions`.

    Raises pydantic's ValidationError or SwitchUnreachable (a file that cannot be used).
    """
    return OpenDaylightDriver(OpenDaylightOptions.model_validate(options), topology)
