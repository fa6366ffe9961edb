"""What only a real OpenStack can show: quotas, schedulers, networks, crashes in the middle."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from contract_marks import OPENSTACK_MARKS
from vim_images import DISK_BYTES, disk_of, instance_of, small_disk

from nfv_stack.contract.schemas import ImageFormat, InstanceState
from nfv_stack.errors import ImageRejectedError, VimRefusedError, VimUnreachableError
from nfv_stack.vim.openstack import open_vim

pytestmark = OPENSTACK_MARKS
DEADLINE_S = 60
PAUSE_S = 8
"""Twice what uwsgi waits by itself."""

# Streams the first half of a disk, says so, and waits to be killed.
_UPLOADER = """
import sys, threading
from vim_images import Image
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.vim.openstack import open_vim
name, folder, clouds_file, image_id, disk = sys.argv[1:]
image = Image(image_id, open(disk, "rb").read(), ImageFormat.RAW)
vim = open_vim({"data_centre": name, "folder": folder, "clouds_file": clouds_file})
def half():
    for index, chunk in enumerate(image.chunks(262_144)):
        if index == 6:
            print("half", flush=True)
            threading.Event().wait()
        yield chunk
vim.place_image(image.spec(), half())
"""


@pytest.fixture
def name() -> str:
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def opened(openstack_cloud, name, tmp_path):
    vims = []

    def again(**changes: object):
        vims.append(open_vim(openstack_cloud.driver_options(name, tmp_path / "vim", **changes)))
        return vims[-1]

    yield again
    tidy = again()
    for instance_id in tidy.instances():
        tidy.remove_instance(instance_id)
    for image in openstack_cloud.images_of(name):
        openstack_cloud.tenant.image.delete_image(image)
    for vim in vims:
        vim.close()


@pytest.fixture
def vim(opened):
    return opened()


@pytest.fixture
def placed(vim):
    image = small_disk()
    vim.place_image(image.spec(), image.chunks())
    return image


def eventually(look, what: str):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        threading.Event().wait(0.3)
    pytest.fail(f"never came: {what}")


def in_state(vim, instance_id, state: InstanceState):
    view = vim.instance(instance_id)
    return view if view is not None and view.state is state else None


class TestGlance:
    def test_the_record_is_private_and_marked(self, vim, name, openstack_cloud) -> None:
        image = small_disk(ImageFormat.QCOW2)
        vim.place_image(image.spec(), image.chunks())
        (record,) = openstack_cloud.images_of(name)
        assert record.visibility == "private"
        assert record.disk_format == "qcow2"
        assert (record.size, record.virtual_size) == (DISK_BYTES, 1024**3)
        assert record.properties["qnfv_image"] == image.vim_image_id

    def test_a_disk_without_a_partition_is_glances_to_refuse(
        self, vim, name, openstack_cloud
    ) -> None:
        """Its own words come through."""
        image = disk_of(bytes(510) + b"\x55\xaa" + bytes(100_000), ImageFormat.RAW)
        with pytest.raises(ImageRejectedError, match=r"\(415\).*safety checks"):
            vim.place_image(image.spec(), image.chunks())
        assert openstack_cloud.images_of(name) == []

    def test_a_stream_may_pause(self, vim) -> None:
        """As when its connection broke and is resumed."""
        image = small_disk()

        def pausing():
            for index, chunk in enumerate(image.chunks(1024 * 1024)):
                if index == 1:
                    threading.Event().wait(PAUSE_S)
                yield chunk

        assert vim.place_image(image.spec(), pausing()) == image.vim_image_id

    def test_a_stack_killed_in_the_middle_leaves_nothing_usable(
        self, opened, name, openstack_cloud, tmp_path
    ) -> None:
        image = small_disk()
        (disk := tmp_path / "disk").write_bytes(image.content)
        arguments = [name, tmp_path / "vim", openstack_cloud.layout.clouds_file]
        uploader = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _UPLOADER, *arguments, image.vim_image_id, disk],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parent)},
        )
        assert uploader.stdout is not None
        assert uploader.stdout.readline() == b"half\n"
        uploader.send_signal(signal.SIGKILL)
        uploader.wait(10)
        uploader.stdout.close()
        (left,) = openstack_cloud.images_of(name)
        later = opened()
        assert not later.has_image(image.vim_image_id)
        later.place_image(image.spec(), image.chunks())
        (record,) = openstack_cloud.images_of(name)
        assert (record.status, record.id != left.id) == ("active", True)
        later.remove_image(image.vim_image_id)
        assert openstack_cloud.images_of(name) == []

    def test_cancelled_after_a_crash(self, opened, name, openstack_cloud, monkeypatch) -> None:
        """The image was placed; the stack died before it could say so, and is asked to undo."""
        vim, image = opened(), small_disk()
        vim.place_image(image.spec(), image.chunks())
        later = opened()
        later.remove_image(image.vim_image_id)
        assert openstack_cloud.images_of(name) == []

    def test_glance_hangs(self, opened, name, openstack_cloud) -> None:
        vim, image = opened(timeout_s=2.0, upload_answer_timeout_s=2.0), small_disk()
        vim.describe()
        with openstack_cloud.hanging("glance"), pytest.raises(VimUnreachableError):
            vim.place_image(image.spec(), image.chunks())
        vim.place_image(image.spec(), image.chunks())
        assert vim.has_image(image.vim_image_id)
        vim.remove_image(image.vim_image_id)
        assert openstack_cloud.images_of(name) == []


class TestNova:
    def test_no_valid_host(self, vim, placed, name, openstack_cloud) -> None:
        spec = instance_of(placed, memory_mib=900_000)
        vim.start_instance(spec)
        view = eventually(
            lambda: in_state(vim, spec.instance_id, InstanceState.FAILED), "the scheduler's no"
        )
        assert "No valid host" in view.detail
        vim.remove_instance(spec.instance_id)
        assert openstack_cloud.servers_of(name) == []

    def test_over_quota(self, vim, placed, name, openstack_cloud) -> None:
        with _instance_quota(openstack_cloud, 0), pytest.raises(VimRefusedError) as raised:
            vim.start_instance(instance_of(placed))
        assert "Quota exceeded" in raised.value.detail
        assert "quota" in raised.value.next_step
        assert openstack_cloud.servers_of(name) == []

    def test_a_network_that_cannot_be_plugged_leaves_no_port(
        self, opened, placed, name, openstack_cloud
    ) -> None:
        tenant = openstack_cloud.tenant
        network = tenant.network.create_network(name=name)
        tenant.network.create_subnet(network_id=network.id, ip_version=4, cidr="192.0.2.0/24")
        try:
            vim = opened(network=name)
            spec = instance_of(placed)
            vim.start_instance(spec)
            view = eventually(
                lambda: in_state(vim, spec.instance_id, InstanceState.FAILED), "a port unbound"
            )
            assert len(view.detail) > len("ERROR, "), "no reason"
            vim.remove_instance(spec.instance_id)
            assert list(tenant.network.ports(network_id=network.id)) == []
        finally:
            tenant.network.delete_network(network)

    def test_a_network_that_is_not_there(self, opened, placed) -> None:
        with pytest.raises(VimRefusedError, match="no network nowhere"):
            opened(network="nowhere").start_instance(instance_of(placed))

    def test_removed_behind_our_back(self, vim, placed, openstack_cloud) -> None:
        spec = instance_of(placed)
        server_id = vim.start_instance(spec).vim_instance_id
        openstack_cloud.tenant.compute.delete_server(server_id)
        eventually(lambda: vim.instance(spec.instance_id) is None, "its end")
        assert vim.start_instance(spec).vim_instance_id != server_id

    def test_a_crash_after_creation_is_adopted(
        self, opened, placed, name, openstack_cloud, monkeypatch
    ) -> None:
        vim, spec = opened(), instance_of(placed)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(vim._servers._journal, "record_server", killed)
        with pytest.raises(KeyboardInterrupt):
            vim.start_instance(spec)
        later = opened()
        view = later.start_instance(spec)
        (server,) = openstack_cloud.servers_of(name)
        assert server.id == view.vim_instance_id

    def test_the_cloud_hangs_and_goes_on(self, opened, placed, openstack_cloud) -> None:
        vim, hurried, spec = opened(), opened(timeout_s=2.0), instance_of(placed)
        vim.start_instance(spec)
        with openstack_cloud.hanging("nova"), pytest.raises(VimUnreachableError):
            hurried.instance(spec.instance_id)
        assert vim.instance(spec.instance_id) is not None


@contextlib.contextmanager
def _instance_quota(cloud, instances: int):
    project = cloud.tenant.current_project_id
    before = cloud.admin.compute.get_quota_set(project).instances
    cloud.admin.compute.update_quota_set(project, instances=instances)
    try:
        yield
    finally:
        cloud.admin.compute.update_quota_set(project, instances=before)
