"""The databases of an empty cloud, made once and copied for each: their schemas take 40 s."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from emulators.lab.errors import ProcessFailedError
from emulators.lab.openstack import backing
from emulators.lab.openstack.distribution import Distribution

_FORM = 1
"""To be raised when what is made here changes."""
_TIMEOUT_S = 600.0
_START_TIMEOUT_S = 60.0

# Nova fills these in from its own settings, so that a copy fits every cloud.
_CELL0_URL = "{scheme}://{username}:{password}@{hostname}:{port}/nova_cell0?{query}"
_CELL1_URL = "{scheme}://{username}:{password}@{hostname}:{port}/nova?{query}"
_NOBODY = "rabbit://nobody:none@127.0.0.1:1/"
_TRANSPORT_URL = "{scheme}://{username}:{password}@{hostname}:{port}//"


def template_databases(distribution: Distribution) -> Path:
    """MariaDB's data folder with all schemas and no user. Raises ProcessFailedError."""
    folder = distribution.folder / f"databases-{_FORM}"
    with (distribution.folder / "databases.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = folder.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            backing.make_data_folder(draft)
            with (
                tempfile.TemporaryDirectory(prefix="qnfv-openstack-") as work,
                _server(draft, Path(work)) as socket,
            ):
                _make_schemas(distribution, Path(work), socket)
            draft.replace(folder)
    return folder


@contextmanager
def _server(data: Path, work: Path) -> Iterator[Path]:
    """A MariaDB without a network, in a folder that nobody else may enter."""
    socket = work / "s"
    script = work / "create.sql"
    script.write_text(
        "".join(
            f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n"
            for name in backing.DATABASES
        )
    )
    log = work / "mariadb.log"
    command = backing.mariadb(
        data, "--skip-networking", f"--socket={socket}", f"--init-file={script}"
    )
    with log.open("wb") as out:
        process = subprocess.Popen(("setpriv", "--pdeathsig", "KILL", *command), stderr=out)
    try:
        _run(("mariadb-admin", f"--socket={socket}", "--wait=30", "--connect-timeout=5", "ping"))
        yield socket
    finally:
        process.terminate()
        process.wait(_START_TIMEOUT_S)


def _make_schemas(distribution: Distribution, work: Path, socket: Path) -> None:
    def url(name: str) -> str:
        return f"mysql+pymysql://root@localhost/{name}?unix_socket={socket}&charset=utf8mb4"

    def program(name: str, database: str, *arguments: str, section: str = "database") -> None:
        config = work / f"{name}-{database}.conf"
        # Neutron reads its plug-in's settings, Nova both of its databases.
        config.write_text(
            f"[DEFAULT]\ncore_plugin = ml2\ntransport_url = {_NOBODY}\n"
            f"[{section}]\nconnection = {url(database)}\n"
            f"[api_database]\nconnection = {url('nova_api')}\n"
        )
        command = (distribution.program(name), "--config-file", str(config), *arguments)
        _run(("nice", "-n", "10", *command))

    def nova() -> None:
        for database in ("nova_cell0", "nova"):
            program("nova-manage", database, "db", "sync", "--local_cell")
        program("nova-manage", "nova", "api_db", "sync")
        cell0 = ("cell_v2", "map_cell0", "--database_connection", _CELL0_URL)
        program("nova-manage", "nova", *cell0)
        cell1 = ("--database_connection", _CELL1_URL, "--transport-url", _TRANSPORT_URL)
        program("nova-manage", "nova", "cell_v2", "create_cell", "--name=cell1", *cell1)

    def others() -> None:
        program("keystone-manage", "keystone", "db_sync")
        program("glance-manage", "glance", "db_sync")
        program("placement-manage", "placement", "db", "sync", section="placement_database")
        program("neutron-db-manage", "neutron", "upgrade", "heads")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(nova), pool.submit(others)]:
            done.result()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise ProcessFailedError(
            f"`{' '.join(command)}` failed: {(done.stderr + done.stdout)[-1500:].strip()}",
            next_step="See its words; deploy/openstack/README.md tells what is needed.",
        )
