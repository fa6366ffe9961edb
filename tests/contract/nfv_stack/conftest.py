"""Every VIM driver, two data centres each, and images that no other test run shares."""

from __future__ import annotations

import contextlib
import json
import secrets
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from contract_marks import OPENSTACK_MARKS
from docker.errors import DockerException, NotFound
from real_openstack import RealOpenStack
from vim_images import Image, small_disk, small_image

from emulators.lab import web_vnf
from nfv_stack.contract import normal_archive
from nfv_stack.vim.docker import DockerVim
from nfv_stack.vim.emulated import EmulatedVim
from nfv_stack.vim.openstack import open_vim
from nfv_stack.vim.port import Vim


@dataclass
class Site:
    """One infrastructure of some kind."""

    driver: str
    open: Callable[[str], Vim]
    new_image: Callable[[], Image] = small_image
    """A small image of the kind that it takes."""
    serves_pages: bool = True
    """Whether its instances of `bootable` answer over HTTP."""
    names: list[str] = field(default_factory=list)
    vims: list[Vim] = field(default_factory=list)

    def data_centre(self, name: str | None = None) -> Vim:
        name = name or f"t{secrets.token_hex(4)}"
        self.names.append(name)
        vim = self.open(name)
        self.vims.append(vim)
        return vim

    def reopened(self, vim: Vim) -> Vim:
        """The same data centre after a restart of its stack."""
        name = self.names[self.vims.index(vim)]
        vim.close()
        return self.data_centre(name)


@pytest.fixture(scope="session")
def engine(missing_part) -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except DockerException as error:
        missing_part("docker", str(error))
        return
    yield client
    client.close()


@pytest.fixture(scope="session")
def busybox(tmp_path_factory, missing_part) -> Path:
    try:
        return web_vnf.find_static_busybox(tmp_path_factory.mktemp("busybox"))
    except web_vnf.NoStaticBusyboxError as error:
        missing_part("docker", str(error))
        raise


@pytest.fixture(params=["emulated", "docker", pytest.param("openstack", marks=OPENSTACK_MARKS)])
def site(request, tmp_path) -> Iterator[Site]:
    if request.param == "openstack":
        cloud = request.getfixturevalue("openstack_cloud")
        yield from _openstack_site(cloud, tmp_path)
        return
    if request.param == "emulated":
        site = Site("emulated", lambda name: EmulatedVim(data_centre=name, folder=tmp_path / name))
        yield site
        for vim in site.vims:
            vim.close()
        return
    engine = request.getfixturevalue("engine")
    site = Site("docker", lambda name: DockerVim(data_centre=name))
    yield site
    for name in site.names:
        for left in engine.containers.list(all=True, filters={"label": f"qnfv.data-centre={name}"}):
            with contextlib.suppress(NotFound):
                left.remove(force=True)
        for image in engine.images.list(name=f"qnfv-{name}/vnf"):
            engine.images.remove(image.id, force=True)
    for vim in site.vims:
        vim.close()


def _openstack_site(cloud: RealOpenStack, tmp_path: Path) -> Iterator[Site]:
    site = Site(
        "openstack",
        lambda name: open_vim(cloud.driver_options(name, tmp_path / name)),
        new_image=small_disk,
        serves_pages=False,
    )
    yield site
    for vim in site.vims:
        for instance_id in vim.instances():
            vim.remove_instance(instance_id)
        vim.close()
    for name in site.names:
        for image in cloud.images_of(name):
            cloud.tenant.image.delete_image(image)


@pytest.fixture
def vim(site: Site) -> Vim:
    return site.data_centre()


@pytest.fixture
def new_image(site: Site) -> Callable[[], Image]:
    return site.new_image


@pytest.fixture
def bootable(site: Site, request) -> Callable[[], Image]:
    """Images whose instances come up."""
    if site.driver == "openstack":  # its hypervisor here runs nothing
        return site.new_image
    return request.getfixturevalue("web_image")


@pytest.fixture
def web_image(busybox: Path, tmp_path: Path) -> Callable[..., Image]:
    """The demo's VNF with a label of its own; `config` replaces parts of its config."""
    target = tmp_path / "web.tar"
    web_vnf.build(target, busybox=busybox)
    with tarfile.open(target) as archive:
        names = archive.getnames()
        document = json.loads(archive.extractfile(names[1]).read())
        layer = archive.extractfile(names[2]).read()
    document.pop("rootfs")

    def made(**config: object) -> Image:
        inner = {**document["config"], **config}
        inner["Labels"] = {**inner["Labels"], "qnfv.test": secrets.token_hex(8)}
        return Image(*normal_archive.build({**document, "config": inner}, [layer]))

    return made
