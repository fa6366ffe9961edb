"""A guest that really boots: streamed into Glance, started by Nova, run by QEMU without KVM."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3

from emulators.lab.openstack import guest
from nfv_stack.contract.disk_image import disk_id
from nfv_stack.contract.schemas import ImageFormat, InstanceState
from nfv_stack.vim.openstack import open_vim
from nfv_stack.vim.port import ImageSpec, InstanceSpec

pytestmark = [pytest.mark.real("openstack-vm"), pytest.mark.timeout(1200)]
BOOT_TIMEOUT_S = 240


def eventually(look, what: str):
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        threading.Event().wait(1)
    pytest.fail(f"never came: {what}")


@pytest.fixture(scope="module")
def marker() -> str:
    return f"qnfv guest {secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def raw_disk(openstack_vm_cloud, tmp_path_factory, marker) -> Path:
    folder = tmp_path_factory.mktemp("guest")
    guest.build_disk(folder / "guest.raw", marker=marker, cache=folder / "parts")
    return folder / "guest.raw"


@pytest.mark.parametrize("image_format", [ImageFormat.RAW, ImageFormat.QCOW2])
def test_its_console_shows_its_marker(
    openstack_vm_cloud, raw_disk, marker, tmp_path, image_format
) -> None:
    disk = raw_disk
    if image_format is ImageFormat.QCOW2:
        disk = tmp_path / "guest.qcow2"
        convert = [shutil.which("qemu-img") or "qemu-img", "convert", "-O", "qcow2"]
        subprocess.run([*convert, raw_disk, disk], check=True, timeout=60)
    content = disk.read_bytes()
    digest = blake3(content).digest()
    spec = ImageSpec(digest, len(content), image_format, disk_id(digest))
    name = f"t{secrets.token_hex(4)}"
    vim = open_vim(openstack_vm_cloud.driver_options(name, tmp_path / "vim"))
    instance = InstanceSpec(uuid4(), "guest", spec.vim_image_id, digest, 64, 1.0)
    try:
        vim.place_image(spec, iter([memoryview(content)]))
        vim.start_instance(instance)
        _eventually_runs(vim, instance)
        eventually(lambda: f"{marker}, up" in vim.log(instance.instance_id), "its marker")
        assert vim.stop_instance(instance.instance_id).state is InstanceState.STOPPED
        vim.start_instance(instance)
        _eventually_runs(vim, instance)
    finally:
        vim.remove_instance(instance.instance_id)
        vim.remove_image(spec.vim_image_id)
        vim.close()
    assert openstack_vm_cloud.servers_of(name) == []
    assert openstack_vm_cloud.images_of(name) == []


def _eventually_runs(vim, instance: InstanceSpec) -> None:
    def running() -> bool:
        view = vim.instance(instance.instance_id)
        assert view is not None
        assert view.state is not InstanceState.FAILED, view.detail
        return view.healthy

    eventually(running, "a running guest")
