"""Disks of virtual machines on the whole way: sealed stream, intake, Glance, Nova, and back."""

from __future__ import annotations

import secrets
import struct
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3
from scripted_cloud import ScriptedCloud, hanging, saying
from small_data_centre import NAME, Centre, DataCentre, Image, Recording

from image_transfer.errors import TransferError
from key_management.states import KeyState
from nfv_stack.contract.disk_image import disk_id
from nfv_stack.contract.schemas import ImageFormat, InstanceRequest, InstanceState, TransferState
from nfv_stack.errors import AnnouncementConflictError, BootFailedError, ImageFormatRefusedError
from nfv_stack.vim.openstack import open_vim
from nfv_stack.vnf_managers.containers import ContainerManager

# One partition, as Glance wants it.
_PARTITION = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, bytes(3), 1, 999).ljust(64, b"\0")
_BOOT_RECORD = bytes(446) + _PARTITION + b"\x55\xaa"


def raw_disk() -> Image:
    content = _BOOT_RECORD + secrets.token_bytes(512_000)
    return Image(disk_id(blake3(content).digest()), content)


def qcow2_disk(*, backing_offset: int = 0) -> Image:
    head = struct.pack(">4sIQ", b"QFI\xfb", 3, backing_offset).ljust(104, b"\0")
    content = head + secrets.token_bytes(512_000)
    return Image(disk_id(blake3(content).digest()), content)


@pytest.fixture
def cloud():
    with ScriptedCloud().serving() as cloud:
        yield cloud


@pytest.fixture
def remote(cloud: ScriptedCloud, tmp_path: Path):
    vim = open_vim(
        {
            "data_centre": NAME,
            "folder": tmp_path / "vim",
            "clouds_file": cloud.write_clouds_file(tmp_path / "clouds.yaml"),
            "timeout_s": 3.0,
            "upload_answer_timeout_s": 3.0,
        }
    )
    made = DataCentre(tmp_path / "remote", vim=vim)
    yield made
    made.close()


def manager_of(remote: DataCentre) -> ContainerManager:
    return ContainerManager(
        NAME, remote.engine, remote.store, remote.intake, remote.vim, remote.clock
    )


def live_and_go(centre: Centre, remote: DataCentre, image: Image, image_format: ImageFormat):
    """From the announcement to the last trace."""
    transfer = centre.transfer(image, image_format=image_format)
    view = transfer.deliver()
    assert (view.state, view.error) == (TransferState.PLACED, None)
    remote.intake.acknowledge(transfer.transfer_id)
    assert remote.key_state(transfer.key_id) is KeyState.CONSUMED
    manager, instance_id = manager_of(remote), uuid4()
    request = InstanceRequest(transfer_id=transfer.transfer_id, name="vm", memory_mib=64)
    running = manager.boot(instance_id, request)
    assert (running.state, running.healthy) == (InstanceState.RUNNING, True)
    assert running.vim == "openstack"
    manager.remove(instance_id)
    assert remote.vim.instances() == {}
    assert not remote.vim.has_image(image.vim_image_id)


@pytest.mark.parametrize(
    ("disk", "image_format"), [(raw_disk, ImageFormat.RAW), (qcow2_disk, ImageFormat.QCOW2)]
)
def test_a_disk_arrives_boots_and_goes(centre, remote, cloud, disk, image_format) -> None:
    live_and_go(centre, remote, disk(), image_format)
    assert (cloud.images, cloud.servers) == ({}, {})


@pytest.mark.real("openstack")
@pytest.mark.timeout(900)
def test_a_disk_arrives_boots_and_goes_on_a_real_cloud(openstack_cloud, tmp_path) -> None:
    name = f"t{secrets.token_hex(4)}"
    vim = open_vim(openstack_cloud.driver_options(name, tmp_path / "vim"))
    remote = DataCentre(tmp_path / "remote", vim=vim)
    (tmp_path / "centre").mkdir()
    try:
        live_and_go(Centre(tmp_path / "centre", remote), remote, raw_disk(), ImageFormat.RAW)
        assert openstack_cloud.images_of(name) == []
        assert openstack_cloud.servers_of(name) == []
    finally:
        remote.close()


