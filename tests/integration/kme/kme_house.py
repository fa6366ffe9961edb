"""Two KMEs at the ends of a link, served in threads on loopback behind real mutual TLS."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from database import open_engine
from key_management.etsi014.client import Etsi014Client, open_etsi014
from key_management.kme.app import build_app
from key_management.kme.deliveries import Deliveries
from key_management.kme.settings import KmeSettings
from key_management.ledger import ExtractedKey, KeyLedger
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from timekeeping import SystemClock
from trust import Authority, Credentials, Identity, Role
from trust.client import open_client
from trust.server import mutual_tls_server

LINK = "alice--bob-1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Look again and again until it is true."""
    clock, never = SystemClock(), threading.Event()
    deadline = clock.monotonic() + timeout_s
    while not true():
        assert clock.monotonic() < deadline
        clock.wait(never, 0.05)


@contextmanager
def served(settings: KmeSettings) -> Iterator[None]:
    """The KME answers inside the block."""
    server = mutual_tls_server(
        build_app(settings),
        host=settings.host,
        port=settings.port,
        credentials=settings.credentials,
    )
    server.config.timeout_graceful_shutdown = 0  # connections that tests keep open do not matter
    started = threading.Event()
    original = server.startup

    async def startup(sockets: Any = None) -> None:
        await original(sockets)
        started.set()

    server.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(20)
        yield
    finally:
        server.should_exit = True
        thread.join(20)


@dataclass
class Site:
    """One end: its KME, its store, and who is attached to it."""

    name: str
    role: str
    port: int
    folder: Path
    credentials: Credentials
    saes: dict[str, Credentials]
    remote: dict[str, str]
    peer: str
    peer_port: int
    database_url: str
    more: dict[str, Any] = field(default_factory=dict)
    link_more: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "port": self.port,
            "credentials": {
                "certificate": str(self.credentials.certificate),
                "key": str(self.credentials.key),
                "authority": str(self.credentials.authority),
            },
            "database_url": self.database_url,
            "state_dir": str(self.folder),
            "saes": [{"id": sae} for sae in self.saes],
            "remote_saes": [{"id": sae, "kme": kme} for sae, kme in self.remote.items()],
            "links": [
                {
                    "name": LINK,
                    "role": self.role,
                    "peer": self.peer,
                    "peer_url": f"https://127.0.0.1:{self.peer_port}",
                    **self.link_more,
                }
            ],
            "accept_emulated_keys": True,
            **self.more,
        }

    @property
    def settings(self) -> KmeSettings:
        return KmeSettings(**self.document())

    @contextmanager
    def ledger(self) -> Iterator[KeyLedger]:
        """The store, as the stack beside the KME has it."""
        engine = open_engine(self.database_url)
        migrate_keys(engine)
        try:
            yield KeyLedger(engine, WrappingKeys(self.folder / "wrapping"), SystemClock())
        finally:
            engine.dispose()

    @contextmanager
    def deliveries(self) -> Iterator[Deliveries]:
        engine = open_engine(self.database_url)
        try:
            yield Deliveries(engine, SystemClock())
        finally:
            engine.dispose()

    def client(self, sae: str) -> Etsi014Client:
        return open_etsi014(self.url, self.saes[sae], kme=self.name)

    def http(self, credentials: Credentials) -> httpx.Client:
        return open_client(self.url, credentials=credentials, peer=Identity(Role.KME, self.name))


@dataclass
class House:
    authority: Authority
    alice: Site
    bob: Site
    keys: dict[UUID, bytes] = field(default_factory=dict, repr=False)

    def fill(self, count: int, *, missing_at_bob: int = 0) -> list[UUID]:
        """The same keys in both stores, as an extraction leaves them."""
        epoch = uuid4()
        fresh = {uuid4(): secrets.token_bytes(32) for _ in range(count)}
        self.keys |= fresh
        for site, missing in ((self.alice, 0), (self.bob, missing_at_bob)):
            here = dict(list(fresh.items())[missing:])
            with site.ledger() as ledger:
                entered = ledger.add_pending(
                    LINK,
                    epoch,
                    [ExtractedKey(i, b"12345678", bytearray(k)) for i, k in here.items()],
                    emulated=True,
                )
                assert ledger.confirm(LINK, epoch, entered) == len(here)
        return list(fresh)

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(served(self.alice.settings))
            stack.enter_context(served(self.bob.settings))
            yield


def build_house(
    folder: Path,
    *,
    names: tuple[str, str] = ("kme-a", "kme-b"),
    authority: Authority | None = None,
    database_urls: tuple[str, str] | None = None,
) -> House:
    """SAEs enc-1 and enc-2 at Alice's KME, dec-1 and dec-2 at Bob's."""
    authority = authority or Authority.create(folder / "pki")
    ports = (free_port(), free_port())
    attached = (("enc-1", "enc-2"), ("dec-1", "dec-2"))
    urls = database_urls or tuple(f"sqlite:///{folder / name / 'kme.sqlite'}" for name in names)
    sites = []
    for here, there, role in ((0, 1, "alice"), (1, 0, "bob")):
        name = names[here]
        (folder / name).mkdir(parents=True, exist_ok=True)
        sites.append(
            Site(
                name=name,
                role=role,
                port=ports[here],
                folder=folder / name,
                credentials=authority.issue(
                    Identity(Role.KME, name), addresses=("127.0.0.1",), into=folder / name
                ),
                saes={
                    sae: authority.issue(Identity(Role.SAE, sae), into=folder / name)
                    for sae in attached[here]
                },
                remote={sae: names[there] for sae in attached[there]},
                peer=names[there],
                peer_port=ports[there],
                database_url=urls[here],
            )
        )
    return House(authority, *sites)
