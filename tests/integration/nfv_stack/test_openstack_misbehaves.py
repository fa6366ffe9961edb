"""The driver `openstack` against a cloud that refuses, hangs, lies and forgets.

Each time: an error that tells why, no usable image, and no record or server left that the driver
does not know of.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3
from scripted_cloud import Request, ScriptedCloud, hanging, lying, saying

from nfv_stack.contract.disk_image import disk_id
from nfv_stack.contract.schemas import ImageFormat, InstanceState
from nfv_stack.errors import (
    ImageRejectedError,
    VimError,
    VimRefusedError,
    VimUnreachableError,
)
from nfv_stack.vim.openstack import OpenStackVim
from nfv_stack.vim.openstack import open_vim as open_driver
from nfv_stack.vim.port import ImageSpec, InstanceSpec, VimUsage

FILE = r"/image/v2/images/[^/]+/file"
IMAGE = r"/image/v2/images/[^/]+"
IMAGES = r"/image/v2/images"
SERVERS = r"/compute/v2\.1/servers"
SERVER = r"/compute/v2\.1/servers/[^/]+"
CONTENT = bytes(510) + b"\x55\xaa" + secrets.token_bytes(700_000 - 512)
DIGEST = blake3(CONTENT).digest()
SPEC = ImageSpec(DIGEST, len(CONTENT), ImageFormat.RAW, disk_id(DIGEST))


class SealFailedError(OSError):
    """An OSError, which HTTP clients take for one of their own."""


def chunks():
    for start in range(0, len(CONTENT), 300_000):
        yield memoryview(CONTENT)[start : start + 300_000]


@pytest.fixture
def cloud():
    with ScriptedCloud().serving() as cloud:
        yield cloud


@pytest.fixture
def open_vim(cloud: ScriptedCloud, tmp_path: Path):
    clouds_file = cloud.write_clouds_file(tmp_path / "clouds.yaml")
    opened: list[OpenStackVim] = []

    def again(**changes: object) -> OpenStackVim:
        options = {
            "data_centre": "dc-1",
            "folder": tmp_path / "journal",
            "clouds_file": clouds_file,
            "timeout_s": 1.0,
            "upload_answer_timeout_s": 1.0,
            "active_timeout_s": 1.0,
            "settle_timeout_s": 1.0,
        }
        opened.append(open_driver(options | changes))
        return opened[-1]

    yield again
    for vim in opened:
        vim.close()


@pytest.fixture
def vim(open_vim) -> OpenStackVim:
    return open_vim()


def journaled(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "journal" / "images").iterdir())


def instance_spec() -> InstanceSpec:
    return InstanceSpec(uuid4(), "web", SPEC.vim_image_id, DIGEST, 64, 1.0)


def changed(**attributes: object):
    """Stores the image, then has another idea of it."""

    def act(request: Request) -> None:
        status, _ = request.do()
        request.cloud.images[request.path.split("/")[4]] |= attributes
        request.say(status)

    return act


class TestImages:
    def test_all_is_well(self, vim, cloud, tmp_path) -> None:
        assert vim.place_image(SPEC, chunks()) == SPEC.vim_image_id
        assert vim.has_image(SPEC.vim_image_id)
        (image,) = cloud.images.values()
        assert image["visibility"] == "private"
        assert image["qnfv_image"] == SPEC.vim_image_id
        assert image["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
        vim.remove_image(SPEC.vim_image_id)
        assert (cloud.images, journaled(tmp_path)) == ({}, [])

    @pytest.mark.parametrize(
        ("method", "path", "act", "kind", "why"),
        [
            ("PUT", FILE, saying(500), VimRefusedError, r"\(500\): it is broken"),
            ("PUT", FILE, saying(503), VimUnreachableError, "503: it is broken"),
            ("PUT", FILE, saying(413, "over quota"), ImageRejectedError, "over quota"),
            ("PUT", FILE, saying(401), ImageRejectedError, r"\(401\)"),
            ("PUT", FILE, hanging(), VimUnreachableError, "does not answer"),
            ("PUT", FILE, Request.break_off, VimUnreachableError, "does not answer"),
            ("PUT", FILE, lying(204), ImageRejectedError, "its record says queued"),
            ("PUT", FILE, changed(size=1), ImageRejectedError, "says 1 bytes instead of 700000"),
            ("PUT", FILE, changed(os_hash_value="00"), ImageRejectedError, "hash is not that"),
            ("PUT", FILE, changed(os_hash_algo=None), ImageRejectedError, "hash is missing"),
            ("PUT", FILE, changed(os_hash_algo="sha256"), ImageRejectedError, "hash is sha256"),
            ("PUT", FILE, changed(status="killed"), ImageRejectedError, "says killed"),
            ("PUT", FILE, changed(status="saving"), VimUnreachableError, "still saving"),
            ("GET", IMAGE, saying(404), ImageRejectedError, "no record of it any more"),
            ("GET", IMAGE, saying(500), VimRefusedError, "it is broken"),
            ("POST", IMAGES, saying(403, "Quota exceeded"), VimRefusedError, "Quota exceeded"),
            ("POST", IMAGES, saying(500), VimRefusedError, "it is broken"),
            ("POST", IMAGES, hanging(after_doing=True), VimUnreachableError, "not answer"),
        ],
    )
    def test_what_goes_wrong_leaves_nothing(
        self, vim, cloud, tmp_path, method, path, act, kind, why
    ) -> None:
        cloud.on(method, path, act)
        with pytest.raises(kind, match=why) as raised:
            vim.place_image(SPEC, chunks())
        assert raised.value.next_step
        assert (cloud.images, journaled(tmp_path)) == ({}, [])
        assert cloud.count("PUT", FILE) <= 1, "a stream was sent again"
        cloud.clear_rules()
        assert not vim.has_image(SPEC.vim_image_id)
        assert vim.place_image(SPEC, chunks())

    @pytest.mark.parametrize("at", [0, 1, 3])
    def test_an_error_of_the_stream_comes_through_as_it_is(self, vim, cloud, tmp_path, at) -> None:
        error = SealFailedError("the seal is broken")

        def failing():
            yield from list(chunks())[:at]
            raise error

        with pytest.raises(SealFailedError) as raised:
            vim.place_image(SPEC, failing())
        assert raised.value is error
        assert (cloud.images, journaled(tmp_path)) == ({}, [])

    @pytest.mark.parametrize("content", [b"QFI\xfb" + CONTENT[4:], bytes(9000), b"KDMV" + CONTENT])
    def test_another_format_than_announced_is_not_sent(self, vim, cloud, content) -> None:
        digest = blake3(content).digest()
        spec = ImageSpec(digest, len(content), ImageFormat.RAW, disk_id(digest))
        with pytest.raises(ImageRejectedError, match=r"announced was raw|VMDK|version"):
            vim.place_image(spec, iter([memoryview(content)]))
        assert cloud.images == {}

    def test_the_last_piece_waits_for_the_seal(self, vim, cloud) -> None:
        seen: list[int] = []

        def look(request: Request) -> None:
            try:
                seen.append(len(request.body()))
            except ConnectionError:
                seen.append(-1)
            request.break_off()

        def failing():
            yield from chunks()
            raise SealFailedError

        cloud.on("PUT", FILE, look)
        with pytest.raises(SealFailedError):
            vim.place_image(SPEC, failing())
        assert all(size < len(CONTENT) for size in seen)

    def test_what_cannot_be_removed_now_is_removed_later(
        self, open_vim, vim, cloud, tmp_path
    ) -> None:
        cloud.on("PUT", FILE, saying(500))
        cloud.on("DELETE", IMAGE, saying(500))
        with pytest.raises(VimRefusedError):
            vim.place_image(SPEC, chunks())
        assert len(cloud.images) == len(journaled(tmp_path)) == 1
        cloud.clear_rules()
        later = open_vim()
        assert not later.has_image(SPEC.vim_image_id)
        later.place_image(SPEC, chunks())
        assert len(cloud.images) == len(journaled(tmp_path)) == 1
        later.remove_image(SPEC.vim_image_id)
        assert (cloud.images, journaled(tmp_path)) == ({}, [])

    def test_a_removal_that_fails_can_be_repeated(self, vim, cloud, tmp_path) -> None:
        vim.place_image(SPEC, chunks())
        cloud.on("DELETE", IMAGE, saying(409, "in use"), times=1)
        with pytest.raises(VimRefusedError, match="in use"):
            vim.remove_image(SPEC.vim_image_id)
        assert vim.has_image(SPEC.vim_image_id)
        vim.remove_image(SPEC.vim_image_id)
        assert (cloud.images, journaled(tmp_path)) == ({}, [])

    def test_an_image_that_somebody_removed_is_not_here(self, vim, cloud, tmp_path) -> None:
        vim.place_image(SPEC, chunks())
        cloud.images.clear()
        assert not vim.has_image(SPEC.vim_image_id)
        with pytest.raises(VimRefusedError, match="not here"):
            vim.start_instance(instance_spec())
        vim.place_image(SPEC, chunks())
        assert len(cloud.images) == 1

    def test_an_image_that_changed_is_not_used(self, vim, cloud) -> None:
        vim.place_image(SPEC, chunks())
        (image,) = cloud.images.values()
        image["os_hash_value"] = "0" * 128
        assert not vim.has_image(SPEC.vim_image_id)

    def test_others_images_are_left(self, vim, cloud) -> None:
        """Somebody marked an image as if it were ours: it is in no journal."""
        vim.place_image(SPEC, chunks())
        (ours,) = cloud.images.values()
        cloud.images["stranger"] = {**ours, "id": "stranger"}
        vim.remove_image(SPEC.vim_image_id)
        assert list(cloud.images) == ["stranger"]
        assert not vim.has_image(SPEC.vim_image_id)


class TestServers:
    @pytest.fixture(autouse=True)
    def _placed(self, vim) -> None:
        vim.place_image(SPEC, chunks())

    def test_all_is_well(self, vim, cloud) -> None:
        spec = instance_spec()
        assert vim.start_instance(spec).healthy
        assert vim.stop_instance(spec.instance_id).state is InstanceState.STOPPED
        vim.start_instance(spec)
        vim.remove_instance(spec.instance_id)
        assert cloud.servers == {}

    @pytest.mark.parametrize(
        ("act", "kind", "why"),
        [
            (saying(500), VimRefusedError, "it is broken"),
            (saying(403, "Quota exceeded for instances"), VimRefusedError, "Quota exceeded"),
            (saying(400, "Flavor's disk is too small"), VimRefusedError, "too small"),
            (saying(503), VimUnreachableError, "503"),
            (hanging(), VimUnreachableError, "not answer"),
        ],
    )
    def test_a_creation_that_fails_tells_why(self, vim, cloud, act, kind, why) -> None:
        cloud.on("POST", SERVERS, act)
        spec = instance_spec()
        with pytest.raises(kind, match=why) as raised:
            vim.start_instance(spec)
        assert raised.value.next_step
        cloud.clear_rules()
        vim.remove_instance(spec.instance_id)
        assert cloud.servers == {}

    @pytest.mark.parametrize("act", [hanging(after_doing=True), lambda r: (r.do(), r.break_off())])
    def test_a_lost_answer_makes_no_second_server(self, open_vim, vim, cloud, act) -> None:
        cloud.on("POST", SERVERS, act)
        spec = instance_spec()
        with pytest.raises(VimUnreachableError):
            vim.start_instance(spec)
        cloud.clear_rules()
        later = open_vim()
        adopted = later.start_instance(spec)
        assert list(cloud.servers) == [adopted.vim_instance_id]
        assert list(later.instances()) == [spec.instance_id]

    def test_of_two_servers_of_one_instance_the_older_stays(self, vim, cloud) -> None:
        spec = instance_spec()
        first = vim.start_instance(spec).vim_instance_id
        twin = {**cloud.servers[first], "id": "twin", "created": "2026-02-01T00:00:00Z"}
        cloud.servers["twin"] = twin
        vim._servers._journal.forget_server(spec.instance_id)
        assert vim.instance(spec.instance_id).vim_instance_id == first
        assert list(cloud.servers) == [first]

    def test_a_server_of_the_same_name_is_no_proof(self, vim, cloud) -> None:
        spec = instance_spec()
        ours = vim.start_instance(spec).vim_instance_id
        theirs = {**cloud.servers.pop(ours), "id": "theirs", "metadata": {}}
        cloud.servers["theirs"] = theirs
        assert vim.instance(spec.instance_id) is None
        assert vim.instances() == {}
        vim.remove_instance(spec.instance_id)
        assert list(cloud.servers) == ["theirs"]

    def test_a_lost_server_is_none_and_can_be_made_again(self, vim, cloud) -> None:
        spec = instance_spec()
        first = vim.start_instance(spec).vim_instance_id
        cloud.servers.clear()
        assert vim.instance(spec.instance_id) is None
        assert vim.instances() == {}
        again = vim.start_instance(spec)
        assert again.vim_instance_id != first
        assert list(cloud.servers) == [again.vim_instance_id]

    def test_active_without_a_guest_is_not_healthy(self, vim, cloud) -> None:
        """Nova's record says ACTIVE, its hypervisor that nothing runs."""
        spec = instance_spec()
        server = cloud.servers[vim.start_instance(spec).vim_instance_id]
        server["OS-EXT-STS:power_state"] = 4
        view = vim.instance(spec.instance_id)
        assert (view.state, view.healthy) == (InstanceState.STOPPED, False)
        server["OS-EXT-STS:power_state"] = None
        assert not vim.instance(spec.instance_id).healthy

    def test_an_error_is_told_with_its_reason(self, vim, cloud) -> None:
        spec = instance_spec()
        server = cloud.servers[vim.start_instance(spec).vim_instance_id]
        server |= {"status": "ERROR", "fault": {"message": "No valid host was found."}}
        view = vim.instance(spec.instance_id)
        assert view.state is InstanceState.FAILED
        assert "No valid host" in view.detail

    def test_a_deletion_that_does_not_happen_is_told(self, vim, cloud) -> None:
        spec = instance_spec()
        vim.start_instance(spec)
        cloud.on("DELETE", SERVER, lying(204))
        with pytest.raises(VimUnreachableError, match="ACTIVE 1 s after it was deleted"):
            vim.remove_instance(spec.instance_id)
        cloud.clear_rules()
        vim.remove_instance(spec.instance_id)
        assert cloud.servers == {}

    def test_a_stop_that_does_not_happen_is_told(self, vim, cloud) -> None:
        spec = instance_spec()
        vim.start_instance(spec)
        cloud.on("POST", rf"{SERVER}/action", lying(202))
        with pytest.raises(VimRefusedError, match="asked to stop"):
            vim.stop_instance(spec.instance_id)

    def test_no_flavor_is_large_enough(self, vim, cloud) -> None:
        spec = InstanceSpec(uuid4(), "web", SPEC.vim_image_id, DIGEST, 4096, 1.0)
        with pytest.raises(VimRefusedError, match="No flavor") as raised:
            vim.start_instance(spec)
        assert "512 MiB" in raised.value.next_step
        assert cloud.count("POST", SERVERS) == 0

    def test_a_console_that_is_not_there_is_empty(self, vim, cloud) -> None:
        spec = instance_spec()
        vim.start_instance(spec)
        cloud.on("POST", rf"{SERVER}/action", saying(409, "not ready"))
        assert vim.log(spec.instance_id) == ""


