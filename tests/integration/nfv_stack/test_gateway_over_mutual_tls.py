"""The whole stack of one data centre behind mutual TLS, asked by the client that callers use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from small_data_centre import LINK, NAME, Centre, DataCentre, Transfer, container_image, ledger_in

from key_management.states import KeyState
from nfv_stack.app import build_app
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError, SlaveUnreachableError
from nfv_stack.contract.ordering import CommandOrder
from nfv_stack.contract.schemas import (
    InstanceRequest,
    InstanceState,
    Notice,
    StartRequest,
    TransferState,
    UnitStart,
)
from nfv_stack.settings import IntakeTable, LinkTable, SlaveSettings, VimTable
from trust import Authority, Identity, Role
from trust.client import open_client
from trust.server import mutual_tls_server

SLAVE = Identity(Role.SLAVE, NAME)


@dataclass
class Gateway:
    url: str
    authority: Authority
    folder: Path

    def client(self, identity: Identity, authority: Authority | None = None) -> SlaveClient:
        credentials = (authority or self.authority).issue(identity)
        return SlaveClient(NAME, open_client(self.url, credentials=credentials, peer=SLAVE))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    authority = Authority.create(tmp_path / "pki")
    credentials = authority.issue(SLAVE)
    folder = tmp_path / "slave"
    settings = SlaveSettings(
        name=NAME,
        port=0,
        credentials=credentials,
        database_url=f"sqlite:///{folder / 'slave.sqlite'}",
        state_dir=folder,
        intake=IntakeTable(port=0, quota_bytes=10_000_000),
        vim=VimTable(driver="emulated"),
        links=(
            LinkTable(
                name=LINK,
                unit_agent_url="https://127.0.0.1:9",
                unit_agent_name="bob-1",
                source_options={"address": "127.0.0.1"},
            ),
        ),
        accept_emulated_keys=True,
    )
    server = mutual_tls_server(
        build_app(settings), host="127.0.0.1", port=0, credentials=credentials
    )
    started = threading.Event()
    original = server.startup

    async def startup(sockets: object = None) -> None:
        await original()
        started.set()

    server.startup = startup  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Gateway(f"https://127.0.0.1:{port}", authority, folder)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def slave(gateway: Gateway) -> Iterator[SlaveClient]:
    client = gateway.client(Identity(Role.ORCHESTRATOR, "central"))
    yield client
    client.close()


class _RemoteThroughGateway:
    """What `Transfer` asks of a data centre, asked over REST."""

    def __init__(self, slave: SlaveClient, gateway: Gateway) -> None:
        self.slave = slave
        self.intake = self
        self.keys = ledger_in(gateway.folder, f"sqlite:///{gateway.folder / 'slave.sqlite'}")

    def announce(self, transfer_id, announcement):
        return self.slave.announce(transfer_id, announcement)

    def ticket(self, transfer_id):
        return self.slave.ticket(transfer_id)

    def settled(self, transfer_id):
        return self.slave.transfer(transfer_id, wait_s=20)

    key_state = DataCentre.key_state


@pytest.fixture
def centre(tmp_path: Path, slave: SlaveClient, gateway: Gateway) -> Centre:
    (tmp_path / "centre").mkdir()
    return Centre(tmp_path / "centre", _RemoteThroughGateway(slave, gateway))


def refused(slug: str, status: int):
    return pytest.raises(SlaveRefusedError, check=lambda e: _is(e, slug, status))


def _is(error: SlaveRefusedError, slug: str, status: int) -> bool:
    assert (error.problem.slug, error.problem.status) == (slug, status)
    assert error.problem.detail
    assert error.problem.next_step
    return True


def test_an_image_from_announcement_to_removal(centre: Centre, slave: SlaveClient) -> None:
    description = slave.data_centre()
    assert (description.name, description.links) == (NAME, [LINK])
    assert description.vim.emulated
    transfer: Transfer = centre.transfer(container_image())
    assert transfer.deliver().state is TransferState.PLACED
    notice = Notice(image_digest=transfer.image.digest.hex(), key_id=transfer.key_id)
    assert slave.notify(transfer.transfer_id, notice).attempt == 1

    ids = [uuid4(), uuid4()]
    for index, instance_id in enumerate(ids):
        request = InstanceRequest(transfer_id=transfer.transfer_id, name=f"web-{index}")
        view = slave.boot(instance_id, request)
        assert view.state is InstanceState.RUNNING
        assert slave.capacity().instances == index + 1
        assert view == slave.boot(instance_id, request)
        seen = slave.instance(instance_id)
        assert seen.image_held is True
        assert seen.model_copy(update={"image_held": None, "usage": None}) == view
    (end_point,) = view.end_points
    page = httpx.get(f"http://{end_point.host}:{end_point.host_port}/")
    assert "not executed" in page.text
    assert "emulated" in slave.instance_log(ids[0]).text

    acknowledged = slave.acknowledge(transfer.transfer_id)
    assert acknowledged.state is TransferState.ACKNOWLEDGED
    assert slave.pool(LINK).counts[KeyState.CONSUMED] == 1

    # The second instance still needs the image; with the last one it goes.
    slave.remove_instance(ids[0])
    assert slave.boot(uuid4(), request).state is InstanceState.RUNNING
    slave.remove_instance(ids[0])
    with refused("unknown-instance", 404):
        slave.instance(ids[0])


def test_an_instance_is_stopped_started_and_made_anew(centre: Centre, slave: SlaveClient) -> None:
    transfer = centre.transfer(container_image())
    transfer.deliver()
    slave.acknowledge(transfer.transfer_id)
    instance_id, again = uuid4(), StartRequest(boot_timeout_s=10)
    with refused("unknown-instance", 404):
        slave.stop_instance(instance_id)
    slave.boot(instance_id, InstanceRequest(transfer_id=transfer.transfer_id, name="web"))
    assert slave.stop_instance(instance_id).state is InstanceState.STOPPED
    assert [view.state for view in slave.instances()] == [InstanceState.STOPPED]
    assert slave.start_instance(instance_id, again).healthy
    assert slave.recreate_instance(instance_id, again).healthy
    assert "emulated" in slave.instance_log(instance_id, lines=1).text
    assert slave.instance(instance_id).image_held is True


def test_the_last_instance_takes_the_image_with_it(centre: Centre, slave: SlaveClient) -> None:
    transfer = centre.transfer(container_image())
    transfer.deliver()
    slave.acknowledge(transfer.transfer_id)
    request = InstanceRequest(transfer_id=transfer.transfer_id, name="web")
    first, second = uuid4(), uuid4()
    slave.boot(first, request)
    slave.boot(second, request)
    slave.remove_instance(first)
    slave.remove_instance(second)
    with refused("boot-failed", 502):
        slave.boot(uuid4(), request)


def test_commands_that_come_late_are_refused(centre: Centre, slave: SlaveClient) -> None:
    transfer = centre.transfer(container_image())
    transfer.deliver()
    slave.acknowledge(transfer.transfer_id)
    instance_id, again = uuid4(), StartRequest(boot_timeout_s=10)
    request = InstanceRequest(transfer_id=transfer.transfer_id, name="web")
    late, order = CommandOrder(7, 1), CommandOrder(7, 2)
    assert slave.boot(instance_id, request, order=order).healthy
    commands: list[Callable[[], object]] = [
        lambda: slave.boot(instance_id, request, order=late),
        lambda: slave.stop_instance(instance_id, order=late),
        lambda: slave.start_instance(instance_id, again, order=late),
        lambda: slave.recreate_instance(instance_id, again, order=late),
        lambda: slave.remove_instance(instance_id, order=late),
    ]
    for command in commands:
        with refused("late-command", 409):
            command()
    assert slave.stop_instance(instance_id, order=order).state is InstanceState.STOPPED
    slave.remove_instance(instance_id, order=CommandOrder(8, 0))
    with refused("late-command", 409):
        slave.boot(instance_id, request, order=order)
    assert slave.instances() == []


def test_each_problem_has_its_type_and_says_what_to_do(centre: Centre, slave: SlaveClient) -> None:
    transfer = centre.transfer(container_image())
    with refused("unknown-transfer", 404):
        slave.transfer(uuid4())
    with refused("wrong-transfer-state", 409):
        slave.boot(uuid4(), InstanceRequest(transfer_id=transfer.transfer_id, name="web"))
    with refused("wrong-transfer-state", 409):
        slave.acknowledge(transfer.transfer_id)
    with refused("announcement-conflict", 409):
        slave.announce(
            transfer.transfer_id, transfer.announcement.model_copy(update={"image_size": 1})
        )
    with refused("quota-exceeded", 422):
        slave.announce(uuid4(), transfer.announcement.model_copy(update={"image_size": 10**8}))
    with refused("unknown-link", 404):
        slave.pool("alice--bob-9")
    with refused("wrong-key-state", 409):
        slave.announce(uuid4(), transfer.announcement)
    with refused("unknown-transfer", 404):
        slave.cancel(uuid4())
    slave.remove_instance(uuid4())
    assert slave.cancel(transfer.transfer_id).state is TransferState.CANCELLED


def test_a_unit_agent_that_is_down_is_said_so(slave: SlaveClient) -> None:
    with pytest.raises(SlaveRefusedError) as error:
        slave.start_unit(LINK, UnitStart(turn_id=uuid4(), fencing=1, line_attenuation_db=1.0))
    assert error.value.problem.status == 502


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": "../../etc"},
        {"link": "a/b"},
        {"image_digest": "00"},
        {"image_size": -1},
        {"chunk_log2": 40},
        {"vim_image_id": "x" * 200},
        {"key": "00" * 32},
    ],
)
def test_documents_of_another_form(centre: Centre, slave: SlaveClient, gateway, changes) -> None:
    transfer = centre.transfer(container_image(), announce=False)
    document = {**transfer.announcement.model_dump(mode="json"), **changes}
    credentials = gateway.authority.issue(Identity(Role.ORCHESTRATOR, "central"))
    with open_client(gateway.url, credentials=credentials, peer=SLAVE) as client:
        answer = client.put(f"/v1/transfers/{transfer.transfer_id}", json=document)
    assert answer.status_code == 422
    assert next(iter(changes)) in answer.json()["detail"]
    assert centre.remote.key_state(transfer.key_id) is KeyState.AVAILABLE


def test_a_wrong_role_changes_nothing(centre: Centre, gateway: Gateway) -> None:
    transfer = centre.transfer(container_image(), announce=False)
    for identity in (Identity(Role.UNIT_AGENT, "bob-1"), Identity(Role.SLAVE, "dc-2")):
        other = gateway.client(identity)
        with refused("not-allowed", 403):
            other.announce(transfer.transfer_id, transfer.announcement)
        with refused("not-allowed", 403):
            other.remove_instance(uuid4())
        other.close()
    assert centre.remote.key_state(transfer.key_id) is KeyState.AVAILABLE


def test_a_stranger_s_certificate_gets_no_word(tmp_path: Path, gateway: Gateway) -> None:
    stranger = gateway.client(
        Identity(Role.ORCHESTRATOR, "central"), Authority.create(tmp_path / "other")
    )
    with pytest.raises(SlaveUnreachableError):
        stranger.data_centre()
    stranger.close()
