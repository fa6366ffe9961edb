"""What a cloud of the laboratory writes down: ports that stay, passwords that nobody else reads."""

from __future__ import annotations

import configparser
import json
import stat
from pathlib import Path

import pytest
import yaml

from emulators.lab.errors import LabRunningError
from emulators.lab.openstack import Cloud, CloudLayout, Distribution, backing
from emulators.lab.openstack.configuration import Configuration
from emulators.lab.openstack.services import Services

PROGRAMS = ("mariadbd", "libvirtd")
USERS = ("mariadb", "rabbitmq", "admin", "qnfv", "glance", "neutron", "nova", "placement")


@pytest.fixture
def distribution(tmp_path: Path) -> Distribution:
    etc = tmp_path / "built" / "venv" / "etc"
    for name in ("glance/glance-api-paste.ini", "neutron/api-paste.ini", "nova/api-paste.ini"):
        (etc / name).parent.mkdir(parents=True)
        (etc / name).write_text("")
    return Distribution(tmp_path / "built")


@pytest.fixture
def layout(tmp_path: Path) -> CloudLayout:
    return CloudLayout(tmp_path / "cloud", hypervisor="qemu")


@pytest.fixture
def written(layout: CloudLayout, distribution: Distribution) -> CloudLayout:
    Configuration(layout, distribution, host="compute-1").write()
    return layout


def test_ports_and_passwords_are_chosen_once(layout: CloudLayout) -> None:
    again = CloudLayout(layout.folder, hypervisor="qemu")
    assert again.ports == layout.ports
    assert len(set(json.loads((layout.folder / "ports.json").read_text()).values())) == 9
    assert again.password("nova") == layout.password("nova")
    assert len({layout.password(user) for user in USERS}) == len(USERS)


def test_two_clouds_share_nothing(layout: CloudLayout, tmp_path: Path) -> None:
    other = CloudLayout(tmp_path / "other", hypervisor="fake")
    assert other.password("admin") != layout.password("admin")


def test_nobody_else_reads_what_holds_a_password(written: CloudLayout) -> None:
    passwords = [written.password(user) for user in USERS]
    holders = [
        file
        for file in written.folder.rglob("*")
        if file.is_file() and any(password in file.read_text() for password in passwords)
    ]
    assert written.clouds_file in holders
    assert {stat.S_IMODE(file.stat().st_mode) for file in holders} == {0o600}
    assert stat.S_IMODE(written.folder.stat().st_mode) == 0o700


def test_no_password_is_on_a_command_line(written, distribution, monkeypatch) -> None:
    monkeypatch.setattr(backing, "sbin", lambda name: f"/usr/sbin/{name}")
    services = Services(written, distribution)
    groups = [*services.backing(), services.interfaces(), services.workers()]
    words = [word for group in groups for spec in group for word in spec.argv]
    assert f"--port={written.ports.mariadb}" in words
    for user in USERS:
        assert not any(written.password(user) in word for word in words)


def test_every_process_dies_with_its_launcher(written, distribution, monkeypatch) -> None:
    monkeypatch.setattr(backing, "sbin", lambda name: f"/usr/sbin/{name}")
    services = Services(written, distribution)
    for group in (*services.backing(), services.interfaces(), services.workers()):
        for spec in group:
            assert spec.argv[:3] == ("setpriv", "--pdeathsig", "KILL")


def test_everything_listens_on_loopback(written: CloudLayout) -> None:
    nova = configparser.ConfigParser(interpolation=None)
    nova.read(written.etc("nova") / "nova.conf")
    assert nova["DEFAULT"]["my_ip"] == "127.0.0.1"
    clouds = yaml.safe_load(written.clouds_file.read_text())["clouds"]
    assert set(clouds) == {"qnfv", "qnfv-admin"}
    assert clouds["qnfv"]["auth"]["password"] == written.password("qnfv")
    for cloud in clouds.values():
        assert cloud["auth"]["auth_url"].startswith("http://127.0.0.1:")


def test_one_launcher_a_folder(layout, distribution) -> None:
    first, second = Cloud(layout, distribution), Cloud(layout, distribution)
    first._refuse_second()
    with pytest.raises(LabRunningError):
        second.start()
    second.stop()
