"""What every test may use: real parts by name, databases of both kinds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import real_opendaylight
import real_openstack
import real_redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError


@pytest.fixture(scope="session")
def missing_part() -> Callable[[str, str], None]:
    """Skips with the part's name, or fails where QNFV_REQUIRE_REAL demands that part."""

    def missing(part: str, why: str) -> None:
        message = f"real part missing: {part}: {why}"
        if part in os.environ.get("QNFV_REQUIRE_REAL", "").split(","):
            pytest.fail(message)
        pytest.skip(message)

    return missing


@pytest.fixture(scope="session")
def mariadb_server(
    tmp_path_factory: pytest.TempPathFactory, missing_part: Callable[[str, str], None]
) -> Iterator[str]:
    """The URL (without a database) of a real MariaDB on its own data directory and port."""
    server = shutil.which("mariadbd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if server is None or install is None:
        missing_part("mariadb", "install Debian's mariadb-server")
        return
    assert server is not None
    assert install is not None
    base = tmp_path_factory.mktemp("mariadb")
    data = base / "data"
    user = [f"--user={'root' if os.geteuid() == 0 else os.environ.get('USER', 'nobody')}"]
    subprocess.run(
        [
            install,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *user,
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (base / "log").open("wb")
    process = subprocess.Popen(
        [
            server,
            "--no-defaults",
            f"--datadir={data}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--socket={base / 's'}",
            f"--pid-file={base / 'pid'}",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            *user,
        ],
        stdout=log,
        stderr=log,
    )
    url = f"mysql+pymysql://root@127.0.0.1:{port}"
    engine = create_engine(url)
    deadline = time.monotonic() + 60
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            break
        except OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"MariaDB did not start: {(base / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
    engine.dispose()
    yield url
    process.terminate()
    process.wait(30)
    log.close()


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.sqlite'}"
        return
    server: str = request.getfixturevalue("mariadb_server")
    name = f"qnfv_{uuid4().hex}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        )
    yield f"{server}/{name}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    engine.dispose()


@pytest.fixture(scope="session")
def redis_server(
    tmp_path_factory: pytest.TempPathFactory, missing_part: Callable[[str, str], None]
) -> Iterator[real_redis.RealRedis]:
    """A real Redis that keeps nothing on disk, on a port of its own."""
    if why := real_redis.why_missing():
        missing_part("redis", why)
    with real_redis.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def opendaylight(
    tmp_path_factory: pytest.TempPathFactory, missing_part: Callable[[str, str], None]
) -> Iterator[real_opendaylight.RealOpenDaylight]:
    """A real OpenDaylight with no switch yet."""
    if why := real_opendaylight.why_missing():
        missing_part("opendaylight", why)
    with real_opendaylight.running(tmp_path_factory.mktemp("opendaylight")) as controller:
        yield controller


@pytest.fixture(scope="session")
def openstack_cloud(
    tmp_path_factory: pytest.TempPathFactory, missing_part: Callable[[str, str], None]
) -> Iterator[real_openstack.RealOpenStack]:
    """A real OpenStack whose hypervisor runs nothing."""
    if why := real_openstack.why_missing("fake"):
        missing_part("openstack", why)
    with real_openstack.running(tmp_path_factory.mktemp("openstack"), "fake") as cloud:
        yield cloud


@pytest.fixture(scope="session")
def openstack_vm_cloud(
    tmp_path_factory: pytest.TempPathFactory, missing_part: Callable[[str, str], None]
) -> Iterator[real_openstack.RealOpenStack]:
    """A real OpenStack whose guests boot, in QEMU without KVM."""
    if why := real_openstack.why_missing("qemu"):
        missing_part("openstack-vm", why)
    with real_openstack.running(tmp_path_factory.mktemp("openstack-vm"), "qemu") as cloud:
        yield cloud
