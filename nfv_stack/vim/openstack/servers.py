"""Servers at Nova, known by their metadata: created, found again, stopped, removed."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from openstack.exceptions import HttpException

from nfv_stack.contract.schemas import InstanceState
from nfv_stack.errors import VimRefusedError, VimUnreachableError
from nfv_stack.vim.openstack.cloud import Cloud, absent_is_none
from nfv_stack.vim.openstack.journal import Journal, JournaledImage
from nfv_stack.vim.port import InstanceSpec, VimCapacity, VimInstance, VimUsage

log = structlog.get_logger(__name__)

DATA_CENTRE = "qnfv_data_centre"
INSTANCE = "qnfv_instance"
_LOOK_EVERY_S = 0.5
_RUNNING = 1  # Nova's power state
_GIB = 1024**3
_MIB = 1024**2
_FORBIDDEN = 403
_NO_CONSOLE = (404, 409, 501)
_GONE = ("DELETED", "SOFT_DELETED")

# Nova's server states; what is not named here is a failure.
_STATES = {
    "BUILD": InstanceState.STARTING,
    "REBUILD": InstanceState.STARTING,
    "REBOOT": InstanceState.STARTING,
    "HARD_REBOOT": InstanceState.STARTING,
    "ACTIVE": InstanceState.RUNNING,
    "SHUTOFF": InstanceState.STOPPED,
    "PAUSED": InstanceState.STOPPED,
    "SUSPENDED": InstanceState.STOPPED,
}


class NovaServers:
    """The servers of one data centre."""

    def __init__(
        self,
        cloud: Cloud,
        journal: Journal,
        data_centre: str,
        *,
        flavor: str | None,
        network: str | None,
        settle_timeout_s: float,
    ) -> None:
        self._cloud = cloud
        self._journal = journal
        self._data_centre = data_centre
        self._flavor_name = flavor
        self._network_name = network
        self._settle_timeout_s = settle_timeout_s
        self._may_diagnose = True

    def start(self, spec: InstanceSpec, image: JournaledImage) -> VimInstance:
        server = self._find(spec.instance_id)
        if server is None:
            server = self._create(spec, image)
            self._journal.record_server(spec.instance_id, server.id)
            # The answer to a creation says hardly more than the id.
            server = self._get(server.id) or server
        elif server.status == "SHUTOFF" and not server.task_state:
            with self._cloud.speaking() as connection:
                connection.compute.start_server(server.id)
            server = self._get(server.id) or server
        return _view(server)

    def stop(self, instance_id: UUID) -> VimInstance | None:
        """Until it is shut off; None if there is none."""
        server = self._find(instance_id)
        if server is not None and server.status == "ACTIVE" and server.task_state != "powering-off":
            with self._cloud.speaking() as connection:
                connection.compute.stop_server(server.id)
        deadline_s = time.monotonic() + self._settle_timeout_s
        while server is not None and server.status not in ("SHUTOFF", "ERROR"):
            if time.monotonic() > deadline_s:
                raise VimRefusedError(
                    f"Server {server.id} is {_words(server)} {self._settle_timeout_s:g} s after "
                    "it was asked to stop.",
                    next_step="See Nova's log on its host, or remove the instance.",
                )
            time.sleep(_LOOK_EVERY_S)
            server = self._get(server.id)
        return None if server is None else _view(server)

    def view(self, instance_id: UUID) -> VimInstance | None:
        server = self._find(instance_id)
        return None if server is None else _view(server)

    def views(self) -> dict[UUID, VimInstance]:
        found: dict[UUID, list[Any]] = {}
        for server in self._listed(f"^qnfv-{re.escape(self._data_centre)}-"):
            found.setdefault(UUID(server.metadata[INSTANCE]), []).append(server)
        return {instance_id: _view(_oldest(servers)) for instance_id, servers in found.items()}

    def quota(self) -> VimCapacity:
        """What the project may use, and what it does."""
        with self._cloud.speaking() as connection:
            limits = connection.compute.get_limits().absolute
        return VimCapacity(
            instances=limits.instances_used or 0,
            instances_limit=_limit(limits.instances),
            cpus=_limit(limits.total_cores),
            cpus_used=limits.total_cores_used,
            memory_mib=_limit(limits.total_ram),
            memory_used_mib=limits.total_ram_used,
        )

    def remove(self, instance_id: UUID) -> None:
        """Also what a lost answer left behind; until Nova has none of them any more."""
        known = {server.id for server in self._named(instance_id)}
        journaled = self._journal.server_of(instance_id)
        if journaled is not None and self._get(journaled) is not None:
            known.add(journaled)
        for server_id in sorted(known):
            with self._cloud.speaking() as connection:
                connection.compute.delete_server(server_id, ignore_missing=True)
        deadline_s = time.monotonic() + self._settle_timeout_s
        for server_id in sorted(known):
            self._await_gone(server_id, deadline_s)
        self._journal.forget_server(instance_id)

    def usage(self, instance_id: UUID) -> VimUsage:
        """By Nova's diagnostics, which a cloud gives to administrators alone by default."""
        server = self._find(instance_id) if self._may_diagnose else None
        if server is None:
            return VimUsage()
        with self._cloud.speaking() as connection:
            try:
                told = connection.compute.get_server_diagnostics(server.id)
            except HttpException as error:
                if error.status_code == _FORBIDDEN:
                    self._may_diagnose = False
                    return VimUsage()
                if error.status_code in _NO_CONSOLE:
                    return VimUsage()
                raise
        processors = [cpu.get("time") or 0 for cpu in told.cpu_details or ()]
        used_mib = (told.memory_details or {}).get("used")
        return VimUsage(
            cpu_time_s=sum(processors) / 1e9 if processors else None,
            memory_bytes=None if used_mib is None else int(used_mib) * _MIB,
        )

    def console(self, instance_id: UUID, tail_lines: int) -> str:
        """Empty while it has none."""
        server = self._find(instance_id)
        if server is None:
            return ""
        with self._cloud.speaking() as connection:
            try:
                answer = connection.compute.get_server_console_output(server.id, tail_lines)
            except HttpException as error:
                if error.status_code in _NO_CONSOLE:
                    return ""
                raise
        return str(answer.get("output") or "")

    # --- inside -----------------------------------------------------------------------------------

    def _create(self, spec: InstanceSpec, image: JournaledImage) -> Any:
        flavor_id = self._flavor(spec, image)
        with self._cloud.speaking() as connection:
            networks: Any = "none"
            if self._network_name is not None:
                network = connection.network.find_network(self._network_name)
                if network is None:
                    raise VimRefusedError(
                        f"The cloud has no network {self._network_name}.",
                        next_step="Correct vim.options.network, or have it made.",
                    )
                networks = [{"uuid": network.id}]
            return connection.compute.create_server(
                name=self._name(spec.instance_id),
                image_id=image.glance_id,
                flavor_id=flavor_id,
                networks=networks,
                metadata={
                    DATA_CENTRE: self._data_centre,
                    INSTANCE: str(spec.instance_id),
                    "qnfv_name": spec.name,
                    "qnfv_image": spec.placed_image_id,
                },
            )

    def _flavor(self, spec: InstanceSpec, image: JournaledImage) -> str:
        """The smallest that holds the instance, unless the settings name one."""
        with self._cloud.speaking() as connection:
            flavors = list(connection.compute.flavors())
        if self._flavor_name is not None:
            fitting = [f for f in flavors if self._flavor_name in (f.name, f.id)]
            wanted = f"is named {self._flavor_name}"
        else:
            disk_gib = math.ceil(image.disk_bytes / _GIB)
            fitting = [
                flavor
                for flavor in flavors
                if flavor.ram >= spec.memory_mib
                and flavor.vcpus >= spec.cpus
                # A disk of 0 GiB is as large as the image.
                and (flavor.disk == 0 or flavor.disk >= disk_gib)
            ]
            wanted = (
                f"has {spec.memory_mib} MiB of memory, {spec.cpus:g} processors and "
                f"{disk_gib} GiB of disk"
            )
        if not fitting:
            raise VimRefusedError(
                f"No flavor of the cloud {wanted}.",
                next_step=f"It has: {_listed_flavors(flavors)}. Ask for less, or have one made.",
            )
        return str(min(fitting, key=lambda f: (f.ram, f.vcpus, f.disk or math.inf, f.id)).id)

    def _find(self, instance_id: UUID) -> Any:
        """The journaled server; else one whose creation was never answered, which is adopted."""
        journaled = self._journal.server_of(instance_id)
        if journaled is not None:
            server = self._get(journaled)
            if server is not None:
                return server
        servers = self._named(instance_id)
        if not servers:
            return None
        server = _oldest(servers)
        for other in servers:
            if other.id != server.id:
                log.warning("second server of one instance removed", server=other.id)
                with self._cloud.speaking() as connection:
                    connection.compute.delete_server(other.id, ignore_missing=True)
        self._journal.record_server(instance_id, server.id)
        return server

    def _get(self, server_id: str) -> Any:
        with self._cloud.speaking() as connection:
            server = absent_is_none(lambda: connection.compute.get_server(server_id))
        if server is None or server.status in _GONE:
            return None
        return server if self._is_ours(server) else None

    def _named(self, instance_id: UUID) -> list[Any]:
        wanted = str(instance_id)
        return [
            server
            for server in self._listed(f"^{re.escape(self._name(instance_id))}$")
            if server.metadata[INSTANCE] == wanted
        ]

    def _listed(self, pattern: str) -> list[Any]:
        """Nova takes regular expressions for names; a name alone proves nothing."""
        with self._cloud.speaking() as connection:
            servers = list(connection.compute.servers(details=True, name=pattern))
        return [s for s in servers if s.status not in _GONE and self._is_ours(s)]

    def _is_ours(self, server: Any) -> bool:
        metadata = server.metadata or {}
        try:
            UUID(metadata.get(INSTANCE, ""))
        except ValueError:
            return False
        return bool(metadata.get(DATA_CENTRE) == self._data_centre)

    def _name(self, instance_id: UUID) -> str:
        return f"qnfv-{self._data_centre}-{instance_id}"

    def _await_gone(self, server_id: str, deadline_s: float) -> None:
        while (server := self._get(server_id)) is not None:
            if time.monotonic() > deadline_s:
                raise VimUnreachableError(
                    f"Server {server_id} is {_words(server)} {self._settle_timeout_s:g} s after "
                    "it was deleted.",
                    next_step="See whether its host runs, and Nova's log there; then repeat.",
                )
            time.sleep(_LOOK_EVERY_S)


