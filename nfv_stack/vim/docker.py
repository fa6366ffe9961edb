"""The VIM driver for a Docker engine: Linux containers.

The engine's socket is root on its host; only this stack may reach it. Images are owned by a tag
`qnfv-NAME/vnf:DIGEST`, so that several data centres of a lab can share one engine: removal takes
our tag away, and the engine drops the content with the last tag. The engine spools what it loads
under its data root before it verifies; `DOCKER_TMPDIR` on a tmpfs keeps that off the disk.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import docker
import structlog
from docker.errors import APIError, DockerException, ImageLoadError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import LogConfig
from requests.exceptions import JSONDecodeError, RequestException

from nfv_stack.contract.schemas import ImageFormat, InstanceState
from nfv_stack.errors import (
    ImageRejectedError,
    ImageVanishedError,
    UnknownInstanceError,
    VimRefusedError,
    VimUnreachableError,
)
from nfv_stack.vim.port import (
    ImageSpec,
    InstanceSpec,
    ServiceEndPoint,
    VimCapacity,
    VimDescription,
    VimInstance,
    VimUsage,
)

log = structlog.get_logger(__name__)

LABEL_DATA_CENTRE = "qnfv.data-centre"
LABEL_INSTANCE = "qnfv.instance"
LABEL_IMAGE = "qnfv.image"
IMAGE_LABEL_READ_ONLY = "qnfv.read-only-root"
"""An image that says "true" here runs with a read-only root and a tmpfs on /tmp."""

_PIDS_LIMIT = 512
_PROBE_TIMEOUT_S = 0.2
_SETTLED_S = 1.0
_REMOVAL_TIMEOUT_S = 30
_STOP_GRACE_S = 10
# What a process answers to SIGTERM and SIGKILL: somebody stopped it.
_STOPPED_BY_SIGNAL = (143, 137)
_CONFLICT = 409
_MIB = 1024**2
_ID_PREFIX = "sha256:"
_TAG_DIGITS = 32
_LOADED = re.compile(r"^Loaded image(?: ID)?: (.+)$", re.MULTILINE)
# A VNF that talks without end must not fill the host's disk.
_LOG_LIMITS = {"max-size": "10m", "max-file": "2"}
Params = ParamSpec("Params")
Result = TypeVar("Result")


def _speaking_to_engine(method: Callable[Params, Result]) -> Callable[Params, Result]:
    """Turn the SDK's errors into ours."""

    def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except APIError as error:
            raise VimRefusedError(
                f"The Docker engine refused: {error.explanation or error}.",
                next_step="See the engine's log; correct the image or free resources.",
            ) from error
        except (RequestException, DockerException) as error:
            raise VimUnreachableError(
                f"The Docker engine does not answer: {error}.",
                next_step="Start the engine, and check that this service may use its socket.",
            ) from error

    return call


@dataclass(frozen=True)
class _Held:
    """What the engine held before a load."""

    tagged: dict[str, str]
    untagged: frozenset[str]

    @property
    def ids(self) -> set[str]:
        return {*self.tagged.values(), *self.untagged}


