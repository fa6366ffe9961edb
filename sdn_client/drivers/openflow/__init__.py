"""The embedded circuit controller: switches connect to it and speak CFLOW_MOD.md.

options   what can be set
agents    dialects: what the agent at the switch makes of CFLOW_MOD
readers   how the switch's own table is read: flow statistics, or TL1 beside OpenFlow
line      one connection's messages and who waits for which answer
session   one switch: batches, each confirmed by its table
driver    all switches, behind the synchronous face of `CircuitDriver`
"""

from sdn_client.drivers.openflow.driver import OpenFlowDriver, open_driver
from sdn_client.drivers.openflow.options import OpenFlowOptions, Tl1Options

__all__ = ["OpenFlowDriver", "OpenFlowOptions", "Tl1Options", "open_driver"]
