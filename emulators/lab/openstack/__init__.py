"""One cloud of the real OpenStack of `deploy/openstack/`, on this machine alone.

Keystone, Glance, Placement, Nova and Neutron's API, with MariaDB and RabbitMQ, all on loopback, in
a state folder of their own, so that several can run. `hypervisor` says who runs the guests: `fake`
is Nova's own driver that runs nothing, `qemu` is libvirt with QEMU without KVM.
"""

from emulators.lab.openstack.cloud import Cloud
from emulators.lab.openstack.distribution import Distribution, build
from emulators.lab.openstack.layout import HYPERVISORS, CloudLayout, Hypervisor
from emulators.lab.openstack.ready import is_ready

__all__ = [
    "HYPERVISORS",
    "Cloud",
    "CloudLayout",
    "Distribution",
    "Hypervisor",
    "build",
    "is_ready",
]
