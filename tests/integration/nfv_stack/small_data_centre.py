"""One remote data centre with real sockets and stores, and the sending end that faces it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

from blake3 import blake3

from database import open_engine
from image_transfer import (
    Announcement,
    Attempt,
    Header,
    KeySource,
    SendReport,
    derive_attempt_keys,
    send_image,
)
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import (
    ImageAnnouncement,
    ImageFormat,
    KeySourceClass,
    Ticket,
    TransferState,
    TransferView,
)
from nfv_stack.image_intake.intake import ImageIntake, IntakeRules
from nfv_stack.image_intake.listener import IntakeListener
from nfv_stack.store.tables import migrate_slave
from nfv_stack.store.transfers import TransferStore
from nfv_stack.vim.emulated import EmulatedVim
from nfv_stack.vim.port import Vim
from timekeeping import SystemClock

LINK = "alice--bob-1"
NAME = "dc-1"
CHUNK_LOG2 = 14
WAIT_S = 20.0


@dataclass(frozen=True)
class Image:
    vim_image_id: str
    content: bytes

    @property
    def digest(self) -> bytes:
        return blake3(self.content).digest()


def container_image(layer_bytes: int = 300_000) -> Image:
    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("data")
        info.size = layer_bytes
        tar.addfile(info, BytesIO(secrets.token_bytes(layer_bytes)))
    config = {"architecture": "amd64", "os": "linux", "config": {}}
    return Image(*normal_archive.build(config, [layer.getvalue()]))


def ledger_in(folder: Path, url: str | None = None) -> KeyLedger:
    engine = open_engine(url or f"sqlite:///{folder / 'keys.sqlite'}")
    migrate_keys(engine)
    return KeyLedger(engine, WrappingKeys(folder / "wrapping"), SystemClock())


class WatchedVim(EmulatedVim):
    """Counts what is placed; `gate` holds the verdict back, `refusal` gives one."""

    def __init__(self, *, data_centre: str, folder: Path) -> None:
        super().__init__(data_centre=data_centre, folder=folder)
        self.placements = 0
        self.pulled_bytes = 0
        self.gate = threading.Event()
        self.gate.set()
        self.refusal: Exception | None = None
        self.at_the_gate = threading.Event()

    def place_image(self, spec, chunks):
        self.placements += 1

        def counted():
            for chunk in chunks:
                self.pulled_bytes += len(chunk)
                if self.refusal is not None:
                    raise self.refusal
                yield chunk

        placed = super().place_image(spec, counted())
        self.at_the_gate.set()
        assert self.gate.wait(WAIT_S)
        return placed

    def held_files(self) -> list[Path]:
        return sorted(self._images.iterdir())


class DataCentre:
    """The intake of one stack, its listener, and its end of the key store."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str | None = None,
        vim: Vim | None = None,
        stall_timeout_s: float = WAIT_S,
        accept_emulated_keys: bool = True,
        quota_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.folder = folder
        url = database_url or f"sqlite:///{folder / 'slave.sqlite'}"
        self.engine = open_engine(url)
        migrate_slave(self.engine)
        self.keys = ledger_in(folder, url)
        self.vim = vim or WatchedVim(data_centre=NAME, folder=folder / "vim")
        self.rules = IntakeRules(
            data_centre=NAME,
            links=frozenset({LINK}),
            quota_bytes=quota_bytes,
            stall_timeout_s=stall_timeout_s,
            accept_emulated_keys=accept_emulated_keys,
        )
        self.start()

    def start(self) -> None:
        self.clock = SystemClock()
        self.store = TransferStore(self.engine, self.clock)
        self.intake = ImageIntake(self.rules, self.store, self.keys, self.vim, self.clock)
        self.listener = IntakeListener(self.intake, host="127.0.0.1", port=0, max_connections=8)
        self.intake.listen_at("127.0.0.1", self.listener.port)
        self.listener.start()

    def stop(self) -> None:
        self.listener.close()
        self.intake.close()

    def close(self) -> None:
        self.stop()
        self.vim.close()
        self.engine.dispose()

    def key_state(self, key_id: UUID) -> KeyState:
        return self.keys.get(LINK, key_id).state

    def settled(self, transfer_id: UUID) -> TransferView:
        return self.intake.view(transfer_id, wait_s=WAIT_S)


class Centre:
    """The trusted end: Alice's key store, and the sealed stream's sender."""

    def __init__(self, folder: Path, remote: DataCentre) -> None:
        self.folder = folder
        self.remote = remote
        self.keys = ledger_in(folder)
        self.headers: dict[tuple[UUID, int], Header] = {}

    def shared_key(self, *, bob_holds_another: bool = False, emulated: bool = True) -> UUID:
        key_id, epoch, key = uuid4(), uuid4(), secrets.token_bytes(32)
        bobs = secrets.token_bytes(32) if bob_holds_another else key
        for ledger, secret in ((self.keys, key), (self.remote.keys, bobs)):
            extracted = ExtractedKey(key_id, secrets.token_bytes(8), bytearray(secret))
            ledger.add_pending(LINK, epoch, [extracted], emulated=emulated)
            ledger.confirm(LINK, epoch, [key_id])
        return key_id

    def transfer(
        self, image: Image, key_id: UUID | None = None, *, announce: bool = True, **changes: object
    ) -> Transfer:
        transfer = Transfer(self, image, key_id or self.shared_key(), changes)
        self.keys.reserve_by_id(LINK, transfer.key_id, transfer.transfer_id)
        if announce:
            transfer.announce()
        return transfer


