"""What a laboratory with several orchestrators needs, and is told where that is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tomlkit

from emulators.lab import replicas
from emulators.lab.errors import LabError
from emulators.lab.lab import Lab, LabOptions
from orchestrator.settings import OrchestratorSettings

MARIADB = "mysql+pymysql://root@127.0.0.1:3306/lab"


@pytest.mark.parametrize(
    ("database_url", "controller", "why"),
    [
        (None, "opendaylight", "MySQL"),
        ("sqlite:///x", "opendaylight", "MySQL"),
        (MARIADB, "embedded", "embedded"),
    ],
)
def test_what_is_missing_is_said(database_url: str | None, controller: str, why: str) -> None:
    with pytest.raises(LabError, match=why):
        replicas.check(2, database_url=database_url, controller=controller)


def test_so_many_are_too_many() -> None:
    with pytest.raises(LabError, match="1 to 3"):
        replicas.check(4, database_url=MARIADB, controller="opendaylight")


def test_without_redis_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError, match="redis-server"):
        replicas.check(2, database_url=MARIADB, controller="opendaylight")


def test_one_needs_nothing() -> None:
    replicas.check(1, database_url=None, controller="embedded")


def test_each_has_settings_of_its_own_that_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    options = LabOptions(replicas=2, database_url=MARIADB, controller="opendaylight")
    lab = Lab(tmp_path / "state", options)
    lab.prepare()
    documents = [
        tomlkit.parse(lab.layout.settings(name).read_text()).unwrap() for name in lab.orchestrators
    ]
    first, second = (OrchestratorSettings.model_validate(each) for each in documents)
    assert first.replicas is not None
    assert second.replicas is not None
    assert first.replicas.name != second.replicas.name
    assert first.port != second.port
    for shared in ("database_url", "workflow_database_url", "state_dir", "credentials", "name"):
        assert getattr(first, shared) == getattr(second, shared)
    assert Lab(tmp_path / "state").replicas == 2, "a folder keeps how many it has"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"database_url": "sqlite:///x"}, "database_url"),
        ({"workflow_database_url": None}, "workflow_database_url"),
        ({"schedule": {"enabled": False}}, "schedule"),
        ({"controller": {"driver": "openflow"}}, "opendaylight"),
        ({"replicas": {"name": "a", "board": "paper"}}, "board"),
        ({"replicas": {"name": "a", "claim_life_s": 0.1}}, "claim_life_s"),
        ({"replicas": {}}, "name"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], why: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    options = LabOptions(replicas=2, database_url=MARIADB, controller="opendaylight")
    lab = Lab(tmp_path / "state", options)
    lab.prepare()
    document = tomlkit.parse(lab.layout.settings("orchestrator").read_text()).unwrap()
    with pytest.raises(ValueError, match=why):
        OrchestratorSettings.model_validate(document | change)
