"""Wires a KME together; nothing else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI

from database import open_engine
from key_management.etsi014.endpoints import PREFIX, build_etsi014
from key_management.extraction import AliceEnd, BobEnd, PeerKeyStore
from key_management.kme.deliveries import Deliveries
from key_management.kme.directory import Directory, KmeLink
from key_management.kme.endpoints import STATUS_OF, peer_router
from key_management.kme.high_water import HighWaterMark
from key_management.kme.peer import RemoteKme
from key_management.kme.service import Kme
from key_management.kme.settings import KmeLinkTable, KmeSettings
from key_management.kme.tables import migrate_kme
from key_management.kme.upkeep import FilledLink, Filler, Upkeep
from key_management.ledger import KeyLedger
from key_management.sources.port import KeySource
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from observability import configure_logs
from problem_details import rest
from service_settings import find_driver
from timekeeping import SystemClock
from trust import Identity, Role
from trust.client import open_client
from trust.server import mutual_tls_server

_REQUEST_THREADS = 64


def build_app(settings: KmeSettings) -> FastAPI:
    """One KME, ready to be served; it settles what an earlier run left before it answers."""
    clock = SystemClock()
    engine = open_engine(settings.database_url)
    migrate_keys(engine)
    migrate_kme(engine)
    ledger = KeyLedger(
        engine,
        WrappingKeys(settings.state_dir / "wrapping"),
        clock,
        capacity=settings.key_capacity,
    )
    ledger.must_open()
    mark = HighWaterMark(settings.state_dir / "wrapping" / f"{settings.name}.deliveries")
    deliveries = Deliveries(engine, clock, mark)
    peers = {
        link.peer: RemoteKme(
            link.peer,
            open_client(
                link.peer_url,
                credentials=settings.credentials,
                peer=Identity(Role.KME, link.peer),
            ),
        )
        for link in settings.links
    }
    directory = Directory(
        settings.name,
        {sae.id: sae.identity for sae in settings.saes},
        {sae.id: sae.kme for sae in settings.remote_saes},
        [KmeLink(link.name, link.peer, link.role == "alice") for link in settings.links],
    )
    kme = Kme(
        directory,
        ledger,
        deliveries,
        peers,
        settings.limits,
        clock,
        accept_emulated_keys=settings.accept_emulated_keys,
    )

    def source_of(link: KmeLinkTable) -> KeySource:
        source: KeySource = find_driver("key_management.sources", link.source)(link.source_options)
        return source

    filled = [link for link in settings.links if link.filled_by == "source"]
    stores: dict[str, PeerKeyStore] = {
        link.name: BobEnd(ledger, source_of(link)) for link in filled if link.role == "bob"
    }
    fillers = [
        Filler(
            FilledLink(
                link.name,
                AliceEnd(ledger, lambda link=link: source_of(link)),  # type: ignore[misc]
                peers[link.peer],
                link.target_keys,
                link.fill_interval_s,
            ),
            ledger,
            settings.limits,
        )
        for link in filled
        if link.role == "alice"
    ]
    upkeep = Upkeep(kme, fillers, clock, interval_s=settings.settle_interval_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _REQUEST_THREADS
        await anyio.to_thread.run_sync(lambda: kme.settle(starting=True))
        upkeep.start()
        yield
        upkeep.close()
        for peer in peers.values():
            peer.close()
        mark.close()
        engine.dispose()

    app = FastAPI(title="qnfv KME", version="1", lifespan=lifespan)
    rest.install(app, STATUS_OF)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok", "kme": settings.name}

    app.include_router(peer_router(kme, stores))
    app.mount(PREFIX, build_etsi014(kme))
    return app


def serve(settings_file: Path) -> None:
    """Run until told to stop: `qnfv kme serve --settings FILE`."""
    settings = KmeSettings.load(settings_file)
    configure_logs(
        f"kme {settings.name}", form="json" if settings.log_form == "json" else "readable"
    )
    mutual_tls_server(
        build_app(settings),
        host=settings.host,
        port=settings.port,
        credentials=settings.credentials,
    ).run()
