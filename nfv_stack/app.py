"""Wires a slave stack together; nothing else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio.to_thread
from fastapi import FastAPI

from database import open_engine
from idq3p.unit_agent.client import UnitAgentClient
from key_management.extraction import AliceEnd, BobEnd, LocalEnd
from key_management.ledger import KeyLedger
from key_management.relay.node import RelayNode
from key_management.relay.tables import migrate_relay
from key_management.sources.port import KeySource
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from nfv_stack.gateway.endpoints import add_routes
from nfv_stack.gateway.links import Link, Links
from nfv_stack.gateway.statuses import STATUS_OF
from nfv_stack.image_intake.intake import ImageIntake, IntakeRules
from nfv_stack.image_intake.listener import IntakeListener
from nfv_stack.settings import LinkTable, SlaveSettings
from nfv_stack.store.audit_heads import AuditHeads
from nfv_stack.store.tables import migrate_slave
from nfv_stack.store.transfers import TransferStore
from nfv_stack.vim.port import Vim
from nfv_stack.vnf_managers.containers import ContainerManager
from observability import configure_logs
from problem_details import rest
from service_settings import find_driver
from timekeeping import SystemClock
from trust.delivery import RevocationCourier
from trust.server import mutual_tls_server

_REQUEST_THREADS = 100
"""Requests at work at once; some of them wait for seconds."""


def _open_vim(settings: SlaveSettings) -> Vim:
    of_this_stack = {"data_centre": settings.name, "folder": str(settings.state_dir / "vim")}
    options = {**of_this_stack, **settings.vim.options}
    return cast("Vim", find_driver("nfv_stack.vim", settings.vim.driver)(options))


def _open_links(settings: SlaveSettings, ledger: KeyLedger) -> Links:
    def open_link(table: LinkTable) -> Link:
        def open_source() -> KeySource:
            driver = find_driver("key_management.sources", table.source)
            return cast("KeySource", driver(table.source_options))

        unit = UnitAgentClient.open(
            table.unit_agent_name, table.unit_agent_url, settings.credentials
        )
        if table.role == "alice":
            alice = AliceEnd(ledger, open_source)
            return Link(table.name, alice, unit, alice=alice, bob_address=table.bob_address)
        bob = BobEnd(ledger, open_source())
        return Link(table.name, bob, unit, bob=bob)

    relayed = [Link(name, LocalEnd(ledger)) for name in settings.relayed_links]
    return Links(settings.name, [*(open_link(table) for table in settings.links), *relayed], ledger)


def build_app(settings: SlaveSettings) -> FastAPI:
    """The stack of one data centre, ready to be served; it begins to listen for images with it."""
    clock = SystemClock()
    engine = open_engine(settings.database_url)
    migrate_slave(engine)
    migrate_keys(engine)
    migrate_relay(engine)
    ledger = KeyLedger(
        engine,
        WrappingKeys(settings.state_dir / "wrapping"),
        clock,
        capacity=settings.key_capacity,
    )

    ledger.burn_unreadable()
    links = _open_links(settings, ledger)
    relay = RelayNode(settings.name, ledger, engine, clock, floor_keys=settings.relay_floor_keys)
    vim = _open_vim(settings)
    transfers = TransferStore(engine, clock)
    rules = IntakeRules(
        data_centre=settings.name,
        links=frozenset(links.names),
        quota_bytes=settings.intake.quota_bytes,
        stall_timeout_s=settings.intake.stall_timeout_s,
        accept_emulated_keys=settings.accept_emulated_keys,
    )
    intake = ImageIntake(rules, transfers, ledger, vim, clock)
    manager = ContainerManager(settings.name, engine, transfers, intake, vim, clock)

    revocations = RevocationCourier(
        settings.credentials, {unit.name: unit.take_revocations for unit in links.units}
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _REQUEST_THREADS
        listener = IntakeListener(
            intake,
            host=settings.intake.host,
            port=settings.intake.port,
            max_connections=settings.intake.max_connections,
        )
        intake.listen_at(
            settings.intake.advertised_host or settings.intake.host,
            settings.intake.advertised_port or listener.port,
        )
        listener.start()
        revocations.start()
        yield
        revocations.close()
        listener.close()
        intake.close()
        manager.close()
        links.close()
        vim.close()
        engine.dispose()

    app = FastAPI(title="qnfv slave stack", version="1", lifespan=lifespan)
    app.state.revocation_courier = revocations
    rest.install(app, STATUS_OF)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok", "data_centre": settings.name}

    add_routes(
        app,
        name=settings.name,
        intake=intake,
        manager=manager,
        links=links,
        relay=relay,
        vim=vim,
        audit_heads=AuditHeads(engine, settings.credentials.authority, clock),
    )
    return app


def serve(settings_file: Path) -> None:
    """Run until told to stop: `qnfv serve slave --settings FILE`."""
    settings = SlaveSettings.load(settings_file)
    configure_logs(
        f"slave {settings.name}", form="json" if settings.log_form == "json" else "readable"
    )
    mutual_tls_server(
        build_app(settings),
        host=settings.host,
        port=settings.port,
        credentials=settings.credentials,
    ).run()
