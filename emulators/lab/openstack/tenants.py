"""Who may do what in a new cloud: service users, one tenant, end points, flavors."""

from __future__ import annotations

from typing import cast

import openstack
from openstack.connection import Connection
from openstack.identity.v3._proxy import Proxy

from emulators.lab.openstack.layout import REGION, SERVICE_USERS, CloudLayout

_TYPES = {
    "glance": "image",
    "placement": "placement",
    "nova": "compute",
    "neutron": "network",
}
# Name, memory in MiB, virtual processors, disk in GiB.
_FLAVORS = (
    ("q1.nano", 128, 1, 1),
    ("q1.tiny", 256, 1, 1),
    ("q1.small", 512, 1, 2),
    ("q1.medium", 1024, 2, 4),
    # Larger than any host: what no scheduler can place.
    ("q1.nowhere", 1_048_576, 1, 1),
)
_QUOTA_INSTANCES = 20


def connect(layout: CloudLayout, cloud: str = "qnfv-admin") -> Connection:
    """A client of this cloud that reads no other configuration."""
    config = openstack.config.OpenStackConfig(
        config_files=[str(layout.clouds_file)], load_envvars=False
    )
    return Connection(config=config.get_one(cloud))


def make_identities(layout: CloudLayout, admin: Connection) -> None:
    """Everything in Keystone; repeatable."""
    identity = _identity(admin)
    service_project = _project(admin, "service")
    tenant = _project(admin, "qnfv")
    for name in SERVICE_USERS:
        _user(admin, layout, name, service_project, ("admin", "service"))
    _user(admin, layout, "qnfv", tenant, ("member",))
    known = {service.name: service for service in identity.services()}
    for name, kind in _TYPES.items():
        service = known.get(name) or identity.create_service(name=name, type=kind)
        if not list(identity.endpoints(service_id=service.id)):
            for interface in ("public", "internal", "admin"):
                identity.create_endpoint(
                    service_id=service.id,
                    interface=interface,
                    url=layout.url(name),
                    region_id=REGION,
                )


def make_flavors(admin: Connection) -> None:
    """The sizes of guests, and the tenant's quota; repeatable."""
    known = {flavor.name for flavor in admin.compute.flavors()}
    for name, memory_mib, cpus, disk_gib in _FLAVORS:
        if name not in known:
            admin.compute.create_flavor(name=name, ram=memory_mib, vcpus=cpus, disk=disk_gib)
    tenant = _identity(admin).find_project("qnfv", ignore_missing=False)
    admin.compute.update_quota_set(tenant.id, instances=_QUOTA_INSTANCES, ram=-1, cores=-1)


def _identity(admin: Connection) -> Proxy:
    return cast(Proxy, admin.identity)


def _project(admin: Connection, name: str) -> str:
    identity = _identity(admin)
    found = identity.find_project(name) or identity.create_project(name=name, domain_id="default")
    return str(found.id)


def _user(
    admin: Connection, layout: CloudLayout, name: str, project: str, roles: tuple[str, ...]
) -> None:
    identity = _identity(admin)
    user = identity.find_user(name) or identity.create_user(
        name=name,
        password=layout.password(name),
        domain_id="default",
        default_project_id=project,
    )
    for role_name in roles:
        role = identity.find_role(role_name, ignore_missing=False)
        identity.assign_project_role_to_user(project, user, role)