class TestConnection:
    def test_refused_credentials(self, vim, cloud) -> None:
        cloud.on("POST", r"/identity/v3/auth/tokens", saying(401, "The request you made"))
        with pytest.raises(VimRefusedError, match="401") as raised:
            vim.instances()
        assert "clouds.yaml" in raised.value.next_step

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", r"/identity/v3/auth/tokens"),
            ("GET", r"/identity/v3/?"),
            ("GET", rf"{SERVERS}/detail"),
        ],
    )
    @pytest.mark.parametrize("act", [hanging(), saying(503), Request.break_off])
    def test_a_service_that_was_away_is_found_again(self, vim, cloud, method, path, act) -> None:
        cloud.on(method, path, act)
        with pytest.raises(VimError):
            vim.instances()
        cloud.clear_rules()
        assert vim.instances() == {}

    @pytest.mark.parametrize("act", [hanging(), saying(503), Request.break_off])
    def test_versions_that_could_not_be_asked_for_are_asked_for_again(
        self, vim, cloud, act
    ) -> None:
        cloud.on("GET", r"/compute/v2\.1/?", act)
        assert vim.instances() == {}
        cloud.clear_rules()
        vim.place_image(SPEC, chunks())
        spec = instance_spec()
        assert vim.start_instance(spec).healthy
        assert vim.describe().version == "compute 2.96"

    def test_nobody_listens(self, vim, cloud, open_vim, tmp_path) -> None:
        cloud.port = 1
        deaf = open_vim(clouds_file=cloud.write_clouds_file(tmp_path / "deaf.yaml"))
        with pytest.raises(VimUnreachableError):
            deaf.describe()

    def test_a_cloud_that_is_not_configured(self, open_vim, tmp_path) -> None:
        with pytest.raises(VimRefusedError, match=r"no-such.*not configured"):
            open_vim(cloud="no-such").describe()

    def test_a_password_is_in_no_error(self, vim, cloud) -> None:
        cloud.on("POST", r"/identity/v3/auth/tokens", saying(500, "broken"))
        with pytest.raises(VimError) as raised:
            vim.describe()
        assert "password" not in str(raised.value).lower()


