"""How each process of a cloud is started, and how one sees that it is ready."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from emulators.lab.openstack import backing
from emulators.lab.openstack.configuration import libvirt_socket
from emulators.lab.openstack.distribution import Distribution
from emulators.lab.openstack.layout import HOST, CloudLayout, write_secret
from emulators.lab.processes import ProcessSpec, listens

_WSGI = {
    "keystone": "keystone.wsgi.api",
    "glance": "glance.wsgi.api",
    "placement": "placement.wsgi.api",
    "nova": "nova.wsgi.osapi_compute",
    "neutron": "neutron.wsgi.api",
}
_PROBE_TIMEOUT_S = 2.0


class Services:
    """The processes of one cloud, by what they need of each other."""

    def __init__(self, layout: CloudLayout, distribution: Distribution) -> None:
        self._layout = layout
        self._distribution = distribution

    def backing(self) -> list[list[ProcessSpec]]:
        """What the others need before they start, in the order of starting."""
        ports = self._layout.ports
        environment, command = backing.rabbitmq(self._layout)
        return [
            [
                _spec("mariadb", backing.mariadb_of(self._layout), _listening(ports.mariadb)),
                # RabbitMQ would start one of its own, and leave it behind.
                _spec("epmd", backing.epmd(self._layout), _listening(ports.epmd)),
            ],
            [_spec("rabbitmq", command, _listening(ports.rabbitmq), environment)],
        ]

    def interfaces(self) -> list[ProcessSpec]:
        """The REST interfaces."""
        return [self._uwsgi(service) for service in _WSGI]

    def workers(self) -> list[ProcessSpec]:
        """Nova's own processes, and the hypervisor."""
        nova = [self._nova(name) for name in ("scheduler", "conductor", "compute")]
        if self._layout.hypervisor == "qemu":
            return [self._libvirtd(), *nova]
        return nova

    def _uwsgi(self, service: str) -> ProcessSpec:
        port = getattr(self._layout.ports, service)
        command = (
            self._distribution.program("uwsgi"),
            f"--home={self._distribution.venv}",
            f"--module={_WSGI[service]}:application",
            f"--http-socket={HOST}:{port}",
            "--lazy-apps",
            "--enable-threads",
            "--threads=4",
            "--buffer-size=65535",
            # An upload may pause as long as a stack lets a broken stream (120 s).
            "--socket-timeout=150",
            "--need-app",
            "--die-on-term",
            "--disable-logging",
            # Without it, a kept connection ends under the next POST now and then.
            "--add-header=Connection: close",
            f"--set=start-time={int(time.time())}",
        )
        return _spec(service, command, _answering(port), self._environment(service))

    def _environment(self, service: str) -> dict[str, str]:
        etc = self._layout.etc(service)
        return {
            f"OS_{service.upper()}_CONFIG_DIR": str(etc),
            **({"OS_NEUTRON_CONFIG_FILES": "neutron.conf"} if service == "neutron" else {}),
            **({"OS_KEYSTONE_CONFIG_FILES": "keystone.conf"} if service == "keystone" else {}),
        }

    def _nova(self, name: str) -> ProcessSpec:
        config = self._layout.etc("nova") / "nova.conf"
        command = (self._distribution.program(f"nova-{name}"), f"--config-file={config}")
        environment = {
            # With eventlet a service is one process; with threads it forks.
            "OS_NOVA_DISABLE_EVENTLET_PATCHING": "no",
            "PYTHONPATH": str(self._distribution.libvirt_binding),
            "PATH": f"{self._distribution.venv / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin",
        }
        # Whether they work is seen from outside (`ready.py`): they listen to nothing.
        return _spec(f"nova-{name}", command, lambda: True, environment)

    def _libvirtd(self) -> ProcessSpec:
        """libvirtd with folders and process ids of its own: its guests end with it."""
        data = self._layout.data("libvirt")
        for name in ("run", "lib", "log", "etc", "cache"):
            (data / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in ("libvirtd", "qemu"):
            write_secret(data / "etc" / f"{name}.conf", _LIBVIRT[name])
        mounts = [
            f"mkdir -p {place} && mount --bind {data / name} {place}"
            for name, place in (
                ("run", "/run/libvirt"),
                ("lib", "/var/lib/libvirt"),
                ("log", "/var/log/libvirt"),
                ("cache", "/var/cache/libvirt"),
                ("etc", "/etc/libvirt"),
            )
        ]
        # Debian's binary wants a user whom only Debian's service package makes.
        for name in ("passwd", "group"):
            known = Path("/etc", name).read_text()
            (data / name).write_text(known + _QEMU_USER[name] * ("libvirt-qemu:" not in known))
            mounts.append(f"mount --bind {data / name} /etc/{name}")
        if Path("/dev/kvm").exists():
            # It may open and then hang whoever asks it for a guest.
            mounts.append("mount --bind /dev/null /dev/kvm")
        # The shell stays, and buries what QEMU leaves: it is the first process in there.
        script = " && ".join(mounts) + f" && {backing.sbin('libvirtd')}; exit $?"
        isolated = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        socket = libvirt_socket(self._layout)
        return _spec("libvirtd", (*isolated, "sh", "-c", script), socket.exists)


_QEMU_USER = {
    "passwd": "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n",
    "group": "libvirt-qemu:x:64055:\n",
}
_LIBVIRT = {
    "libvirtd": 'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_rw_perms = "0700"\n',
    "qemu": (
        'user = "root"\ngroup = "root"\nsecurity_driver = "none"\ncgroup_controllers = []\n'
        'stdio_handler = "file"\nnamespaces = []\nremember_owner = 0\n'
    ),
}


def _spec(
    name: str,
    command: tuple[str, ...],
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> ProcessSpec:
    """A process that dies with the one that starts it, whatever becomes of that."""
    variables = [f"{key}={value}" for key, value in (environment or {}).items()]
    prefix = ("setpriv", "--pdeathsig", "KILL", "env", *variables)
    return ProcessSpec(name, (*prefix, *command), is_ready)


def _listening(port: int) -> Callable[[], bool]:
    return lambda: listens(port)


def _answering(port: int) -> Callable[[], bool]:
    def answers() -> bool:
        if not listens(port):
            return False
        try:
            httpx.get(f"http://{HOST}:{port}/", timeout=_PROBE_TIMEOUT_S)
        except httpx.TransportError:
            return False
        return True

    return answers