@pytest.mark.parametrize(
    ("image", "announced", "why"),
    [
        (qcow2_disk(backing_offset=512), ImageFormat.QCOW2, "backing file"),
        (qcow2_disk(), ImageFormat.RAW, "is a qcow2 disk"),
        (raw_disk(), ImageFormat.QCOW2, "is a raw disk"),
    ],
)
def test_what_a_hostile_sender_announces_is_found_out(
    centre, remote, cloud, image, announced, why
) -> None:
    transfer = centre.transfer(image, image_format=announced)
    view = transfer.deliver()
    assert view.state is TransferState.FAILED
    assert why in view.error
    assert remote.key_state(transfer.key_id) is KeyState.BURNED
    assert cloud.images == {}


def test_an_id_that_is_not_the_disks_is_refused(centre, remote) -> None:
    with pytest.raises(AnnouncementConflictError, match="blake3"):
        centre.transfer(raw_disk(), image_format=ImageFormat.RAW, vim_image_id="../etc")


def test_an_id_of_another_disk_makes_nothing_usable(centre, remote, cloud) -> None:
    other = raw_disk()
    transfer = centre.transfer(
        raw_disk(), image_format=ImageFormat.RAW, vim_image_id=other.vim_image_id
    )
    view = transfer.deliver()
    assert view.state is TransferState.FAILED
    assert other.vim_image_id in view.error
    assert cloud.images == {}


def test_containers_are_not_for_this_cloud(centre, remote) -> None:
    with pytest.raises(ImageFormatRefusedError, match="qcow2, raw"):
        centre.transfer(raw_disk())


def test_a_broken_connection_goes_on_in_the_same_upload(centre, remote, cloud) -> None:
    transfer = centre.transfer(raw_disk(), image_format=ImageFormat.RAW)
    with pytest.raises(TransferError):
        transfer.send(through=Recording(cut_after=200_000))
    transfer.send(transfer.ticket())
    assert remote.settled(transfer.transfer_id).state is TransferState.PLACED
    assert cloud.count("PUT", r"/image/v2/images/[^/]+/file") == 1


def test_cancelled_half_way_leaves_nothing(centre, remote, cloud) -> None:
    transfer = centre.transfer(raw_disk(), image_format=ImageFormat.RAW)
    with pytest.raises(TransferError):
        transfer.send(through=Recording(cut_after=200_000))
    remote.intake.cancel(transfer.transfer_id)
    assert cloud.images == {}
    assert remote.key_state(transfer.key_id) is KeyState.BURNED


@pytest.mark.parametrize("act", [saying(500), saying(503), hanging()])
def test_a_cloud_that_fails_fails_the_transfer_with_its_reason(centre, remote, cloud, act) -> None:
    cloud.on("PUT", r"/image/v2/images/[^/]+/file", act)
    transfer = centre.transfer(raw_disk(), image_format=ImageFormat.RAW)
    view = transfer.deliver()
    assert view.state is TransferState.FAILED
    assert "cloud" in view.error
    assert cloud.images == {}


def test_a_boot_that_fails_tells_novas_reason_and_leaves_nothing(centre, remote, cloud) -> None:
    transfer = centre.transfer(raw_disk(), image_format=ImageFormat.RAW)
    assert transfer.deliver().state is TransferState.PLACED
    remote.intake.acknowledge(transfer.transfer_id)
    cloud.on("POST", r"/compute/v2\.1/servers", saying(403, "Quota exceeded for instances"))
    request = InstanceRequest(transfer_id=transfer.transfer_id, name="vm", memory_mib=64)
    with pytest.raises(BootFailedError, match="Quota exceeded"):
        manager_of(remote).boot(uuid4(), request)
    assert (cloud.images, cloud.servers) == ({}, {})