class DockerVim:
    """One engine, as one data centre sees it."""

    def __init__(
        self,
        *,
        data_centre: str,
        base_url: str | None = None,
        timeout_s: float = 600.0,
        publish_host: str = "127.0.0.1",
        network: str | None = None,
    ) -> None:
        self._data_centre = data_centre
        self._publish_host = publish_host
        self._network = network
        try:
            self._engine = (
                docker.DockerClient(base_url=base_url, timeout=int(timeout_s))
                if base_url
                else docker.from_env(timeout=int(timeout_s))
            )
        except DockerException as error:
            raise VimUnreachableError(
                f"No Docker engine can be reached: {error}.",
                next_step="Start the engine, or set vim.options.base_url.",
            ) from error
        self._description: VimDescription | None = None

    @_speaking_to_engine
    def describe(self) -> VimDescription:
        if self._description is None:
            info = self._engine.info()
            if any(
                "io.containerd.snapshotter" in str(part) for part in info.get("DriverStatus") or ()
            ):
                raise VimRefusedError(
                    "This engine keeps images in the containerd store, whose ids are not the "
                    "digests that a transfer is checked against.",
                    next_step='Set "features": {"containerd-snapshotter": false} in daemon.json.',
                )
            self._description = VimDescription(
                "docker",
                str(info.get("ServerVersion", "unknown")),
                frozenset({ImageFormat.DOCKER_ARCHIVE}),
                emulated=False,
            )
        return self._description

    @_speaking_to_engine
    def capacity(self) -> VimCapacity:
        info = self._engine.info()
        return VimCapacity(
            instances=int(info.get("Containers", 0)),
            cpus=float(info["NCPU"]) if "NCPU" in info else None,
            memory_mib=int(info["MemTotal"]) // _MIB if "MemTotal" in info else None,
        )

    # --- images -----------------------------------------------------------------------------------

    @_speaking_to_engine
    def has_image(self, vim_image_id: str) -> bool:
        try:
            return bool(self._engine.images.get(vim_image_id).id == vim_image_id)
        except ImageNotFound:
            return False

    def place_image(self, spec: ImageSpec, chunks: Iterator[memoryview]) -> str:
        self.describe()
        before = self._held()
        names = self._load(chunks)
        if names != [spec.vim_image_id]:
            self._undo_load(names, before)
            raise ImageRejectedError(
                f"The engine made {', '.join(names) or 'no image'} out of the stream, "
                f"expected was {spec.vim_image_id}.",
                next_step="The image in the catalogue is damaged; add it again.",
            )
        if spec.found_here and spec.vim_image_id in before.untagged:
            # Somebody keeps it without a tag. Ours would be its only one, and would take the
            # image away when it goes.
            return spec.vim_image_id
        self._tag(spec)
        return spec.vim_image_id

    def _load(self, chunks: Iterator[memoryview]) -> list[str]:
        """Stream an archive in; what the engine made of it: an id for each image without a tag,
        and each tag that it moved to an image of the archive."""
        raised: list[BaseException] = []

        def remembered() -> Iterator[memoryview]:
            # The SDK wraps what a generator raises; the caller wants the original.
            try:
                yield from chunks
            except BaseException as error:
                raised.append(error)
                raise

        try:
            return _loaded(cast(Any, self._engine.api).load_image(remembered()))
        except (DockerException, RequestException) as error:
            if raised:
                raise raised[0] from error
            if isinstance(error, RequestException) and not self._answers():
                raise VimUnreachableError(
                    f"The Docker engine went away while it loaded the image: {error}.",
                    next_step="See the engine's log, then retry the operation.",
                ) from error
            raise ImageRejectedError(
                f"The Docker engine did not take the image: {error}.",
                next_step="Check the image with `docker load`, and the engine's free disk space.",
            ) from error

    def _answers(self) -> bool:
        try:
            return bool(self._engine.ping())
        except (DockerException, RequestException):
            return False

    @_speaking_to_engine
    def _tag(self, spec: ImageSpec) -> None:
        try:
            self._engine.api.tag(
                spec.vim_image_id, self._repository, tag=spec.digest.hex()[:_TAG_DIGITS]
            )
        except NotFound as error:
            # Another data centre on this engine gave the same image up at this moment.
            raise ImageVanishedError(
                f"The image {spec.vim_image_id} was removed while it was taken in.",
                next_step="Ask for a new attempt; the image is sent again from its beginning.",
            ) from error

    @_speaking_to_engine
    def _undo_load(self, names: list[str], before: _Held) -> None:
        """Take away what a wrong archive brought, and give moved tags back."""
        for name in names:
            if name.startswith(_ID_PREFIX):
                image_id = name
            else:
                image_id = str(self._engine.images.get(name).id)
                earlier = before.tagged.get(name)
                if earlier is not None:
                    repository, _, tag = name.rpartition(":")
                    self._engine.api.tag(earlier, repository, tag=tag, force=True)
                else:
                    self._untag(name)
            if image_id not in before.ids:
                self._remove_by_id(image_id)

    @_speaking_to_engine
    def remove_image(self, vim_image_id: str, *, found_here: bool = False) -> None:
        try:
            tags = list(self._engine.images.get(vim_image_id).tags)
        except ImageNotFound:
            return
        for tag in tags:
            if tag.startswith(f"{self._repository}:"):
                self._untag(tag)
        if not tags and not found_here:
            self._remove_by_id(vim_image_id)

    @_speaking_to_engine
    def _held(self) -> _Held:
        tagged: dict[str, str] = {}
        untagged: set[str] = set()
        for image in self._engine.api.images(all=True):
            tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
            tagged.update(dict.fromkeys(tags, image["Id"]))
            if not tags:
                untagged.add(image["Id"])
        return _Held(tagged, frozenset(untagged))

    def _untag(self, tag: str) -> None:
        try:
            self._engine.api.remove_image(tag)
        except ImageNotFound:
            return
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            # A container that is not ours runs it, and the tag is its last.
            log.warning("image stays, a container needs it", image=tag, why=error.explanation)

    def _remove_by_id(self, vim_image_id: str) -> None:
        try:
            self._engine.api.remove_image(vim_image_id)
        except ImageNotFound:
            return
        except APIError as error:
            # In use, or tagged by somebody else meanwhile: not ours to take away.
            if error.status_code != _CONFLICT:
                raise

    @property
    def _repository(self) -> str:
        return f"qnfv-{self._data_centre}/vnf"

    # --- instances --------------------------------------------------------------------------------

    @_speaking_to_engine
    def start_instance(self, spec: InstanceSpec) -> VimInstance:
        container = self._container(spec.instance_id)
        if container is None:
            container = self._create(spec)
        if container.status in ("created", "exited"):
            container.start()
            container.reload()
        return self._view(container)

    def _create(self, spec: InstanceSpec) -> Container:
        config = self._engine.images.get(spec.placed_image_id).attrs["Config"] or {}
        read_only = (config.get("Labels") or {}).get(IMAGE_LABEL_READ_ONLY) == "true"
        try:
            return self._engine.containers.create(
                spec.placed_image_id,
                name=self._container_name(spec.instance_id),
                hostname=spec.name,
                labels={
                    LABEL_DATA_CENTRE: self._data_centre,
                    LABEL_INSTANCE: str(spec.instance_id),
                    LABEL_IMAGE: spec.image_digest.hex(),
                },
                ports=self._published(config),
                mem_limit=f"{spec.memory_mib}m",
                nano_cpus=int(spec.cpus * 1e9),
                pids_limit=_PIDS_LIMIT,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=read_only,
                tmpfs={"/tmp": "rw,noexec,nosuid,size=64m"} if read_only else None,  # noqa: S108
                network=self._network,
                log_config=LogConfig(type=LogConfig.types.JSON, config=_LOG_LIMITS),
            )
        except APIError as error:
            existing = self._container(spec.instance_id) if error.status_code == 409 else None
            if existing is None:
                raise
            return existing

    def _published(self, config: Mapping[str, Any]) -> Any:
        """Every exposed port, on a host port that the engine chooses."""
        return {port: (self._publish_host, None) for port in config.get("ExposedPorts") or {}}

    @_speaking_to_engine
    def instance(self, instance_id: UUID) -> VimInstance | None:
        container = self._container(instance_id)
        return None if container is None else self._view(container)

    @_speaking_to_engine
    def instances(self) -> dict[UUID, VimInstance]:
        found: dict[UUID, VimInstance] = {}
        ours: dict[str, str | list[str] | bool] = {
            "label": f"{LABEL_DATA_CENTRE}={self._data_centre}"
        }
        for container in self._engine.containers.list(all=True, filters=ours, ignore_removed=True):
            with contextlib.suppress(ValueError):
                found[UUID(container.labels.get(LABEL_INSTANCE, ""))] = self._view(container)
        return found

    @_speaking_to_engine
    def stop_instance(self, instance_id: UUID) -> VimInstance:
        container = self._container(instance_id)
        if container is None:
            raise UnknownInstanceError(
                f"The engine has no container of instance {instance_id}.",
                next_step="Start it again from its image.",
            )
        container.stop(timeout=_STOP_GRACE_S)
        container.reload()
        return self._view(container)

    @_speaking_to_engine
    def remove_instance(self, instance_id: UUID) -> None:
        container = self._container(instance_id)
        if container is None:
            return
        try:
            container.remove(force=True, v=True)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            # Somebody is removing it just now; it is gone for us when it is gone.
            with contextlib.suppress(NotFound):
                container.wait(condition="removed", timeout=_REMOVAL_TIMEOUT_S)

    @_speaking_to_engine
    def usage(self, instance_id: UUID) -> VimUsage:
        container = self._container(instance_id)
        if container is None or container.status != "running":
            return VimUsage()
        # In one shot: a rate would take the engine a second to measure.
        try:
            told = cast(Any, container).stats(stream=False, one_shot=True)
        except JSONDecodeError:  # nothing is said of one that ended this moment
            return VimUsage()
        cpu_time_ns = told.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage")
        return VimUsage(
            cpu_time_s=None if cpu_time_ns is None else cpu_time_ns / 1e9,
            memory_bytes=told.get("memory_stats", {}).get("usage"),
        )

    @_speaking_to_engine
    def log(self, instance_id: UUID, *, tail_lines: int = 200) -> str:
        container = self._container(instance_id)
        if container is None:
            return ""
        return container.logs(tail=tail_lines).decode(errors="replace")

    def close(self) -> None:
        self._engine.close()

    def _container_name(self, instance_id: UUID) -> str:
        return f"qnfv-{self._data_centre}-{instance_id}"

    def _container(self, instance_id: UUID) -> Container | None:
        try:
            return self._engine.containers.get(self._container_name(instance_id))
        except NotFound:
            return None

    def _view(self, container: Container) -> VimInstance:
        attributes = container.attrs
        state = attributes["State"]
        started_at = _moment(state.get("StartedAt", ""))
        return VimInstance(
            vim_instance_id=str(container.id),
            state=_state(state),
            healthy=bool(state.get("Running")) and _is_healthy(attributes, started_at),
            end_points=_end_points(attributes),
            started_at=started_at,
            detail=state.get("Error")
            or f"{state.get('Status')}, exit code {state.get('ExitCode')}",
            labels=dict(container.labels),
        )


