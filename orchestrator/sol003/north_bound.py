"""The rooms of SOL003 over the house."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.house import House
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.mapping import Mapping
from orchestrator.sol003.members.actions import OccurrenceActions
from orchestrator.sol003.members.tasks import MemberTasks
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.package_files import PackageFiles
from orchestrator.sol003.packages import VnfPackages
from orchestrator.sol003.subscriptions import subscriptions_router
from orchestrator.sol003.tasks import VnfTasks
from orchestrator.sol003.vnf_instances import vnf_instances_router
from orchestrator.sol003.vnf_lcm_op_occs import occurrences_router
from orchestrator.sol003.vnf_tasks import vnf_tasks_router
from orchestrator.sol003.vnfpkgm import vnfpkgm_router
from orchestrator.sol003.vnfpkgm_files import package_files_router


def north_bound_routers(house: House) -> list[APIRouter]:
    """`/vnflcm` and `/vnfpkgm`."""
    packages = VnfPackages(house.catalogue, house.package_store, house.records.users_of_images)
    instances = VnfInstances(
        house.engine,
        house.clock,
        house.records,
        house.journal,
        house.ownership,
        house.occurrences,
    )
    members = MemberTasks(house.engine, house.clock, instances, house.occurrences, house.lifecycle)
    mapping = Mapping(
        instances,
        packages,
        house.records,
        house.journal,
        drift=lambda deployment: house.watch.sighting(deployment).drift,
        occurrences=house.occurrences,
    )
    quota = PackageQuota(house.settings.packages)
    tasks = VnfTasks(instances, packages, house.records, house.lifecycle, members)
    actions = OccurrenceActions(house.occurrences, house.conductor, house.operation_actions)
    return [
        vnf_instances_router(instances, packages, mapping),
        vnf_tasks_router(tasks),
        occurrences_router(mapping, actions),
        subscriptions_router(house.subscriptions),
        vnfpkgm_router(packages, house.package_store, house.package_intake, quota),
        package_files_router(PackageFiles(packages, house.package_intake)),
    ]
