"""A client that was written for another orchestrator: OpenStack's `vnflcm` commands, as they are.

It lives in an environment of its own, since what it depends on is not ours; that is made once, in
the cache of whoever runs the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csar_builder import Csar
from e2e_house import House
from lcm_subscriber import Subscriber
from test_held_deployments import no_room_for_instances
from vnf_of_members import let_go, onboard, two_containers

pytestmark = pytest.mark.timeout(400)  # the first one may install the client
_PACKAGES = ("python-tackerclient==2.6.0", "python-openstackclient==10.5.0")


@pytest.fixture(scope="module")
def openstack_command(missing_part: Callable[[str, str], None]) -> Path:
    """The command `openstack` with the plugin of Tacker."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "qnfv"
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"tackerclient-2.6.0-{version}"
    whole = folder / "whole"
    if not whole.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(folder / "bin" / "pip"), "install", "--quiet", *_PACKAGES]
        try:
            subprocess.run(install, check=True, capture_output=True, timeout=150)
        except subprocess.SubprocessError as error:
            missing_part("tackerclient", f"cannot be installed: {error}")
        whole.touch()
    return folder / "bin" / "openstack"


class Stranger:
    """Runs `openstack` without Keystone: a token and an end point."""

    def __init__(self, command: Path, house: House) -> None:
        self._command = [
            str(command),
            "--os-auth-type=admin_token",
            f"--os-token={house.lab.layout.token_file.read_text().strip()}",
            f"--os-endpoint={house.lab.layout.rest_url}",
        ]
        self._house = house

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        return subprocess.run(
            [*self._command, *words],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )

    def says(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def asks(self, *words: str) -> Any:
        """The answer as a document."""
        return json.loads(self.says(*words, "-f", "json"))

    def newest(self, instance: str, operation: str) -> dict[str, Any]:
        """The newest occurrence of this instance, once it is at rest."""

        def occurrences() -> list[dict[str, Any]]:
            query = f"?filter=(eq,vnfInstanceId,{instance})"
            found: list[dict[str, Any]] = self._house.get(f"/vnflcm/v1/vnf_lcm_op_occs{query}")
            return found

        at_rest = ("COMPLETED", "FAILED_TEMP", "FAILED", "ROLLED_BACK")
        self._house.until(
            lambda: (
                occurrences()[0]["operation"] == operation
                and occurrences()[0]["operationState"] in at_rest
            ),
            f"{operation} is at rest",
        )
        return occurrences()[0]


@pytest.fixture(scope="module")
def stranger(openstack_command: Path, house: House) -> Stranger:
    return Stranger(openstack_command, house)


def package_of(stranger: Stranger, digest: str, house: House) -> str:
    """The vnfdId of an image, found as the stranger would."""
    (document,) = house.get(f"/vnfpkgm/v1/vnf_packages?filter=(eq,checksum/hash,{digest})")
    listed = stranger.asks("vnf", "package", "list")
    assert document["id"] in {row["Id"] for row in listed}
    shown = stranger.asks("vnf", "package", "show", document["id"])
    assert shown["Onboarding State"] == "ONBOARDED"
    return str(shown["VNFD ID"])


def params(path: Path, **additional: Any) -> str:
    path.write_text(json.dumps({"flavourId": "default", "additionalParams": additional}))
    return str(path)


def test_the_whole_life_of_an_instance(
    stranger: Stranger, house: House, small_image: str, tmp_path: Path
) -> None:
    vnfd_id = package_of(stranger, small_image, house)
    made = stranger.asks("vnflcm", "create", vnfd_id, "--name", "strange")
    instance = made["ID"]
    assert made["Instantiation State"] == "NOT_INSTANTIATED"
    too_early = stranger.run("vnflcm", "terminate", instance)
    assert too_early.returncode != 0
    assert "terminate is not possible" in too_early.stderr, "it shows our reason"

    wish = {"flavourId": "default", "additionalParams": {"data_centre": "dc-2"}}
    path = f"/vnflcm/v1/vnf_instances/{instance}"
    dry = house.client.post(f"{path}/instantiate?dry_run=true", wish)
    (member,) = dry["members"]
    assert (member["vduId"], member["plan"]["data_centre"]) == ("vdu-1", "dc-2")
    assert house.get(path)["instantiationState"] == "NOT_INSTANTIATED", "it changes nothing"
    assert "terminate" not in house.get(path)["_links"]
    assert instance not in {each["deployment_id"] for each in house.get("/api/v1/deployments")}

    file = params(tmp_path / "i.json", data_centre="dc-2", wait_s=120)
    assert "accepted" in stranger.says("vnflcm", "instantiate", instance, file)
    assert stranger.newest(instance, "INSTANTIATE")["operationState"] == "COMPLETED"
    assert instance in {
        row["ID"]
        for row in stranger.asks("vnflcm", "list")
        if row["Instantiation State"] == "INSTANTIATED"
    }
    shown = stranger.asks("vnflcm", "show", instance)
    assert shown["Instantiated Vnf Info"]["vnfState"] == "STARTED"
    assert house.get(f"/api/v1/deployments/{instance}")["state"] == "RUNNING"

    stranger.says("vnflcm", "heal", instance, "--cause", "curiosity")
    assert stranger.newest(instance, "HEAL")["operationState"] == "COMPLETED"
    stranger.says("vnflcm", "terminate", instance)  # GRACEFUL
    ended = stranger.newest(instance, "TERMINATE")
    assert ended["operationState"] == "COMPLETED"
    operation = house.get(f"/api/v1/operations/{ended['id']}")
    assert [(step["name"], step["state"]) for step in operation["steps"]] == [
        ("stop", "DONE"),
        ("remove", "DONE"),
    ]
    assert stranger.asks("vnflcm", "op", "show", ended["id"])["Operation State"] == "COMPLETED"
    assert len(stranger.asks("vnflcm", "op", "list")) >= 3

    # Once more: a terminated instance can be instantiated again, elsewhere.
    stranger.says(
        "vnflcm",
        "instantiate",
        instance,
        params(tmp_path / "j.json", data_centre="dc-3", wait_s=120),
    )
    again = stranger.newest(instance, "INSTANTIATE")
    assert again["operationState"] == "COMPLETED"
    stranger.says("vnflcm", "terminate", instance, "--termination-type", "FORCEFUL", "--D")
    gone = stranger.run("vnflcm", "show", instance)
    assert gone.returncode != 0
    assert "no VNF instance" in gone.stderr
    house.assert_nothing_left()


def test_what_failed_is_tried_again_rolled_back_and_given_up(
    stranger: Stranger, house: House, small_image: str, tmp_path: Path
) -> None:
    (document,) = house.get(f"/vnfpkgm/v1/vnf_packages?filter=(eq,checksum/hash,{small_image})")
    file = params(tmp_path / "i.json", data_centre="dc-1", wait_s=120, on_failure="hold")
    instance = stranger.asks("vnflcm", "create", document["vnfdId"])["ID"]
    with no_room_for_instances(house, "dc-1"):
        stranger.says("vnflcm", "instantiate", instance, file)
        held = stranger.newest(instance, "INSTANTIATE")
        assert held["operationState"] == "FAILED_TEMP"
        shown = stranger.asks("vnflcm", "op", "show", held["id"])
        assert shown["Error"]["detail"], "it tells why"
    stranger.says("vnflcm", "op", "rollback", held["id"])
    assert stranger.newest(instance, "INSTANTIATE")["operationState"] == "ROLLED_BACK"
    with no_room_for_instances(house, "dc-1"):
        stranger.says("vnflcm", "instantiate", instance, file)
        held = stranger.newest(instance, "INSTANTIATE")
        assert held["operationState"] == "FAILED_TEMP"
    stranger.says("vnflcm", "op", "retry", held["id"])
    tried_again = stranger.newest(instance, "INSTANTIATE")
    assert (tried_again["id"], tried_again["operationState"]) == (held["id"], "COMPLETED")
    stranger.says("vnflcm", "terminate", instance, "--D")

    instance = stranger.asks("vnflcm", "create", document["vnfdId"])["ID"]
    with no_room_for_instances(house, "dc-1"):
        stranger.says("vnflcm", "instantiate", instance, file)
        held = stranger.newest(instance, "INSTANTIATE")
        failed = stranger.asks("vnflcm", "op", "fail", held["id"])
        assert failed["Operation State"] == "FAILED"
    assert stranger.run("vnflcm", "delete", instance).returncode != 0, "something may be left"
    stranger.says("vnflcm", "terminate", instance, "--D")
    house.assert_nothing_left()


def test_a_package_of_the_strangers_own_and_what_he_is_told_of_it(
    stranger: Stranger, house: House, tmp_path: Path
) -> None:
    made = Csar()
    file = tmp_path / "router.zip"
    file.write_bytes(made.packed())
    package = stranger.asks("vnf", "package", "create", "--user-data", "made=elsewhere")["ID"]
    stranger.says("vnf", "package", "upload", package, "--path", str(file))

    def state() -> str:
        return str(house.get(f"/vnfpkgm/v1/vnf_packages/{package}")["onboardingState"])

    house.until(lambda: state() in ("ONBOARDED", "CREATED"), "the package is processed")
    shown = stranger.asks("vnf", "package", "show", package)
    assert (shown["Onboarding State"], shown["VNFD ID"]) == ("ONBOARDED", made.vnfd_id)
    got = tmp_path / "got.zip"
    stranger.says("vnf", "package", "download", package, "--file", str(got))
    assert got.read_bytes() == file.read_bytes()

    subscriber = Subscriber()
    wish = tmp_path / "subscription.json"
    wish.write_text(json.dumps({"callbackUri": f"{subscriber.url}/cb"}))
    subscription = stranger.asks("vnflcm", "subsc", "create", str(wish))["ID"]
    assert subscription in {row["ID"] for row in stranger.asks("vnflcm", "subsc", "list")}
    instance = stranger.asks("vnflcm", "create", made.vnfd_id)["ID"]
    refused = stranger.run("vnf", "package", "delete", package)
    assert refused.returncode != 0
    stranger.says("vnflcm", "delete", instance)
    told = [
        ("VnfIdentifierCreationNotification", instance),
        ("VnfIdentifierDeletionNotification", instance),
    ]
    house.until(lambda: subscriber.told("notificationType", "vnfInstanceId") == told, "he is told")
    stranger.says("vnflcm", "subsc", "delete", subscription)
    subscriber.close()
    stranger.says("vnf", "package", "update", package, "--operational-state", "DISABLED")
    stranger.says("vnf", "package", "delete", package)
    assert house.get("/vnflcm/v1/subscriptions") == []
    house.assert_nothing_left()


def test_the_stranger_scales_a_vnf_of_two_vdus(
    stranger: Stranger, house: House, tmp_path: Path
) -> None:
    made = two_containers(tmp_path, "strange")
    package = onboard(house, made)
    instance = stranger.asks("vnflcm", "create", made.vnfd_id, "--name", "scaled")["ID"]
    refused = stranger.run(
        "vnflcm", "scale", instance, "--type", "SCALE_OUT", "--aspect-id", "workers"
    )
    assert "scale is not possible" in refused.stderr
    file = tmp_path / "scaled.json"
    additional = {"data_centres": {"VDU1": ["dc-1", "dc-2"], "VDU2": "dc-1"}, "wait_s": 120}
    file.write_text(json.dumps({"flavourId": "simple", "additionalParams": additional}))
    stranger.says("vnflcm", "instantiate", instance, str(file))
    assert stranger.newest(instance, "INSTANTIATE")["operationState"] == "COMPLETED"

    def members() -> int:
        info = stranger.asks("vnflcm", "show", instance)["Instantiated Vnf Info"]
        return len(info["vnfcResourceInfo"])

    assert members() == 3
    scaled = ("vnflcm", "scale", instance, "--aspect-id", "workers", "--type")
    assert "accepted" in stranger.says(*scaled, "SCALE_OUT", "--number-of-steps", "2")
    assert stranger.newest(instance, "SCALE")["operationState"] == "COMPLETED"
    assert members() == 7
    too_far = stranger.run(*scaled, "SCALE_OUT")
    assert "at level 2 and would be at 3" in too_far.stderr
    stranger.says(*scaled, "SCALE_IN")
    house.until(lambda: members() == 5, "it is scaled in")
    assert stranger.newest(instance, "SCALE")["operationState"] == "COMPLETED"
    stranger.says("vnflcm", "terminate", instance, "--D")
    let_go(house, package)
    house.assert_nothing_left()
