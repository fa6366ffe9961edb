"""A VNF of a container and a virtual machine, at a Docker-like VIM and at a real OpenStack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from csar_builder import Csar, disk
from e2e_house import House, docker_archive
from real_openstack import RealOpenStack
from vnf_of_members import Vnf, deployments_of, let_go, onboard

from emulators.lab.lab import Lab, LabOptions

pytestmark = pytest.mark.timeout(600)  # OpenStack's start is in it


@pytest.fixture(scope="module")
def mixed(
    openstack_cloud: RealOpenStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """dc-1 runs containers, dc-2 virtual machines."""
    options = {"cloud": "qnfv", "clouds_file": str(openstack_cloud.layout.clouds_file)}
    lab = Lab(
        tmp_path_factory.mktemp("lab"),
        LabOptions(
            time_scale=2000.0,
            pool_target_keys=24,
            key_capacity=48,
            overrides=(("dc-2", "vim", {"driver": "openstack", "options": options}),),
        ),
    )
    lab.up()
    try:
        yield House(lab)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def csar(tmp_path_factory: pytest.TempPathFactory) -> Csar:
    container = docker_archive(tmp_path_factory.mktemp("images") / "c.tar", b"container" * 500)
    return Csar(image=container.read_bytes(), others=(disk(1024**2),))


def test_a_container_and_a_virtual_machine_are_one_vnf(
    mixed: House, csar: Csar, openstack_cloud: RealOpenStack
) -> None:
    package = onboard(mixed, csar)
    vnf = Vnf(mixed, csar.vnfd_id)
    vnf.instantiate(data_centres={"VDU1": "dc-1", "VDU2": "dc-2"})
    occurrence = vnf.rests("INSTANTIATE", 240.0)
    assert occurrence["operationState"] == "COMPLETED", occurrence.get("error")
    assert vnf.members() == {("VDU1", "dc-1"), ("VDU2", "dc-2")}
    states = {
        each["data_centre"]: (each["state"], each["instance"]["vim"])
        for each in deployments_of(mixed, occurrence)
    }
    assert states == {"dc-1": ("RUNNING", "emulated"), "dc-2": ("RUNNING", "openstack")}
    (server,) = openstack_cloud.servers_of("dc-2")
    assert server.status == "ACTIVE"
    assert len(openstack_cloud.images_of("dc-2")) == 1
    vnf.end()
    assert openstack_cloud.servers_of("dc-2") == []
    assert openstack_cloud.images_of("dc-2") == []
    let_go(mixed, package)


def test_each_goes_only_where_it_can_run(
    mixed: House, csar: Csar, openstack_cloud: RealOpenStack
) -> None:
    package = onboard(mixed, csar)
    vnf = Vnf(mixed, csar.vnfd_id)
    refusal = vnf.instantiate(status=422, data_centres={"VDU1": "dc-2", "VDU2": "dc-2"})
    assert "dc-2" in refusal["detail"]
    assert openstack_cloud.servers_of("dc-2") == []
    mixed.client.delete(vnf.path)
    let_go(mixed, package)
