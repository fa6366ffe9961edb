"""What every VIM driver promises: emulated, on a real Docker engine, on a real OpenStack."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import tarfile
import threading
import time
from uuid import uuid4

import httpx
import pytest
from contract_marks import OPENSTACK_MARKS
from vim_images import Image, instance_of, small_image

from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import InstanceState
from nfv_stack.errors import (
    ImageRejectedError,
    ImageVanishedError,
    UnknownInstanceError,
    VimError,
    VimUnreachableError,
)
from nfv_stack.vim.docker import DockerVim
from nfv_stack.vim.port import VimUsage

DEADLINE_S = 30


class SealFailedError(Exception):
    """Stands for whatever stops the stream."""


def eventually(look, what: str):
    """Poll the real engine until `look()` answers something true."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        threading.Event().wait(0.05)
    pytest.fail(f"never came: {what}")


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def written(parts: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in parts.items():
            archive.addfile(normal_archive.member(name, len(data)), io.BytesIO(data))
    return target.getvalue()


class TestImages:
    def test_it_says_what_it_is(self, site, vim, new_image) -> None:
        description = vim.describe()
        assert description.driver == site.driver
        assert description.emulated == (site.driver == "emulated")
        assert new_image().format in description.image_formats
        assert description.look_every_s > 0

    def test_a_whole_image_is_held_under_its_own_id(self, vim, new_image) -> None:
        image = new_image()
        assert not vim.has_image(image.vim_image_id)
        assert vim.place_image(image.spec(), image.chunks()) == image.vim_image_id
        assert vim.has_image(image.vim_image_id)

    def test_placing_it_again_changes_nothing(self, vim, new_image) -> None:
        image = new_image()
        for _ in range(2):
            assert vim.place_image(image.spec(), image.chunks()) == image.vim_image_id
        vim.remove_image(image.vim_image_id)
        assert not vim.has_image(image.vim_image_id)

    @pytest.mark.parametrize("at", ["first", "middle", "after the last byte"])
    def test_what_the_stream_raises_comes_through_and_nothing_stays(
        self, vim, at: str, new_image
    ) -> None:
        image = new_image()
        error = SealFailedError()

        def failing():
            count = {"first": 0, "middle": 2, "after the last byte": 10**6}[at]
            for index, chunk in enumerate(image.chunks()):
                if index == count:
                    break
                yield chunk
            raise error

        with pytest.raises(SealFailedError) as raised:
            vim.place_image(image.spec(), failing())
        assert raised.value is error
        assert not vim.has_image(image.vim_image_id)
        assert vim.place_image(image.spec(), image.chunks())  # and the way is free

    def test_a_flipped_bit_in_a_layer_is_noticed(self, vim, new_image) -> None:
        image = new_image()
        damaged = bytearray(image.content)
        damaged[-30_000] ^= 1
        with pytest.raises(ImageRejectedError):
            vim.place_image(image.spec(), iter([memoryview(damaged)]))
        assert not vim.has_image(image.vim_image_id)

    def test_removal_can_be_repeated(self, vim, new_image) -> None:
        image = new_image()
        vim.remove_image(image.vim_image_id)
        vim.place_image(image.spec(), image.chunks())
        for _ in range(2):
            vim.remove_image(image.vim_image_id)
        assert not vim.has_image(image.vim_image_id)

    def test_two_data_centres_can_hold_one_image(self, site, new_image) -> None:
        first, second = site.data_centre(), site.data_centre()
        image = new_image()
        first.place_image(image.spec(), image.chunks())
        second.place_image(image.spec(found_here=site.driver == "docker"), image.chunks())
        first.remove_image(image.vim_image_id)
        assert second.has_image(image.vim_image_id)
        second.remove_image(image.vim_image_id, found_here=site.driver == "docker")
        assert not second.has_image(image.vim_image_id)

    def test_giving_up_what_one_never_had_takes_nothing_from_others(self, site, new_image) -> None:
        first, second = site.data_centre(), site.data_centre()
        image = new_image()
        first.place_image(image.spec(), image.chunks())
        second.remove_image(image.vim_image_id)
        assert first.has_image(image.vim_image_id)

    def test_many_at_once(self, vim, new_image) -> None:
        images = [new_image() for _ in range(4)]
        placed: list[str] = []
        threads = [
            threading.Thread(
                target=lambda image=image: placed.append(
                    vim.place_image(image.spec(), image.chunks())
                )
            )
            for image in images
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(placed) == sorted(image.vim_image_id for image in images)


@pytest.mark.parametrize(
    "site", ["emulated", pytest.param("openstack", marks=OPENSTACK_MARKS)], indirect=True
)
class TestWholeStreams:
    """An engine stops reading an archive at its end; who keeps bytes keeps exactly these."""

    @pytest.mark.parametrize("left_out", [1, 1000, 200_000, 10**9])
    def test_a_stream_that_ends_early_leaves_nothing(self, vim, new_image, left_out: int) -> None:
        image = new_image()
        end = max(0, len(image.content) - left_out)
        with pytest.raises(ImageRejectedError):
            vim.place_image(image.spec(), iter([memoryview(image.content)[:end]]))
        assert not vim.has_image(image.vim_image_id)

    def test_a_stream_that_goes_on_is_refused(self, vim, new_image) -> None:
        image = new_image()
        longer = [memoryview(image.content), memoryview(bytes(100_000))]
        with pytest.raises(ImageRejectedError):
            vim.place_image(image.spec(), iter(longer))
        assert not vim.has_image(image.vim_image_id)


@pytest.mark.parametrize("site", ["emulated", "docker"], indirect=True)
class TestArchives:
    """What may be wrong inside an archive of a container."""

    @pytest.mark.parametrize("cut", ["in the config", "in the layer", "between members", "to none"])
    def test_a_cut_stream_leaves_nothing(self, vim, cut: str) -> None:
        image = small_image()
        with tarfile.open(fileobj=io.BytesIO(image.content)) as archive:
            _, config, layer = archive.getmembers()
        end = {
            "in the config": config.offset_data + 20,
            "in the layer": layer.offset_data + 1000,
            "between members": layer.offset,
            "to none": 0,
        }[cut]
        with pytest.raises(ImageRejectedError):
            vim.place_image(image.spec(), iter([memoryview(image.content)[:end]]))
        assert not vim.has_image(image.vim_image_id)

    def test_an_altered_config_is_another_image_and_does_not_stay(self, vim) -> None:
        image = small_image()
        parts = members(image.content)
        manifest, config, layer = parts
        document = json.loads(parts[config])
        document["config"]["Cmd"] = ["/bin/evil"]
        altered = json.dumps(document).encode()
        other = Image(
            image.vim_image_id,
            written({manifest: parts[manifest], config: altered, layer: parts[layer]}),
        )
        with pytest.raises(ImageRejectedError, match="expected was"):
            vim.place_image(other.spec(), other.chunks())
        assert not vim.has_image(image.vim_image_id)
        assert not vim.has_image(normal_archive.ID_PREFIX + _sha256(altered))

    def test_an_archive_that_brings_a_name_is_refused(self, vim) -> None:
        image = small_image()
        named = _with_tags(image, [f"qnfv-test/{secrets.token_hex(4)}:latest"])
        with pytest.raises(ImageRejectedError):
            vim.place_image(named.spec(), named.chunks())
        assert not vim.has_image(image.vim_image_id)


@pytest.mark.parametrize("site", ["docker"], indirect=True)
class TestSharedEngine:
    """What was on an engine before stays, whatever comes."""

    def _loaded(self, engine, image: Image, tag: str | None) -> None:
        (loaded,) = engine.images.load(image.content)
        if tag:
            loaded.tag(tag)

    @pytest.mark.parametrize("tagged", [True, False])
    def test_an_image_that_was_there_before_stays(self, vim, engine, tagged: bool) -> None:
        image = small_image()
        tag = f"qnfv-test/{secrets.token_hex(4)}" if tagged else None
        self._loaded(engine, image, tag)
        try:
            vim.place_image(image.spec(found_here=True), image.chunks())
            vim.remove_image(image.vim_image_id, found_here=True)
            assert vim.has_image(image.vim_image_id)
            if tag:
                assert engine.images.get(tag).id == image.vim_image_id
        finally:
            engine.images.remove(image.vim_image_id, force=True)

    def test_an_image_that_went_meanwhile_is_ours_when_it_comes(self, vim, engine) -> None:
        image = small_image()
        vim.place_image(image.spec(found_here=True), image.chunks())
        vim.remove_image(image.vim_image_id, found_here=True)
        assert not vim.has_image(image.vim_image_id)

    def test_what_a_crash_left_without_a_mark_goes(self, vim, engine) -> None:
        image = small_image()
        self._loaded(engine, image, None)
        vim.remove_image(image.vim_image_id)
        assert not vim.has_image(image.vim_image_id)

    def test_a_hostile_tag_gives_back_what_it_took(self, vim, engine) -> None:
        victim, attacker = small_image(), small_image()
        tag = f"qnfv-test/{secrets.token_hex(4)}:latest"
        self._loaded(engine, victim, tag)
        try:
            hostile = _with_tags(attacker, [tag])
            with pytest.raises(ImageRejectedError):
                vim.place_image(hostile.spec(), hostile.chunks())
            assert engine.images.get(tag).id == victim.vim_image_id
            assert not vim.has_image(attacker.vim_image_id)
        finally:
            engine.images.remove(victim.vim_image_id, force=True)

    def test_an_image_removed_while_it_was_taken_in_can_be_sent_again(
        self, vim, engine, monkeypatch
    ) -> None:
        image = small_image()
        load = vim._engine.api.load_image

        def load_and_lose(data):
            answer = list(load(data))
            engine.images.remove(image.vim_image_id)
            return answer

        monkeypatch.setattr(vim._engine.api, "load_image", load_and_lose)
        with pytest.raises(ImageVanishedError):
            vim.place_image(image.spec(), image.chunks())


class TestInstances:
    @pytest.fixture
    def placed(self, vim, bootable) -> Image:
        image = bootable()
        vim.place_image(image.spec(), image.chunks())
        return image

    def test_an_instance_comes_up_serves_and_goes(self, site, vim, placed: Image) -> None:
        spec = instance_of(placed)
        vim.start_instance(spec)
        running = eventually(lambda: _healthy(vim, spec.instance_id), "a healthy instance")
        assert running.state is InstanceState.RUNNING
        assert running.started_at is not None
        assert vim.capacity().instances >= 1
        usage = vim.usage(spec.instance_id)
        if site.driver == "docker":  # others may not say
            assert (usage.cpu_time_s or 0) > 0
            assert (usage.memory_bytes or 0) > 0
        assert len(running.end_points) == site.serves_pages
        for end_point in running.end_points:
            assert end_point.host == "127.0.0.1"
            page = httpx.get(f"http://{end_point.host}:{end_point.host_port}/", timeout=10)
            assert page.status_code == 200
            assert ("Emulated VNF" in page.text) == (site.driver == "emulated")
        vim.remove_instance(spec.instance_id)
        assert vim.instance(spec.instance_id) is None
        assert spec.instance_id not in vim.instances()
        for end_point in running.end_points:
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://{end_point.host}:{end_point.host_port}/", timeout=2)

    def test_a_stopped_instance_stays_and_can_go_on(self, site, vim, placed: Image) -> None:
        spec = instance_of(placed)
        vim.start_instance(spec)
        running = eventually(lambda: _healthy(vim, spec.instance_id), "a healthy instance")
        for _ in range(2):
            stopped = vim.stop_instance(spec.instance_id)
            assert (stopped.state, stopped.healthy) == (InstanceState.STOPPED, False)
        later = site.reopened(vim)
        assert later.instances()[spec.instance_id].state is InstanceState.STOPPED
        later.start_instance(spec)
        again = eventually(lambda: _healthy(later, spec.instance_id), "health after a stop")
        assert again.vim_instance_id == running.vim_instance_id
        later.stop_instance(spec.instance_id)
        later.remove_instance(spec.instance_id)
        assert later.instances() == {}

    def test_an_instance_is_made_anew_from_its_image(self, vim, placed: Image) -> None:
        spec = instance_of(placed)
        vim.start_instance(spec)
        eventually(lambda: _healthy(vim, spec.instance_id), "a healthy instance")
        vim.stop_instance(spec.instance_id)
        vim.remove_instance(spec.instance_id)
        assert vim.has_image(placed.vim_image_id), "it does not go with its instance"
        vim.start_instance(spec)
        assert eventually(lambda: _healthy(vim, spec.instance_id), "health of the new one")
        assert list(vim.instances()) == [spec.instance_id]

    def test_what_is_not_there_cannot_be_stopped(self, vim) -> None:
        with pytest.raises(UnknownInstanceError):
            vim.stop_instance(uuid4())
        assert vim.usage(uuid4()) == VimUsage()

    def test_it_has_a_console_or_a_log(self, vim, placed: Image) -> None:
        spec = instance_of(placed)
        vim.start_instance(spec)
        eventually(lambda: _healthy(vim, spec.instance_id), "a healthy instance")
        assert isinstance(vim.log(spec.instance_id, tail_lines=5), str)

    def test_each_request_can_be_repeated(self, vim, placed: Image) -> None:
        spec = instance_of(placed)
        first, second = vim.start_instance(spec), vim.start_instance(spec)
        assert first.vim_instance_id == second.vim_instance_id
        assert list(vim.instances()) == [spec.instance_id]
        for _ in range(2):
            vim.remove_instance(spec.instance_id)
        vim.remove_instance(uuid4())
        assert vim.instances() == {}

    def test_two_instances_of_one_image(self, site, vim, placed: Image) -> None:
        specs = [instance_of(placed, name=f"web-{index}") for index in range(2)]
        for spec in specs:
            vim.start_instance(spec)
        healthy = [
            eventually(lambda spec=spec: _healthy(vim, spec.instance_id), "health")
            for spec in specs
        ]
        if site.serves_pages:
            assert len({view.end_points[0].host_port for view in healthy}) == 2
        vim.remove_instance(specs[0].instance_id)
        assert list(vim.instances()) == [specs[1].instance_id]
        assert _healthy(vim, specs[1].instance_id)

    def test_an_absent_instance_is_none_and_has_no_log(self, vim) -> None:
        absent = uuid4()
        assert vim.instance(absent) is None
        assert absent not in vim.instances()
        assert vim.log(absent) == ""

    def test_no_instance_of_an_image_that_is_not_here(self, vim, new_image) -> None:
        spec = instance_of(new_image())
        with pytest.raises(VimError):
            vim.start_instance(spec)
        assert vim.instance(spec.instance_id) is None

    def test_others_instances_are_not_ours(self, site, vim, placed: Image) -> None:
        other = site.data_centre()
        other.place_image(placed.spec(found_here=True), placed.chunks())
        spec = instance_of(placed)
        vim.start_instance(spec)
        assert other.instances() == {}
        assert other.instance(spec.instance_id) is None
        other.remove_instance(spec.instance_id)
        assert vim.instance(spec.instance_id) is not None

    def test_instances_outlive_the_stack(self, site, vim, placed: Image) -> None:
        spec = instance_of(placed)
        vim.start_instance(spec)
        later = site.reopened(vim)
        view = eventually(lambda: _healthy(later, spec.instance_id), "health after a restart")
        assert view.state is InstanceState.RUNNING
        later.remove_instance(spec.instance_id)
        assert later.instance(spec.instance_id) is None


@pytest.mark.parametrize("site", ["docker"], indirect=True)
class TestContainers:
    """What containers do that the emulated VIM never does."""

    @pytest.fixture
    def start(self, vim, engine, web_image):
        def started(**config: object):
            image = web_image(**config)
            vim.place_image(image.spec(), image.chunks())
            spec = instance_of(image)
            vim.start_instance(spec)
            return spec.instance_id

        return started

    def test_a_container_that_crashes_is_told_with_its_last_words(self, vim, start) -> None:
        script = ["/bin/busybox", "sh", "-c", "echo out of luck; exit 3"]
        instance_id = start(Cmd=script, ExposedPorts={}, Healthcheck=None)
        view = eventually(
            lambda: _in_state(vim, instance_id, InstanceState.FAILED), "the crash to be seen"
        )
        assert not view.healthy
        assert "exit code 3" in view.detail
        assert "out of luck" in vim.log(instance_id)

    def test_a_container_that_ends_well_is_stopped(self, vim, start) -> None:
        instance_id = start(Cmd=["/bin/busybox", "true"], ExposedPorts={}, Healthcheck=None)
        eventually(lambda: _in_state(vim, instance_id, InstanceState.STOPPED), "the end")

    def test_a_failing_health_check_outweighs_an_open_port(self, vim, start) -> None:
        check = {"Test": ["CMD", "/bin/busybox", "false"], "Interval": 10**9, "Retries": 1}
        instance_id = start(Healthcheck=check)
        seen = eventually(
            lambda: (view := vim.instance(instance_id)) and not view.healthy and view,
            "an unhealthy verdict",
        )
        assert seen.state is InstanceState.RUNNING

    def test_a_port_that_nobody_serves_is_not_healthy(self, vim, start) -> None:
        sleeping = ["/bin/busybox", "sleep", "60"]
        instance_id = start(Cmd=sleeping, Healthcheck=None)
        view = eventually(
            lambda: _in_state(vim, instance_id, InstanceState.RUNNING), "a running container"
        )
        assert not view.healthy

    def test_without_port_and_check_it_has_to_stay_up(self, vim, start) -> None:
        sleeping = ["/bin/busybox", "sleep", "60"]
        instance_id = start(Cmd=sleeping, ExposedPorts={}, Healthcheck=None)
        assert not vim.instance(instance_id).healthy
        eventually(lambda: _healthy(vim, instance_id), "a settled container")

    def test_a_container_removed_behind_our_back_is_missing(self, vim, start, engine) -> None:
        instance_id = start()
        engine.containers.get(vim.instance(instance_id).vim_instance_id).remove(force=True)
        assert vim.instance(instance_id) is None

    def test_it_can_do_little_harm(self, vim, start, engine) -> None:
        container = engine.containers.get(vim.instance(start()).vim_instance_id)

        def inside(*command: str) -> str:
            return container.exec_run(["/bin/busybox", *command]).output.decode()

        assert inside("id", "-u").strip() == "65534"
        status = inside("cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Read-only" in inside("touch", "/www/x")
        assert inside("touch", "/tmp/x") == ""
        limits = container.attrs["HostConfig"]
        assert limits["PidsLimit"] == 512
        assert limits["Memory"] == 64 * 1024 * 1024
        assert limits["LogConfig"]["Config"]["max-size"] == "10m"

    def test_an_image_that_a_stranger_runs_is_left(self, vim, engine, web_image) -> None:
        image = web_image()
        vim.place_image(image.spec(), image.chunks())
        stranger = engine.containers.create(image.vim_image_id)
        try:
            vim.remove_image(image.vim_image_id)
            assert vim.has_image(image.vim_image_id)
        finally:
            stranger.remove(force=True)
        vim.remove_image(image.vim_image_id)
        assert not vim.has_image(image.vim_image_id)


def test_an_engine_that_is_not_there(tmp_path) -> None:
    with pytest.raises(VimUnreachableError, match=r"base_url"):
        DockerVim(data_centre="none", base_url=f"unix://{tmp_path}/none.sock")


def _healthy(vim, instance_id):
    view = vim.instance(instance_id)
    return view if view is not None and view.healthy else None


def _in_state(vim, instance_id, state: InstanceState):
    view = vim.instance(instance_id)
    return view if view is not None and view.state is state else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _with_tags(image: Image, tags: list[str]) -> Image:
    parts = members(image.content)
    (entry,) = json.loads(parts["manifest.json"])
    entry["RepoTags"] = tags
    return Image(
        image.vim_image_id, written({**parts, "manifest.json": json.dumps([entry]).encode()})
    )