def _oldest(servers: Iterable[Any]) -> Any:
    return min(servers, key=lambda server: (server.created_at or "", server.id))


def _view(server: Any) -> VimInstance:
    state = _STATES.get(server.status, InstanceState.FAILED)
    if server.task_state == "powering-on":
        state = InstanceState.STARTING
    if state is InstanceState.RUNNING and server.power_state not in (None, _RUNNING):
        # Nova's record and its hypervisor disagree; the hypervisor is the truth.
        state = InstanceState.STOPPED
    return VimInstance(
        vim_instance_id=str(server.id),
        state=state,
        healthy=state is InstanceState.RUNNING and server.power_state == _RUNNING,
        started_at=_moment(server.launched_at),
        detail=_words(server),
        labels={str(key): str(value) for key, value in (server.metadata or {}).items()},
    )


def _words(server: Any) -> str:
    """What Nova says about it, with its reason and its addresses."""
    words = [str(server.status)]
    if server.task_state:
        words.append(str(server.task_state))
    fault = server.fault or {}
    if fault.get("message"):
        words.append(str(fault["message"]).strip())
    words += [
        str(address["addr"])
        for addresses in (server.addresses or {}).values()
        for address in addresses
    ]
    return ", ".join(words)


def _listed_flavors(flavors: Iterable[Any]) -> str:
    known = [f"{f.name} ({f.ram} MiB, {f.vcpus}, {f.disk} GiB)" for f in flavors]
    return ", ".join(sorted(known)) or "none"


def _moment(text: str | None) -> datetime | None:
    """Nova leaves out that its times are UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def _limit(quota: int | None) -> int | None:
    """Nova says -1 where there is none."""
    return None if quota is None or quota < 0 else quota
