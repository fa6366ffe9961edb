"""What is seen of several switches when one of them cannot be understood."""

from __future__ import annotations

import json
import threading
from typing import Any

from sdn_client.drivers.opendaylight import documents
from sdn_client.drivers.opendaylight.datapaths import present
from sdn_client.drivers.opendaylight.restconf import Answer
from sdn_client.drivers.opendaylight.watch import Watch
from sdn_client.drivers.port import ConnectivityEvent, DeviceEvent
from sdn_client.errors import MalformedAnswer
from sdn_client.topology import parse_topology

TOPOLOGY = """
nodes = [{name = "centre", role = "central"}]
chassis = [
  {name = "good", datapath_id = 1, ports = 2},
  {name = "odd", datapath_id = 2, ports = 2},
]
virtual_switches = [
  {name = "v1", chassis = "good", owner = "centre", ports = ["1-2"]},
  {name = "v2", chassis = "odd", owner = "centre", ports = ["1-2"]},
]
end_points = [{name = "alice", node = "centre", kind = "quantum", port = "good:1"}]
"""


class TwoSwitches:
    """A RESTCONF that shows both, and counts how often it was asked."""

    def __init__(self) -> None:
        self.looked = threading.Semaphore(0)

    def get(self, path: str) -> Answer:
        if path != documents.INVENTORY:
            return Answer(409, b"")
        self.looked.release()
        nodes = [
            {
                "id": f"openflow:{n}",
                "flow-node-inventory:port-number": 5,
                "node-connector": [{"id": f"openflow:{n}:{p}"} for p in (1, 2)],
            }
            for n in (1, 2)
        ]
        return Answer(200, json.dumps({"opendaylight-inventory:nodes": {"node": nodes}}).encode())


def test_a_switch_with_a_foreign_flow_takes_no_other_with_it() -> None:
    def is_readable(chassis: str) -> bool:
        if chassis == "odd":
            raise MalformedAnswer("odd holds a flow with 2 actions.", next_step="Remove it.")
        return True

    restconf: Any = TwoSwitches()
    presentations = present(parse_topology(TOPOLOGY))
    watch = Watch(restconf, presentations, is_readable, poll_interval_s=0.001, config_check_s=60)
    told: list[DeviceEvent] = []
    watch.subscribe(told.append)
    watch.start()
    try:
        for _ in range(6):
            assert restconf.looked.acquire(timeout=5)
        states = watch.states()
    finally:
        watch.close()
    assert states["good"].connected
    assert not states["odd"].connected
    assert states["odd"].fault == "odd holds a flow with 2 actions."
    connectivity = [e for e in told if isinstance(e, ConnectivityEvent)]
    assert [(e.chassis, e.connected) for e in connectivity][:1] == [("good", True)]
    assert len(connectivity) <= 2  # the second: the driver was closed


def test_the_watch_outlives_what_nobody_expected() -> None:
    class Failing(TwoSwitches):
        failures = 3

        def get(self, path: str) -> Answer:
            if self.failures:
                self.failures -= 1
                raise RuntimeError("a bug")
            return super().get(path)

    restconf: Any = Failing()
    presentations = present(parse_topology(TOPOLOGY))
    watch = Watch(restconf, presentations, lambda _: True, poll_interval_s=0.001, config_check_s=60)
    watch.start()
    try:
        for _ in range(6):
            assert restconf.looked.acquire(timeout=5)
        states = watch.states()
    finally:
        watch.close()
    assert states["good"].connected
