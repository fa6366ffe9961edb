"""The configuration files of one cloud's services."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet

from emulators.lab.openstack.distribution import Distribution
from emulators.lab.openstack.layout import HOST, REGION, CloudLayout, write_secret

Sections = Mapping[str, Mapping[str, object]]

# Small pools: eight services share one database.
_DATABASE = {"max_pool_size": 4, "max_overflow": 8}


class Configuration:
    """Writes everything that the services read."""

    def __init__(self, layout: CloudLayout, distribution: Distribution, *, host: str) -> None:
        self._layout = layout
        self._distribution = distribution
        self._host = host

    def write(self) -> None:
        layout = self._layout
        self._keystone_keys()
        _ini(layout.etc("keystone") / "keystone.conf", self._keystone())
        _ini(layout.etc("glance") / "glance-api.conf", self._glance())
        _ini(layout.etc("placement") / "placement.conf", self._placement())
        _ini(layout.etc("neutron") / "neutron.conf", self._neutron())
        _ini(layout.etc("nova") / "nova.conf", self._nova())
        theirs = self._distribution.venv / "etc"
        shutil.copy(theirs / "glance" / "glance-api-paste.ini", layout.etc("glance"))
        shutil.copy(theirs / "neutron" / "api-paste.ini", layout.etc("neutron"))
        shutil.copy(theirs / "nova" / "api-paste.ini", layout.etc("nova"))
        write_secret(layout.clouds_file, self._clouds())
        for folder in ("glance", "nova/instances", "neutron"):
            layout.data(folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _keystone_keys(self) -> None:
        """What `keystone-manage fernet_setup` and `credential_setup` would make, in no time."""
        for repository in ("fernet-keys", "credential-keys"):
            for number in ("0", "1"):
                file = self._layout.etc("keystone") / repository / number
                if not file.exists():
                    write_secret(file, Fernet.generate_key().decode())

    def database_url(self, name: str) -> str:
        port = self._layout.ports.mariadb
        password = self._layout.password("mariadb")
        return f"mysql+pymysql://openstack:{password}@{HOST}:{port}/{name}?charset=utf8mb4"

    def _database(self, name: str) -> dict[str, object]:
        return {"connection": self.database_url(name), **_DATABASE}

    @property
    def _transport_url(self) -> str:
        password = self._layout.password("rabbitmq")
        return f"rabbit://openstack:{password}@{HOST}:{self._layout.ports.rabbitmq}/"

    def _service_user(self, name: str) -> dict[str, object]:
        return {
            "auth_type": "password",
            "auth_url": self._layout.url("keystone"),
            "username": name,
            "password": self._layout.password(name),
            "user_domain_name": "Default",
            "project_name": "service",
            "project_domain_name": "Default",
            "region_name": REGION,
        }

    def _token_check(self, name: str) -> dict[str, object]:
        url = self._layout.url("keystone")
        return {**self._service_user(name), "www_authenticate_uri": url, "service_type": name}

    def _keystone(self) -> Sections:
        etc = self._layout.etc("keystone")
        return {
            "database": self._database("keystone"),
            "token": {"provider": "fernet", "expiration": 14_400},
            "fernet_tokens": {"key_repository": etc / "fernet-keys"},
            "fernet_receipts": {"key_repository": etc / "fernet-keys"},
            "credential": {"key_repository": etc / "credential-keys"},
            # One machine, few users: the least rounds that are allowed, for speed.
            "identity": {"password_hash_rounds": 4},
        }

    def _glance(self) -> Sections:
        data = self._layout.data("glance")
        return {
            "DEFAULT": {"enabled_backends": "disk:file", "workers": 1},
            "database": self._database("glance"),
            "keystone_authtoken": self._token_check("glance"),
            "paste_deploy": {"flavor": "keystone"},
            "glance_store": {"default_backend": "disk"},
            "disk": {"filesystem_store_datadir": data / "images"},
            "os_glance_staging_store": {"filesystem_store_datadir": data / "staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": data / "tasks"},
            "oslo_concurrency": {"lock_path": data / "locks"},
        }

    def _placement(self) -> Sections:
        return {
            "placement_database": self._database("placement"),
            "api": {"auth_strategy": "keystone"},
            "keystone_authtoken": self._token_check("placement"),
        }

    def _neutron(self) -> Sections:
        data = self._layout.data("neutron")
        return {
            "DEFAULT": {
                "core_plugin": "ml2",
                "service_plugins": "",
                "auth_strategy": "keystone",
                "transport_url": self._transport_url,
                "state_path": data,
                "notify_nova_on_port_status_changes": False,
                "notify_nova_on_port_data_changes": False,
                "api_workers": 1,
                "rpc_workers": 0,
                "rpc_state_report_workers": 0,
            },
            "database": self._database("neutron"),
            "keystone_authtoken": self._token_check("neutron"),
            "nova": self._service_user("nova"),
            "placement": self._service_user("placement"),
            "oslo_concurrency": {"lock_path": data / "locks"},
            # Networks exist on paper; without an agent no port can be bound.
            "ml2": {
                "type_drivers": "local",
                "tenant_network_types": "local",
                "mechanism_drivers": "openvswitch",
                "extension_drivers": "",
            },
        }

    def _nova(self) -> Sections:
        layout = self._layout
        data = layout.data("nova")
        hypervisor = {
            "fake": {"compute_driver": "fake.FakeDriver"},
            "qemu": {"compute_driver": "libvirt.LibvirtDriver"},
        }[layout.hypervisor]
        config = layout.etc("nova") / "nova.conf"
        helper = f"{self._distribution.program('privsep-helper')} --config-file {config}"
        return {
            "DEFAULT": {
                **hypervisor,
                "host": self._host,
                "my_ip": HOST,
                "state_path": data,
                "instances_path": data / "instances",
                "transport_url": self._transport_url,
                "enabled_apis": "osapi_compute",
                "osapi_compute_workers": 1,
                "rpc_response_timeout": 30,
                "sync_power_state_interval": 5,
                "periodic_fuzzy_delay": 0,
                "graceful_shutdown_timeout": 3,
                "update_resources_interval": 10,
                "force_raw_images": False,
                "shutdown_timeout": 5,
            },
            "api": {"auth_strategy": "keystone"},
            "api_database": self._database("nova_api"),
            "database": self._database("nova"),
            "keystone_authtoken": self._token_check("nova"),
            "service_user": {**self._service_user("nova"), "send_service_user_token": True},
            "placement": self._service_user("placement"),
            "neutron": self._service_user("neutron"),
            "glance": {"api_servers": layout.url("glance")},
            "cinder": {"catalog_info": "volumev3::publicURL"},
            "conductor": {"workers": 1},
            "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 2},
            "vnc": {"enabled": False},
            "spice": {"enabled": False},
            "oslo_concurrency": {"lock_path": data / "locks"},
            "oslo_messaging_rabbit": {"heartbeat_in_pthread": False},
            # Nova would call sudo; whoever started this is root already, or needs no root.
            "nova_sys_admin": {"helper_command": helper},
            "libvirt": {
                "virt_type": "qemu",
                "cpu_mode": "none",
                "connection_uri": f"qemu+unix:///system?socket={libvirt_socket(layout)}",
                "images_type": "qcow2",
            },
        }

    def _clouds(self) -> str:
        def cloud(user: str, project: str) -> str:
            return f"""\
    auth:
      auth_url: {self._layout.url("keystone")}
      username: {user}
      password: {self._layout.password(user)}
      project_name: {project}
      user_domain_name: Default
      project_domain_name: Default
    region_name: {REGION}
    identity_api_version: 3
"""

        return f"clouds:\n  qnfv:\n{cloud('qnfv', 'qnfv')}  qnfv-admin:\n{cloud('admin', 'admin')}"


def libvirt_socket(layout: CloudLayout) -> Path:
    return layout.data("libvirt") / "run" / "libvirt-sock"


def _ini(path: Path, sections: Sections) -> None:
    lines: list[str] = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        # `$` begins a reference in oslo.config.
        lines += [f"{key} = {str(value).replace('$', '$$')}" for key, value in options.items()]
    write_secret(path, "\n".join(lines) + "\n")
