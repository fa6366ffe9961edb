"""The orchestrator as a service: its house behind REST and web pages."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from observability import configure_logs
from orchestrator.access import LoopbackAccess, load_or_make_token
from orchestrator.gui.routes import Gui
from orchestrator.house import House
from orchestrator.network.manual import ManualCircuits
from orchestrator.rest.accounts import accounts_router
from orchestrator.rest.alarms import alarms_router
from orchestrator.rest.audit import audit_router
from orchestrator.rest.deployments import deployments_router
from orchestrator.rest.etsi015 import etsi015_router
from orchestrator.rest.images import images_router
from orchestrator.rest.infrastructure import infrastructure_router
from orchestrator.rest.instances import InstanceCollector, instances_router
from orchestrator.rest.keys import keys_router
from orchestrator.rest.metrics import HouseCollector, metrics_router
from orchestrator.rest.network import network_router
from orchestrator.rest.operations import operations_router
from orchestrator.rest.projects import projects_router
from orchestrator.rest.schedule import schedule_router
from orchestrator.rest.uploads import uploads_router
from orchestrator.schedule.metrics import ScheduleCollector
from orchestrator.security_headers import GuardedApp
from orchestrator.settings import OrchestratorSettings
from orchestrator.sol003.manners import InterfaceVersions
from orchestrator.sol003.north_bound import north_bound_routers
from orchestrator.sol003.onboarding.deliveries import PackageDeliveries
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.statuses import STATUS_OF
from orchestrator.vnf_lcm.instances import Instances
from problem_details import rest

_REQUEST_THREADS = 100
"""Requests at work at once; some of them wait for seconds."""


def build_app(settings: OrchestratorSettings) -> FastAPI:
    """The orchestrator's REST, with the house behind it; the house starts and ends with it."""
    house = House(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _REQUEST_THREADS
        await run_in_threadpool(house.start)
        yield
        await run_in_threadpool(house.close)

    house.uploads.bring_to(
        PackageDeliveries(
            house.package_store, house.package_intake, PackageQuota(settings.packages)
        )
    )
    # Without the pages that FastAPI would bring: they load their scripts from elsewhere.
    gui = Gui(house)
    app = GuardedApp(
        gui.pages,
        title="qnfv orchestrator",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    rest.install(app, STATUS_OF)
    app.include_router(
        images_router(house.catalogue, house.records.users_of_images, house.package_store.of_image)
    )
    app.include_router(uploads_router(house.uploads))
    app.include_router(deployments_router(house.lifecycle))
    app.include_router(instances_router(Instances(house.records, house.data_centres)))
    app.include_router(operations_router(house.lifecycle, house.operation_actions, house.bus))
    app.include_router(infrastructure_router(house.data_centres, house.driver, house.schedule))
    app.include_router(
        network_router(
            house.circuits,
            ManualCircuits(house.circuits, house.clock),
            house.circuit_upkeep,
            house.driver,
            house.topology,
            house.owner_names,
        )
    )
    app.include_router(
        keys_router(
            house.data_centres,
            house.keys,
            house.schedule,
            house.relay,
            house.key_tracer,
        )
    )
    app.include_router(etsi015_router(house.topology, house.driver, house.qkd_links, settings.node))
    app.include_router(schedule_router(house.schedule, house.timetable, house.clock))
    app.include_router(alarms_router(house.schedule))
    app.include_router(accounts_router(house.accounts, house.clock))
    app.include_router(projects_router(house.projects))
    app.include_router(audit_router(house.audit, house.witnesses))
    for router in north_bound_routers(house):
        app.include_router(router)
    app.include_router(gui.router())
    app.include_router(
        metrics_router(
            HouseCollector(house.data_centres, house.keys, house.circuits, house.journal),
            ScheduleCollector(house.schedule),
            InstanceCollector(house.watch),
        )
    )
    app.add_middleware(InterfaceVersions)
    app.add_middleware(
        LoopbackAccess,
        token=load_or_make_token(settings.token_file),
        allowed_hosts=settings.allowed_hosts,
        accounts=house.accounts,
        audit=house.audit,
        max_document_bytes=settings.max_document_bytes,
    )
    return app


def serve(settings_file: Path) -> None:
    """Run until told to stop: `qnfv serve orchestrator --settings FILE`."""
    settings = OrchestratorSettings.load(settings_file)
    configure_logs("orchestrator", form=settings.log_form)
    uvicorn.run(
        build_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whoever is on loopback could say any address
        timeout_graceful_shutdown=5,
    )
    # Threads of operations under way must not hold the process, nor fail for what is being closed.
    sys.stderr.flush()
    os._exit(0)