class Transfer:
    """One image on its way, as the orchestrator sees it."""

    def __init__(
        self, centre: Centre, image: Image, key_id: UUID, changes: dict[str, object]
    ) -> None:
        self.centre = centre
        self.remote = centre.remote
        self.image = image
        self.key_id = key_id
        self.transfer_id = uuid4()
        self.announcement = ImageAnnouncement(
            **{
                "link": LINK,
                "key_id": key_id,
                "key_source": KeySourceClass.EMULATED,
                "sender": "central",
                "chunk_log2": CHUNK_LOG2,
                "image_digest": image.digest.hex(),
                "image_size": len(image.content),
                "image_format": ImageFormat.DOCKER_ARCHIVE,
                "vim_image_id": image.vim_image_id,
                **changes,
            }
        )
        self.source = centre.folder / f"{self.transfer_id}.tar"
        self.source.write_bytes(image.content)

    @property
    def message(self) -> Message:
        return Message(self.transfer_id, self.image.digest, NAME)

    def announce(self) -> TransferView:
        return self.remote.intake.announce(self.transfer_id, self.announcement)

    def ticket(self) -> Ticket:
        self.centre.keys.arm(LINK, self.key_id, self.message)
        return self.remote.intake.ticket(self.transfer_id)

    def sealed(self, *, destination: str = NAME) -> Announcement:
        return Announcement(
            transfer_id=self.transfer_id,
            image_digest=self.image.digest,
            image_size=len(self.image.content),
            key_id=self.key_id,
            key_source=KeySource.EMULATED,
            sender="central",
            destination=destination,
            chunk_log2=CHUNK_LOG2,
        )

    def send(
        self,
        ticket: Ticket | None = None,
        *,
        destination: str = NAME,
        progress: Callable[[int], None] | None = None,
        through: Callable[[Ticket], contextlib.AbstractContextManager[socket.socket]] | None = None,
    ) -> SendReport:
        """One attempt over a real socket."""
        ticket = ticket or self.ticket()
        attempt = Attempt(ticket.attempt, ticket.start_chunk, bytes.fromhex(ticket.receiver_nonce))

        def journal(header: Header) -> None:
            self.centre.headers[self.transfer_id, header.attempt.number] = header

        with (through or connected)(ticket) as connection:
            return send_image(
                connection,
                self.source,
                self.sealed(destination=destination),
                attempt,
                lambda header: self.centre.keys.with_armed_key(
                    LINK, self.key_id, self.message, lambda key: derive_attempt_keys(key, header)
                ),
                journal=journal,
                progress=progress,
                stall_timeout_s=WAIT_S,
            )

    def deliver(self) -> TransferView:
        """Send in one attempt; the data centre's verdict, whichever it is."""
        with contextlib.suppress(Exception):
            self.send().receipt_key.destroy()
        return self.remote.settled(self.transfer_id)

    def state(self) -> TransferState:
        return self.remote.intake.view(self.transfer_id).state


@contextlib.contextmanager
def connected(ticket: Ticket) -> Iterator[socket.socket]:
    with socket.create_connection((ticket.intake_host, ticket.intake_port), timeout=5) as sock:
        yield sock


class Recording:
    """A relay on the way: keeps what passes, may cut after `cut_after` bytes or flip a bit."""

    def __init__(self, *, cut_after: int | None = None, flip_at: int | None = None) -> None:
        self.passed = bytearray()
        self.cut_after = cut_after
        self.flip_at = flip_at
        self.cut = threading.Event()

    @contextlib.contextmanager
    def __call__(self, ticket: Ticket) -> Iterator[socket.socket]:
        near, far = socket.socketpair()
        with near, far, connected(ticket) as onward:
            onward.settimeout(None)
            forward = threading.Thread(target=self._forward, args=(far, onward))
            forward.start()
            back = threading.Thread(target=self._back, args=(onward, far))
            back.start()
            try:
                yield near
            finally:
                near.close()
                forward.join(WAIT_S)
                back.join(WAIT_S)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := bytearray(source.recv(4096)):
                start = len(self.passed)
                if self.cut_after is not None and start + len(data) > self.cut_after:
                    target.sendall(data[: self.cut_after - start])
                    self.passed += data[: self.cut_after - start]
                    break
                if self.flip_at is not None and start <= self.flip_at < start + len(data):
                    data[self.flip_at - start] ^= 1
                self.passed += data
                target.sendall(data)
        self.cut.set()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _back(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
