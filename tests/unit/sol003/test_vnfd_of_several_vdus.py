"""VNFDs of several VDUs: what is read of their profiles and scaling policies, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from csar_builder import ENTRY, IMAGE, Csar, disk, other_image
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sol003.errors import PackageRefusedError
from orchestrator.sol003.onboarding.archive import open_archive
from orchestrator.sol003.onboarding.csar import read_csar
from orchestrator.sol003.onboarding.vnfd import (
    InstantiationLevel,
    ScalingAspect,
    Vdu,
    Vnfd,
)

CONTAINER = """\
    web:
      type: tosca.nodes.nfv.Vdu.OsContainerDeployableUnit
      properties:
        name: web
        description: answers
        vdu_profile:
          min_number_of_instances: 2
          max_number_of_instances: 4
      requirements:
        - container: nginx
    nginx:
      type: tosca.nodes.nfv.Vdu.OsContainer
      properties:
        name: nginx
        description: a server
        requested_cpu_resources: 250
        cpu_resource_limit: 1500
        requested_memory_resources: 64 MB
        sw_image_data:
          name: nginx
          version: '1.2'
      artifacts:
        sw_image:
          type: tosca.artifacts.nfv.SwImage
          file: ../Files/images/vdu2.img
"""


def read(tmp_path: Path, made: Csar) -> Vnfd:
    file = tmp_path / "package"
    file.write_bytes(made.packed())
    with open_archive(file, max_bytes=10_000_000) as archive:
        return read_csar(archive).vnfd


def with_container(old: str = "", new: str = "") -> Csar:
    """A virtual machine, and a container in a deployable unit."""
    made = Csar()
    made.files[ENTRY] += CONTAINER.replace(old, new).encode() if old else CONTAINER.encode()
    made.files[other_image(2)] = disk()
    return made


def test_each_vdu_has_its_image_and_sizes(tmp_path: Path) -> None:
    vnfd = read(tmp_path, Csar(others=(disk(), disk())))
    assert [vdu.vdu_id for vdu in vnfd.vdus] == ["VDU1", "VDU2", "VDU3"]
    files = [vdu.image_file for vdu in vnfd.vdus]
    assert files == [IMAGE, other_image(2), other_image(3)]
    assert not vnfd.aspects
    level = vnfd.level(None)
    assert level is not None
    assert level.instances == {"VDU1": 1, "VDU2": 1, "VDU3": 1}
    assert vnfd.level("default") == level
    assert vnfd.level("large") is None


def test_a_container_beside_a_virtual_machine(tmp_path: Path) -> None:
    vnfd = read(tmp_path, with_container())
    _, web = vnfd.vdus
    assert (web.vdu_id, web.image_name, web.image_version) == ("web", "nginx", "1.2")
    assert (web.cpus, web.memory_mib) == (1.5, 61)
    assert (web.min_instances, web.max_instances) == (2, 4)
    level = vnfd.level(None)
    assert level is not None
    assert level.instances == {"VDU1": 1, "web": 2}


def test_aspects_and_levels(tmp_path: Path) -> None:
    vnfd = read(tmp_path, Csar(others=(disk(),), scales=True))
    (aspect,) = vnfd.aspects
    assert (aspect.aspect_id, aspect.max_level, aspect.steps) == ("workers", 2, {"VDU1": (1, 1)})
    assert [vnfd.instances_at({"workers": level}) for level in range(3)] == [
        {"VDU1": 1},
        {"VDU1": 2},
        {"VDU1": 3},
    ]
    assert vnfd.default_level == "small"
    large = vnfd.level("large")
    assert large is not None
    assert (large.instances, large.scale_levels) == ({"VDU1": 3, "VDU2": 1}, {"workers": 2})
    assert Vnfd.from_stored(vnfd.stored()) == vnfd


def test_a_delta_for_each_step(tmp_path: Path) -> None:
    made = Csar(scales=True)
    text = made.files[ENTRY].decode()
    text = text.replace("step_deltas: [one_more]", "step_deltas: [one_more, none]")
    none = "            none: {number_of_instances: 0}\n"
    text = text.replace("            one_more:\n", none + "            one_more:\n")
    text = text.replace("    number_of_instances: 3", "    number_of_instances: 2")
    made.files[ENTRY] = text.encode()
    vnfd = read(tmp_path, made)
    assert vnfd.aspects[0].steps == {"VDU1": (1, 0)}
    assert vnfd.instances_at({"workers": 2}) == {"VDU1": 2}


def changed(old: str, new: str, *, scales: bool = True) -> Csar:
    made = Csar(others=(disk(),), scales=scales)
    text = made.files[ENTRY].decode()
    assert old in text
    made.files[ENTRY] = text.replace(old, new).encode()
    return made


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (changed("        targets: [VDU1]", "        targets: [VDU9]"), "VDU9"),
        (changed("        targets: [VDU1]", "        targets: []"), "no targets"),
        (changed("          aspect: workers", "          aspect: others"), "unknown aspect"),
        (changed("max_scale_level: 2", "max_scale_level: much"), "max_scale_level"),
        (changed("max_scale_level: 2", "max_scale_level: 0"), "max_scale_level"),
        (changed("[one_more]", "[one_more, one_more, one_more]"), "3 step_deltas for 2"),
        (changed("[one_more]", "[two_more]"), "two_more"),
        (changed("[one_more]", "one_more"), "step_deltas"),
        (changed("max_number_of_instances: 3", "max_number_of_instances: 2"), "scales from 1 to 3"),
        (changed("  scale_level: 2", "  scale_level: 3"), "scale_level 3"),
        (changed("  scale_level: 2", "  scale_level: 1"), "by its scale_info they are 2"),
        (changed("default_level: small", "default_level: tiny"), "tiny"),
        (changed("          default_level: small\n", ""), "default_level"),
        (changed("large:\n              number", "huge:\n              number"), "huge"),
        (changed("  policies:", "  policies: nothing\n  others:"), "no list"),
        (changed("type: tosca.policies.nfv.ScalingAspects", "kind: x"), "no type"),
        (changed("VduScalingAspectDeltas", "VduOtherDeltas"), "scales no VDU"),
        (changed("instances: 1\n        targets", "instances: one\n        targets"), "one"),
        (with_container("- container: nginx", "- other: nginx"), "0 containers"),
        (with_container("- container: nginx", "- container: apache"), "apache"),
        (with_container("limit: 1500", "limit: many"), "cpu_resource_limit"),
        (with_container("64 MB", "64"), "requested_memory"),
        (with_container("instances: 4", "instances: 1"), "2 to 1"),
        (with_container("instances: 4", "instances: 400"), "up to 64"),
    ],
)
def test_a_vnfd_that_is_wrong(tmp_path: Path, made: Csar, says: str) -> None:
    with pytest.raises(PackageRefusedError) as refused:
        read(tmp_path, made)
    assert says in refused.value.detail


names = st.text(st.characters(min_codepoint=33, max_codepoint=382), min_size=1, max_size=9)
vdus = st.builds(
    Vdu, names, names, names, names, names,
    st.none() | st.tuples(names, names), st.none() | st.integers(1, 99),
    st.none() | st.floats(0.25, 64), st.integers(0, 3), st.integers(3, 9),
)  # fmt: skip
counts = st.dictionaries(names, st.integers(0, 64), max_size=3)
steps = st.dictionaries(names, st.lists(st.integers(0, 9)).map(tuple), max_size=3)


@given(
    st.builds(
        Vnfd,
        st.uuids(), names, names, names, names, names,
        st.lists(vdus, min_size=1, max_size=3).map(tuple),
        st.lists(st.builds(ScalingAspect, names, names, st.integers(1, 9), steps)).map(tuple),
        counts,
        st.lists(st.builds(InstantiationLevel, names, counts, counts)).map(tuple),
        names,
    )
)  # fmt: skip
def test_what_is_stored_is_read_again(vnfd: Vnfd) -> None:
    assert Vnfd.from_stored(json.loads(json.dumps(vnfd.stored()))) == vnfd


def test_what_was_stored_when_there_was_one_vdu_a_vnfd() -> None:
    told = {
        "descriptor_id": "0c8a7bb2-8f0e-5a3c-9f4e-6a0b8d5b6f51",
        "provider": "Acme",
        "product_name": "Router",
        "software_version": "2.1",
        "descriptor_version": "1.0",
        "flavour_id": "simple",
        "vdu_id": "VDU1",
        "image_id": "sw_image",
        "image_name": "router-disk",
        "image_version": "2.1",
        "image_file": "Files/images/router.img",
        "image_checksum": ["sha-256", "00"],
        "memory_mib": 512,
        "cpus": 2.0,
    }
    vnfd = Vnfd.from_stored(told)
    assert vnfd.descriptor_id == UUID(told["descriptor_id"])
    (vdu,) = vnfd.vdus
    assert (vdu.vdu_id, vdu.image_checksum, vdu.memory_mib) == ("VDU1", ("sha-256", "00"), 512)
