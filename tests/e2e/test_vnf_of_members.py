"""A VNF of two VDUs at two data centres: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from csar_builder import Csar, disk
from e2e_house import House
from test_held_deployments import no_room_for_instances
from vnf_of_members import OCCURRENCES, Vnf, deployments_of, let_go, onboard, two_containers


@pytest.fixture(scope="module")
def made(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Csar]:
    csar = two_containers(tmp_path_factory.mktemp("members"), "workers")
    package = onboard(house, csar)
    yield csar
    let_go(house, package)


@pytest.fixture(scope="module")
def both_scale(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Csar]:
    csar = two_containers(tmp_path_factory.mktemp("members"), "stores", both_scale=True)
    package = onboard(house, csar)
    yield csar
    let_go(house, package)


@contextmanager
def damaged_in_the_catalogue(house: House, digest: str) -> Iterator[None]:
    file = house.lab.layout.folder / "orchestrator" / "catalogue" / "images" / digest
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    try:
        yield
    finally:
        file.write_bytes(whole)


def test_two_vdus_at_two_data_centres_scaled_out_and_in(house: House, made: Csar) -> None:
    vnf = Vnf(house, made.vnfd_id, "pair")
    body = {
        "flavourId": "simple",
        "additionalParams": {"data_centres": {"VDU1": ["dc-1", "dc-2"], "VDU2": "dc-1"}},
    }
    dry = house.client.post(f"{vnf.path}/instantiate?dry_run=true", body)
    assert {(m["vduId"], m["plan"]["data_centre"], m["instances"]) for m in dry["members"]} == {
        ("VDU1", "dc-1", 1),
        ("VDU1", "dc-2", 1),
        ("VDU2", "dc-1", 1),
    }
    assert dry["keyBits"] == {"dc-1": 512, "dc-2": 256}

    vnf.instantiate(data_centres=["dc-1", "dc-2"])
    assert vnf.instantiate(data_centre="dc-1", status=409)["allowed_actions"] == []
    done = vnf.rests("INSTANTIATE")
    assert done["operationState"] == "COMPLETED", done.get("error")
    assert len(done["members"]) == len(done["resourceChanges"]["affectedVnfcs"]) == 4
    assert all(set(each["steps"].values()) == {"DONE"} for each in done["members"])
    both = {(vdu, where) for vdu in ("VDU1", "VDU2") for where in ("dc-1", "dc-2")}
    document = vnf.show()
    assert vnf.members() == both
    assert document["instantiatedVnfInfo"]["scaleStatus"] == [
        {"aspectId": "workers", "scaleLevel": 0}
    ]
    assert document["extensions"]["data_centres"] == ["dc-1", "dc-2"]
    assert {each["name"] for each in deployments_of(house, done)} == {"pair-vdu1-1", "pair-vdu2-1"}
    assert {each["id"] for each in house.get("/vnflcm/v1/vnf_instances")}.isdisjoint(
        each["deploymentId"] for each in done["members"]
    ), "members are no instances of their own"

    vnf.ask("scale", type="SCALE_OUT", aspectId="workers", numberOfSteps=2)
    out = vnf.rests("SCALE")
    assert out["operationState"] == "COMPLETED", out.get("error")
    assert (vnf.count(), len(out["members"])) == (8, 4)
    too_many = vnf.ask("scale", status=422, type="SCALE_OUT", aspectId="workers")
    assert (too_many["present_level"], too_many["max_level"]) == (2, 2)
    vnf.ask("scale_to_level", instantiationLevelId="small")
    assert vnf.rests("SCALE_TO_LEVEL")["operationState"] == "COMPLETED"
    assert vnf.members() == both
    assert vnf.count() == 4

    vnf.ask("operate", changeStateTo="STOPPED")
    assert vnf.rests("OPERATE")["operationState"] == "COMPLETED"
    assert vnf.show()["instantiatedVnfInfo"]["vnfState"] == "STOPPED"
    vnf.ask("heal")
    assert vnf.rests("HEAL")["operationState"] == "COMPLETED"
    assert vnf.show()["instantiatedVnfInfo"]["vnfState"] == "STARTED"

    vnf.ask("terminate", terminationType="GRACEFUL")
    assert vnf.rests("TERMINATE")["operationState"] == "COMPLETED"
    assert vnf.show()["instantiationState"] == "NOT_INSTANTIATED"
    house.assert_nothing_left()

    vnf.instantiate(data_centre="dc-3")
    assert vnf.rests("INSTANTIATE")["operationState"] == "COMPLETED"
    assert vnf.members() == {("VDU1", "dc-3"), ("VDU2", "dc-3")}
    vnf.end()
    house.assert_nothing_left()


def test_a_member_that_fails_leaves_nothing(house: House, made: Csar) -> None:
    vnf = Vnf(house, made.vnfd_id)
    with no_room_for_instances(house, "dc-2"):
        vnf.instantiate(data_centres=["dc-1", "dc-2"])
        house.until(lambda: vnf.newest()["operationState"] == "ROLLING_BACK", "one turns all back")
    back = vnf.rests("INSTANTIATE")
    assert back["operationState"] == "ROLLED_BACK"
    assert "in dc-2: " in back["error"]["detail"], (
        "the member that failed, not one cancelled for it"
    )
    states = {each["state"] for each in deployments_of(house, back)}
    assert states <= {"FAILED", "REMOVED"}
    assert vnf.show()["instantiationState"] == "NOT_INSTANTIATED"
    house.assert_nothing_left()
    house.client.delete(vnf.path)
    assert house.get(f"{OCCURRENCES}/{back['id']}")["operationState"] == "ROLLED_BACK"


def test_a_scaling_out_that_fails_leaves_what_there_was(house: House, made: Csar) -> None:
    vnf = Vnf(house, made.vnfd_id)
    vnf.instantiate(data_centres=["dc-1", "dc-2"])
    assert vnf.rests("INSTANTIATE")["operationState"] == "COMPLETED"
    before = vnf.show()["instantiatedVnfInfo"]
    with damaged_in_the_catalogue(house, deployments_of(house, vnf.newest())[0]["image_digest"]):
        vnf.ask("scale", type="SCALE_OUT", aspectId="workers", numberOfSteps=2)
        back = vnf.rests("SCALE")
    assert back["operationState"] == "ROLLED_BACK", back
    after = vnf.show()["instantiatedVnfInfo"]
    assert (after["scaleStatus"], after["vnfcResourceInfo"]) == (
        before["scaleStatus"],
        before["vnfcResourceInfo"],
    )
    vnf.ask("scale", type="SCALE_OUT", aspectId="workers")
    assert vnf.rests("SCALE")["operationState"] == "COMPLETED"
    assert vnf.count() == 6
    vnf.end()
    house.assert_nothing_left()


def changes_of(occurrence: dict[str, Any]) -> list[tuple[str, int, str, str | None]]:
    return sorted(
        (each["vduId"], each["number"], each["changeType"], each.get("operationState"))
        for each in occurrence["members"]
    )


MIXED = [
    ("VDU1", 2, "REMOVED", "COMPLETED"),
    ("VDU1", 3, "REMOVED", "COMPLETED"),
    ("VDU2", 2, "ADDED", "COMPLETED"),
    ("VDU2", 3, "ADDED", "COMPLETED"),
]
"""What becomes of `broad` at the level `deep`, once it is done."""


def scale_status(vnf: Vnf) -> dict[str, int]:
    info = vnf.show()["instantiatedVnfInfo"]
    return {each["aspectId"]: each["scaleLevel"] for each in info["scaleStatus"]}


def test_a_level_that_adds_here_and_removes_there(house: House, both_scale: Csar) -> None:
    vnf = Vnf(house, both_scale.vnfd_id, "mixed")
    vnf.instantiate(data_centre="dc-1")
    assert vnf.rests("INSTANTIATE")["operationState"] == "COMPLETED"
    assert scale_status(vnf) == {"workers": 2, "stores": 0}
    before = vnf.show()["instantiatedVnfInfo"]["vnfcResourceInfo"]

    stores = next(each for each in vnf.newest()["members"] if each["vduId"] == "VDU2")
    digest = house.get(f"/api/v1/deployments/{stores['deploymentId']}")["image_digest"]
    with damaged_in_the_catalogue(house, digest):
        vnf.ask("scale_to_level", instantiationLevelId="deep")
        back = vnf.rests("SCALE_TO_LEVEL")
    assert back["operationState"] == "ROLLED_BACK", back
    assert {each["changeType"] for each in back["members"]} == {"ADDED"}
    assert vnf.show()["instantiatedVnfInfo"]["vnfcResourceInfo"] == before
    assert scale_status(vnf) == {"workers": 2, "stores": 0}

    vnf.ask("scale_to_level", instantiationLevelId="deep")
    done = vnf.rests("SCALE_TO_LEVEL")
    assert done["operationState"] == "COMPLETED", done.get("error")
    assert done["operationParams"]["instantiationLevelId"] == "deep"
    assert changes_of(done) == MIXED
    affected = done["resourceChanges"]["affectedVnfcs"]
    assert sorted((each["vduId"], each["changeType"]) for each in affected) == [
        *[("VDU1", "REMOVED")] * 2,
        *[("VDU2", "ADDED")] * 2,
    ]
    operations = {
        kind: [
            house.get(f"/api/v1/operations/{each['operationId']}")
            for each in done["members"]
            if each["changeType"] == kind
        ]
        for kind in ("ADDED", "REMOVED")
    }
    assert max(each["ended_at"] for each in operations["ADDED"]) <= min(
        each["created_at"] for each in operations["REMOVED"]
    ), "nothing goes before all that comes is there"
    assert scale_status(vnf) == {"workers": 0, "stores": 2}
    info = vnf.show()["instantiatedVnfInfo"]["vnfcResourceInfo"]
    assert sorted(each["vduId"] for each in info) == ["VDU1", "VDU2", "VDU2", "VDU2"]
    vnf.ask(
        "scale_to_level",
        scaleInfo=[
            {"aspectId": "workers", "scaleLevel": 1},
            {"aspectId": "stores", "scaleLevel": 1},
        ],
    )
    assert vnf.rests("SCALE_TO_LEVEL")["operationState"] == "COMPLETED"
    assert scale_status(vnf) == {"workers": 1, "stores": 1}
    vnf.end()
    house.assert_nothing_left()


@pytest.mark.parametrize("where", ["all-added", "removing"])
def test_the_orchestrator_dies_between_additions_and_removals(
    house: House, doomed: object, both_scale: Csar, where: str
) -> None:
    """Before it begins to remove, or just after that was recorded."""
    vnf = Vnf(house, both_scale.vnfd_id)
    vnf.instantiate(data_centre="dc-1")
    assert vnf.rests("INSTANTIATE")["operationState"] == "COMPLETED"
    process = doomed("orchestrator", "orchestrator", f"members/{where}")  # type: ignore[operator]
    vnf.ask("scale_to_level", instantiationLevelId="deep")
    house.until(lambda: process.pid is None, "it dies", 120.0)
    house.lab.restart("orchestrator")
    done = vnf.rests("SCALE_TO_LEVEL")
    assert done["operationState"] == "COMPLETED", done.get("error")
    assert changes_of(done) == MIXED, "each once"
    assert scale_status(vnf) == {"workers": 0, "stores": 2}
    vnf.end()
    house.assert_nothing_left()


def test_what_is_held_is_tried_again_or_undone_as_one(house: House, made: Csar) -> None:
    vnf = Vnf(house, made.vnfd_id)
    for action, end in (("rollback", "ROLLED_BACK"), ("retry", "COMPLETED")):
        with no_room_for_instances(house, "dc-2"):
            vnf.instantiate(data_centres=["dc-1", "dc-2"], on_failure="hold")
            held = vnf.rests("INSTANTIATE")
        assert held["operationState"] == "FAILED_TEMP"
        assert {"retry", "rollback", "fail"} <= set(held["_links"])
        vnf.decide(held, action)
        house.until(
            lambda end=end: vnf.newest()["operationState"] == end,  # type: ignore[misc]
            f"{action} ends",
            120.0,
        )
        if action == "rollback":
            house.assert_nothing_left()
    assert vnf.count() == 4
    vnf.end()
    house.assert_nothing_left()


def test_one_that_is_given_up_goes_by_a_termination(house: House, made: Csar) -> None:
    vnf = Vnf(house, made.vnfd_id)
    with no_room_for_instances(house, "dc-2"):
        vnf.instantiate(data_centres=["dc-1", "dc-2"], on_failure="hold")
        held = vnf.rests("INSTANTIATE")
        vnf.decide(held, "fail")
    assert vnf.newest()["operationState"] == "FAILED"
    assert set(vnf.show()["_links"]) == {"self", "terminate"}
    vnf.end()
    house.assert_nothing_left()


@pytest.mark.parametrize("where", ["stream:begun", "boot:done", "key:begun"])
def test_the_orchestrator_dies_in_the_middle_of_it(
    house: House, doomed: object, made: Csar, where: str
) -> None:
    process = doomed("orchestrator", "orchestrator", where)  # type: ignore[operator]
    vnf = Vnf(house, made.vnfd_id)
    vnf.instantiate(data_centres=["dc-1", "dc-2"])
    house.until(lambda: process.pid is None, f"it dies at {where}")
    house.lab.restart("orchestrator")
    assert vnf.rests("INSTANTIATE")["operationState"] == "COMPLETED"
    assert vnf.count() == 4
    vnf.end()
    house.assert_nothing_left()


def test_the_orchestrator_dies_before_it_undoes_the_others(
    house: House, doomed: object, made: Csar
) -> None:
    process = doomed("orchestrator", "orchestrator", "members/turned-back")  # type: ignore[operator]
    vnf = Vnf(house, made.vnfd_id)
    with no_room_for_instances(house, "dc-2"):
        vnf.instantiate(data_centres=["dc-1", "dc-2"])
        house.until(lambda: process.pid is None, "it dies", 120.0)
    house.lab.restart("orchestrator")
    assert vnf.rests("INSTANTIATE")["operationState"] == "ROLLED_BACK"
    house.assert_nothing_left()
    house.client.delete(vnf.path)


def test_the_orchestrator_dies_while_it_removes_what_came_up(
    house: House, doomed: object, made: Csar
) -> None:
    process = doomed("orchestrator", "orchestrator", "members/removing")  # type: ignore[operator]
    vnf = Vnf(house, made.vnfd_id)
    with no_room_for_instances(house, "dc-2"):
        vnf.instantiate(data_centres=["dc-1", "dc-2"], on_failure="hold")
        held = vnf.rests("INSTANTIATE")
    assert sorted(each["operationState"] for each in held["members"]) == [
        "COMPLETED",
        "COMPLETED",
        "FAILED_TEMP",
        "FAILED_TEMP",
    ]
    with pytest.raises(httpx.TransportError):
        vnf.decide(held, "rollback")
    house.until(lambda: process.pid is None, "it dies")
    house.lab.restart("orchestrator")
    assert vnf.rests("INSTANTIATE")["operationState"] == "ROLLED_BACK"
    assert {each["state"] for each in deployments_of(house, held)} == {"FAILED", "REMOVED"}
    house.assert_nothing_left()
    house.client.delete(vnf.path)


def test_an_image_that_one_vim_does_not_run_stops_all(house: House, tmp_path: Path) -> None:
    made = two_containers(tmp_path, "mixed")
    mixed = Csar(image=made.image, others=(disk(),))
    package = onboard(house, mixed)
    formats = {each["diskFormat"] for each in _software(house, package) if "diskFormat" in each}
    assert formats == {"RAW"}
    vnf = Vnf(house, mixed.vnfd_id)
    refused = vnf.instantiate(data_centres=["dc-1", "dc-2"], status=422)
    assert "raw image" in refused["detail"]
    assert vnf.show()["instantiationState"] == "NOT_INSTANTIATED"
    house.client.delete(vnf.path)
    let_go(house, package)
    house.assert_nothing_left()


def _software(house: House, package: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.get(f"/vnfpkgm/v1/vnf_packages/{package}")["softwareImages"]
    return found
