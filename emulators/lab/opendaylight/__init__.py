"""One instance of the real OpenDaylight of `deploy/opendaylight/`.

The distribution is built once and never written to; an instance has a state folder of its own, so
several can run. It opens three doors and no other: RESTCONF (HTTPS with client certificates, and a
password), OpenFlow, and the loopback port that Akka cannot do without (TLS with a certificate that
this instance alone holds). A controller remembers nothing here: the switch's table is the truth,
so its data are made anew at every start.
"""

from emulators.lab.opendaylight.distribution import Distribution, build
from emulators.lab.opendaylight.instance import Instance, InstanceSettings
from emulators.lab.opendaylight.ready import CONTROLLER, READY_S, is_ready

__all__ = [
    "CONTROLLER",
    "READY_S",
    "Distribution",
    "Instance",
    "InstanceSettings",
    "build",
    "is_ready",
]
