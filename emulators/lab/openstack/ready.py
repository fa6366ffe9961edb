"""Whether a cloud can take an image and run a guest."""

from __future__ import annotations

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from emulators.lab.openstack import tenants
from emulators.lab.openstack.layout import CloudLayout


def is_ready(layout: CloudLayout) -> bool:
    """Whether the REST interfaces answer the tenant and the scheduler knows a host."""
    return why_not_ready(layout) is None


def why_not_ready(layout: CloudLayout) -> str | None:
    """What is still missing, or None."""
    if not layout.clouds_file.exists():
        return "nothing was started in this folder"
    try:
        with tenants.connect(layout, "qnfv") as tenant:
            list(tenant.image.images(limit=1))
            list(tenant.network.networks())
            if not list(tenant.compute.flavors()):
                return "Nova has no flavors yet"
        with tenants.connect(layout) as admin:
            # A host is listed once the scheduler's cell has found it.
            if not any(host.state == "up" for host in admin.compute.hypervisors(details=False)):
                return "no compute host is up"
            for provider in admin.placement.resource_providers():
                answer = admin.placement.get(f"/resource_providers/{provider.id}/inventories")
                if answer.json().get("inventories"):
                    return None
            return "the compute host has not told Placement what it has"
    except (SDKException, ClientException) as error:
        return str(error)
