"""The files of one instance, and the command that runs it in the foreground."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from emulators.lab.errors import LabError
from emulators.lab.opendaylight import first_user, keystores
from emulators.lab.opendaylight.distribution import Distribution
from trust import Credentials

Address = tuple[str, int]

_JAVA_OPTIONS = (
    "-Xms128m -Xmx512m -XX:+UseSerialGC -XX:MaxMetaspaceSize=256m"
    # One compiler: the instance is ready in half the time and keeps 100 MB less.
    " -XX:TieredStopAtLevel=1"
)
# Made anew at every start: what a controller remembers is never the truth.
_OURS = ("etc", "configuration", "data", "segmented-journal", "snapshots", "tls", "instances")


@dataclass(frozen=True)
class InstanceSettings:
    """What one instance is told. `cluster` None: any free loopback port."""

    restconf: Address
    openflow: Address
    username: str
    password_file: Path
    credentials: Credentials
    openflow_tls: bool = False
    cluster: Address | None = None


class Instance:
    """One OpenDaylight in `base`."""

    def __init__(self, distribution: Distribution, base: Path, settings: InstanceSettings) -> None:
        self._distribution = distribution
        self.base = base.resolve()
        self.settings = settings

    def prepare(self) -> None:
        """Write everything that the instance needs. Raises LabError."""
        base, settings = self.base, self.settings
        password = _read_password(settings.password_file)
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        base.chmod(0o700)
        for name in _OURS:
            shutil.rmtree(base / name, ignore_errors=True)
        for name in ("etc", "configuration"):
            shutil.copytree(self._distribution.first_boot / name, base / name)
        shutil.copytree(self._distribution.first_boot / "cache", base / "data" / "cache")
        (base / "tls").mkdir(mode=0o700)
        (base / "data" / "tmp").mkdir()
        ours = keystores.of_credentials(settings.credentials, base / "tls")
        cluster = keystores.of_itself(base / "tls")
        first_user.make_first_user(base, self._distribution.h2_jar, settings.username, password)
        etc = base / "etc"
        _write_secret(etc / "org.ops4j.pax.web.cfg", _restconf(settings.restconf, ours))
        _write_secret(
            etc / "opendaylight/datastore/initial/config/default-openflow-connection-config.xml",
            _openflow(settings.openflow, ours if settings.openflow_tls else None),
        )
        _write_secret(
            base / "configuration" / "initial" / "akka.conf",
            _akka(settings.cluster or ("127.0.0.1", _free_port()), cluster),
        )
        (etc / "org.opendaylight.controller.cluster.datastore.cfg").write_text("persistent=false\n")
        with (etc / "org.opendaylight.openflowplugin.cfg").open("a") as file:
            file.write(_OPENFLOW_PLUGIN)
        for name in ("users.properties", "keys.properties"):
            (etc / name).write_text("")  # Karaf's own users: its shell is not reachable anyway

    @property
    def command(self) -> tuple[str, ...]:
        """What runs it in the foreground, in `base` and with `environment`."""
        return (str(self._distribution.karaf / "bin" / "karaf"), "daemon")

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What `bin/karaf` takes from the environment."""
        return {
            **inherited,
            "KARAF_BASE": str(self.base),
            "KARAF_DATA": str(self.base / "data"),
            "KARAF_ETC": str(self.base / "etc"),
            "KARAF_OPTS": f"-Dkaraf.instances={self.base / 'instances'}",
            "CHECK_ROOT_INSTANCE_RUNNING": "false",
            "EXTRA_JAVA_OPTS": _JAVA_OPTIONS,
        }


def _read_password(path: Path) -> str:
    try:
        password = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(
            f"The password file {path} cannot be read: {error}.",
            next_step="Name a file that holds the password of OpenDaylight's user.",
        ) from error
    if not password or ":" in password or password == "admin":  # noqa: S105
        raise LabError(
            f"{path} holds no usable password.",
            next_step="Use one line that is not empty, not `admin`, and has no colon.",
        )
    return password


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _restconf(address: Address, stores: keystores.Keystores) -> str:
    return f"""\
org.osgi.service.http.enabled = false
org.osgi.service.http.secure.enabled = true
org.osgi.service.http.port.secure = {address[1]}
org.ops4j.pax.web.listening.addresses = {address[0]}
org.ops4j.pax.web.ssl.keystore = {stores.key}
org.ops4j.pax.web.ssl.keystore.type = PKCS12
org.ops4j.pax.web.ssl.keystore.password = {stores.password}
org.ops4j.pax.web.ssl.key.password = {stores.password}
org.ops4j.pax.web.ssl.truststore = {stores.trust}
org.ops4j.pax.web.ssl.truststore.type = PKCS12
org.ops4j.pax.web.ssl.truststore.password = {stores.password}
org.ops4j.pax.web.ssl.clientauth.needed = true
org.ops4j.pax.web.ssl.protocols.included = TLSv1.3
"""


def _openflow(address: Address, stores: keystores.Keystores | None) -> str:
    tls = ""
    if stores is not None:
        tls = f"""
  <tls>
    <keystore>{escape(str(stores.key))}</keystore>
    <keystore-type>PKCS12</keystore-type>
    <keystore-path-type>PATH</keystore-path-type>
    <keystore-password>{stores.password}</keystore-password>
    <truststore>{escape(str(stores.trust))}</truststore>
    <truststore-type>PKCS12</truststore-type>
    <truststore-path-type>PATH</truststore-path-type>
    <truststore-password>{stores.password}</truststore-password>
    <certificate-password>{stores.password}</certificate-password>
  </tls>"""
    return f"""\
<switch-connection-config
    xmlns="urn:opendaylight:params:xml:ns:yang:openflow:switch:connection:config">
  <instance-name>openflow-switch-connection-provider-default-impl</instance-name>
  <address>{escape(address[0])}</address>
  <port>{address[1]}</port>
  <transport-protocol>{"TCP" if stores is None else "TLS"}</transport-protocol>
  <group-add-mod-enabled>false</group-add-mod-enabled>
  <channel-outbound-queue-size>1024</channel-outbound-queue-size>{tls}
</switch-connection-config>
"""


def _akka(address: Address, stores: keystores.Keystores) -> str:
    host, port = address
    return f"""\
odl-cluster-data {{
  akka {{
    remote.artery {{
      enabled = on
      transport = tls-tcp
      canonical.hostname = "{host}"
      canonical.port = {port}
      ssl.config-ssl-engine {{
        key-store = "{stores.key}"
        key-store-password = "{stores.password}"
        key-password = "{stores.password}"
        trust-store = "{stores.trust}"
        trust-store-password = "{stores.password}"
        protocol = "TLSv1.3"
        enabled-algorithms = [TLS_AES_256_GCM_SHA384]
        require-mutual-authentication = on
      }}
    }}
    cluster {{
      seed-nodes = ["akka://opendaylight-cluster-data@{host}:{port}"]
      roles = ["member-1"]
    }}
    persistence.snapshot-store.local {{
      use-lz4-compression = false
      lz4-blocksize = 256KB
    }}
    disable-default-actor-system-quarantined-event-handling = "false"
  }}
}}
"""


# By default a flow is confirmed by a barrier every 500 ms; here each flow brings its own at once.
# Statistics are asked for, never polled: nobody reads counters of mirrors.
_OPENFLOW_PLUGIN = """
barrier-interval-timeout-limit=20
barrier-count-limit=1
is-statistics-polling-on=false
"""
