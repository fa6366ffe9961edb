"""Command line of one OpenDaylight."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emulators.lab.errors import LabError
from emulators.lab.opendaylight import boot, first_user
from emulators.lab.opendaylight.distribution import Distribution, build
from emulators.lab.opendaylight.instance import Instance, InstanceSettings
from emulators.polatis.__main__ import host_port
from orchestrator.access import load_or_make_token
from trust import Authority, Credentials, Identity, Role


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m emulators.lab.opendaylight",
        description="Run one OpenDaylight in the foreground (it is built first when need be).",
    )
    p.add_argument("--state-dir", type=Path, required=True, metavar="DIR")
    p.add_argument("--restconf", type=host_port, required=True, metavar="HOST:PORT")
    p.add_argument("--openflow", type=host_port, required=True, metavar="HOST:PORT")
    p.add_argument("--cluster", type=host_port, metavar="HOST:PORT", help="default: any free port")
    p.add_argument("--username", type=first_user.check_name, default="qnfv")
    p.add_argument("--password-file", type=Path, metavar="FILE", help="default: made if missing")
    p.add_argument("--certificate", type=Path, metavar="FILE", help="PEM; default: issued here")
    p.add_argument("--key", type=Path, metavar="FILE")
    p.add_argument("--authority", type=Path, metavar="FILE")
    p.add_argument("--openflow-tls", action="store_true")
    p.add_argument("--distribution", type=Path, metavar="DIR", help="a built one, not the cache's")
    return p


def _credentials(arguments: argparse.Namespace, p: argparse.ArgumentParser) -> Credentials:
    files = (arguments.certificate, arguments.key, arguments.authority)
    if all(files):
        return Credentials(*files)
    if any(files):
        p.error("--certificate, --key and --authority belong together")
    pki: Path = arguments.state_dir / "pki"
    authority = Authority(pki) if (pki / "authority.key").exists() else Authority.create(pki)
    client = Credentials.in_folder(pki, Identity(Role.ORCHESTRATOR, "person"))
    if not client.key.exists():
        authority.issue(Identity(Role.ORCHESTRATOR, "person"))
    return authority.issue(
        Identity(Role.CONTROLLER, "opendaylight"), addresses=(arguments.restconf[0],)
    )


def _password_file(arguments: argparse.Namespace) -> Path:
    if arguments.password_file is not None:
        path: Path = arguments.password_file
        return path
    path = arguments.state_dir / "password"
    load_or_make_token(path)
    return path


def main(argv: list[str] | None = None) -> int:
    p = parser()
    arguments = p.parse_args(argv)
    settings = InstanceSettings(
        restconf=arguments.restconf,
        openflow=arguments.openflow,
        username=arguments.username,
        password_file=_password_file(arguments),
        credentials=_credentials(arguments, p),
        openflow_tls=arguments.openflow_tls,
        cluster=arguments.cluster,
    )
    try:
        distribution = Distribution(arguments.distribution) if arguments.distribution else build()
        instance = Instance(distribution, arguments.state_dir, settings)
        instance.prepare()
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    tls = ", TLS with client certificates"
    print(f"RESTCONF   https://{settings.restconf[0]}:{settings.restconf[1]}/rests{tls}")
    print(f"OpenFlow   {settings.openflow[0]}:{settings.openflow[1]}" + tls * settings.openflow_tls)
    print(f"User       {settings.username}, password in {settings.password_file}")
    print(f"Authority  {settings.credentials.authority}")
    print(f"Log        {instance.base / 'data' / 'log' / 'karaf.log'}", flush=True)
    return boot.run(instance)


if __name__ == "__main__":
    sys.exit(main())
