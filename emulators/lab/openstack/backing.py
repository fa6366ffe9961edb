"""MariaDB and RabbitMQ: one process each, without systemd, on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from emulators.lab.errors import LabError
from emulators.lab.openstack.layout import HOST, CloudLayout, write_secret

DATABASES = (
    "keystone", "glance", "placement", "nova_api", "nova_cell0", "nova", "neutron",
)  # fmt: skip
_TIMEOUT_S = 120.0
_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


def sbin(name: str) -> str:
    """The path of a server program. Raises LabError."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise LabError(
            f"{name} is not installed.", next_step="Run deploy/openstack/build.sh as root."
        )
    return found


def make_data_folder(data: Path) -> None:
    """An empty MariaDB, whose root has no password yet: for a server without a network only."""
    subprocess.run(
        [
            sbin("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--user=root" if os.geteuid() == 0 else "--skip-name-resolve",
        ],
        check=True,
        capture_output=True,
        timeout=_TIMEOUT_S,
    )


def mariadb(data: Path, *options: str) -> tuple[str, ...]:
    return (
        sbin("mariadbd"),
        "--no-defaults",
        f"--datadir={data}",
        f"--pid-file={data}/pid",
        "--skip-log-bin",
        "--skip-name-resolve",
        "--performance-schema=OFF",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M",
        # A laboratory may lose a second of its cloud when the machine fails.
        "--innodb-flush-log-at-trx-commit=0",
        *(["--user=root"] if os.geteuid() == 0 else []),
        *options,
    )


def mariadb_of(layout: CloudLayout) -> tuple[str, ...]:
    """MariaDB of a cloud. Its one user is made, and root locked out, before it listens."""
    script = layout.etc("mariadb") / "first.sql"
    statements = [
        "DELETE FROM mysql.global_priv WHERE User NOT IN ('mariadb.sys', 'openstack')",
        "FLUSH PRIVILEGES",
        f"CREATE OR REPLACE USER 'openstack'@'{HOST}' IDENTIFIED BY '{layout.password('mariadb')}'",
        *(f"GRANT ALL ON `{name}`.* TO 'openstack'@'{HOST}'" for name in DATABASES),
    ]
    script.unlink(missing_ok=True)
    write_secret(script, ";\n".join(statements) + ";\n")
    return mariadb(
        layout.data("mariadb"),
        f"--bind-address={HOST}",
        f"--port={layout.ports.mariadb}",
        # Only its port is used; its socket must have a short name all the same.
        f"--socket=@qnfv-mariadb-{layout.ports.mariadb}",
        f"--init-file={script}",
    )


def epmd(layout: CloudLayout) -> tuple[str, ...]:
    """Erlang's name service, in the foreground: RabbitMQ would leave one behind."""
    return ("epmd", "-address", HOST, "-port", str(layout.ports.epmd))


def rabbitmq(layout: CloudLayout) -> tuple[dict[str, str], tuple[str, ...]]:
    """Environment and command. The one user has a password of its own; guest does not exist."""
    etc, data, ports = layout.etc("rabbitmq"), layout.data("rabbitmq"), layout.ports
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret(
        etc / "rabbitmq.conf",
        f"listeners.tcp.1 = {HOST}:{ports.rabbitmq}\n"
        "default_user = openstack\n"
        f"default_pass = {layout.password('rabbitmq')}\n"
        "vm_memory_high_watermark.absolute = 256MB\n"
        "disk_free_limit.absolute = 50MB\n"
        "log.console = true\nlog.file = false\nlog.console.level = warning\n",
    )
    write_secret(etc / "enabled_plugins", "[].\n")
    environment = {
        "HOME": str(data),  # Erlang's cookie
        "RABBITMQ_NODENAME": f"qnfv{ports.rabbitmq}@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(etc / "none"),
        "RABBITMQ_CONFIG_FILE": str(etc / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(etc / "none.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(etc / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(data),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_DIST_PORT": str(ports.rabbitmq_distribution),
        "ERL_EPMD_PORT": str(ports.epmd),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
        ),
        # Its script then becomes the server, instead of watching it.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    return environment, (_RABBITMQ,)