def _state(state: Mapping[str, Any]) -> InstanceState:
    if state.get("Running"):
        return InstanceState.RUNNING
    if state.get("Status") == "created":
        return InstanceState.STARTING
    exit_code = state.get("ExitCode")
    if exit_code in _STOPPED_BY_SIGNAL and not state.get("OOMKilled"):
        return InstanceState.STOPPED
    failed = state.get("OOMKilled") or exit_code or state.get("Error")
    return InstanceState.FAILED if failed else InstanceState.STOPPED


def _is_healthy(attributes: Mapping[str, Any], started_at: datetime | None) -> bool:
    """What the image's own health check says; before it has, whether all TCP ports answer; without
    either, whether it stays up.

    Asking the ports costs milliseconds where the engine's first health check takes a whole
    interval; they are asked at the container's own address, since the engine's proxy accepts
    connections for ports on which nobody listens.
    """
    health = attributes["State"].get("Health")
    verdict = (health or {}).get("Status", "none")
    if verdict in ("healthy", "unhealthy"):
        return bool(verdict == "healthy")
    ports = [
        int(name.split("/")[0])
        for name in attributes["Config"].get("ExposedPorts") or {}
        if name.endswith("/tcp")
    ]
    networks = attributes["NetworkSettings"].get("Networks") or {}
    addresses = [n["IPAddress"] for n in networks.values() if n.get("IPAddress")]
    if ports and addresses:
        return all(_answers(addresses[0], port) for port in ports)
    if verdict != "none" or started_at is None:
        return False
    return (datetime.now(UTC) - started_at).total_seconds() >= _SETTLED_S


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _end_points(attributes: Mapping[str, Any]) -> tuple[ServiceEndPoint, ...]:
    published = attributes["NetworkSettings"].get("Ports") or {}
    return tuple(
        ServiceEndPoint(int(name.split("/")[0]), binding["HostIp"], int(binding["HostPort"]))
        for name, bindings in sorted(published.items())
        for binding in bindings or ()
    )


def _moment(text: str) -> datetime | None:
    """The engine's RFC 3339 time with nanoseconds; None for its year 1, which means never."""
    if not text or text.startswith("0001"):
        return None
    return datetime.fromisoformat(text)


def _loaded(progress: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the engine says that it loaded; raises ImageLoadError with its reason."""
    names: list[str] = []
    for step in progress:
        if "error" in step:
            raise ImageLoadError(str(step["error"]))
        names += _LOADED.findall(str(step.get("stream", "")))
    return names


def open_vim(options: Mapping[str, Any]) -> DockerVim:
    """The driver `docker`. Options: data_centre; base_url (the engine of the environment),
    timeout_s, publish_host (127.0.0.1), network. It keeps nothing in the stack's folder."""
    return DockerVim(**{name: value for name, value in options.items() if name != "folder"})