def test_a_quota_without_an_end_is_none(vim: OpenStackVim, cloud: ScriptedCloud) -> None:
    cloud.servers["one"] = {}
    capacity = vim.capacity()
    assert (capacity.instances, capacity.instances_limit) == (1, 10)
    assert (capacity.cpus, capacity.cpus_used) == (None, 1)
    assert (capacity.memory_mib, capacity.memory_used_mib) == (51200, 512)


def test_a_cloud_that_is_away_tells_no_quota(vim: OpenStackVim, cloud: ScriptedCloud) -> None:
    cloud.on("GET", r"/compute/v2\.1/limits", saying(503))
    with pytest.raises(VimUnreachableError):
        vim.capacity()


DIAGNOSTICS = rf"{SERVER}/diagnostics"


def test_what_a_server_takes_is_told(vim: OpenStackVim, cloud: ScriptedCloud) -> None:
    vim.place_image(SPEC, chunks())
    spec = instance_spec()
    vim.start_instance(spec)
    told = {"cpu_details": [{"time": 2_000_000_000}], "memory_details": {"used": 3}}
    cloud.on("GET", DIAGNOSTICS, lying(200, told))
    assert vim.usage(spec.instance_id) == VimUsage(cpu_time_s=2.0, memory_bytes=3 * 1024**2)


def test_a_cloud_that_tells_administrators_alone_is_asked_once(
    vim: OpenStackVim, cloud: ScriptedCloud
) -> None:
    vim.place_image(SPEC, chunks())
    spec = instance_spec()
    vim.start_instance(spec)
    cloud.on("GET", DIAGNOSTICS, saying(403, "Policy doesn't allow it"))
    for _ in range(3):
        assert vim.usage(spec.instance_id) == VimUsage()
    assert cloud.count("GET", DIAGNOSTICS) == 1
