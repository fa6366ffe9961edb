"""Command line of the emulated switch."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from emulators.polatis.bristol import BristolSession
from emulators.polatis.device import Device
from emulators.polatis.mirrors import Mirrors
from emulators.polatis.restconf import RestconfFace
from emulators.polatis.switch import MOST_PORTS, ControllerLink, Session
from emulators.polatis.tl1 import Tl1Face
from observability import configure_logs
from sdn_client.errors import SdnError
from sdn_client.topology import load_topology
from timekeeping import Clock, SystemClock

Work = Callable[[], Awaitable[None]]


def host_port(text: str) -> tuple[str, int]:
    """Read `HOST:PORT` (an IPv6 host in brackets)."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def seconds(text: str) -> float:
    """Read a positive number of seconds."""
    value = float(text)
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


# --- profiles: what the device speaks, each a list of what runs side by side


def _addendum(given: argparse.Namespace, device: Device, clock: Clock) -> list[Work]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Session(device, clock, writer).run(reader, given.idle_s)

    return [ControllerLink(to, serve, given.reconnect_s).run for to in given.controller]


def _bristol_2014(given: argparse.Namespace, device: Device, _: Clock) -> list[Work]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await BristolSession(device, writer).run(reader)

    work: list[Work] = [ControllerLink(given.controller[0], serve, given.reconnect_s).run]
    if given.listen is not None:
        face = Tl1Face(device, given.username, _password(given))

        async def listen() -> None:
            server = await asyncio.start_server(face.serve, *given.listen)
            async with server:
                await server.serve_forever()

        work.append(listen)
    return work


def _restconf(given: argparse.Namespace, device: Device, _: Clock) -> list[Work]:
    tls = None
    if given.tls_certificate is not None:
        tls = given.tls_certificate, given.tls_key
    face = RestconfFace(
        device, given.username, _password(given), list_name=given.list_name, answers=given.answers
    )
    return [lambda: face.serve(given.listen, tls)]


_PROFILES = {"addendum": _addendum, "bristol-2014": _bristol_2014, "restconf": _restconf}


def _password(given: argparse.Namespace) -> str:
    text: str = given.password_file.read_text("utf-8").strip()
    return text


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m emulators.polatis", description="Emulated Polatis.")
    p.add_argument("--topology", type=Path, required=True, metavar="FILE")
    p.add_argument("--chassis", required=True, metavar="NAME")
    p.add_argument("--profile", choices=sorted(_PROFILES), default="addendum")
    p.add_argument("--plant", type=host_port, metavar="HOST:PORT")
    p.add_argument("--startup", choices=["volatile", "preserve"], default="volatile")
    p.add_argument("--state-file", type=Path, metavar="FILE")
    p.add_argument("--log-level", default="INFO")
    openflow = p.add_argument_group("addendum and bristol-2014")
    openflow.add_argument(
        "--controller",
        type=host_port,
        action="append",
        metavar="HOST:PORT",
        help="several: the addendum's agent serves all of them over the same mirrors",
    )
    openflow.add_argument("--reconnect-s", type=seconds, default=0.3)
    openflow.add_argument("--idle-s", type=seconds, default=5.0, help="silence before a probe")
    served = p.add_argument_group("bristol-2014 (TL1) and restconf")
    served.add_argument("--listen", type=host_port, metavar="HOST:PORT")
    served.add_argument("--username", default="admin")
    served.add_argument("--password-file", type=Path, metavar="FILE")
    rest = p.add_argument_group("restconf")
    rest.add_argument("--answers", choices=["at-once", "settled"], default="at-once")
    rest.add_argument("--list-name", choices=["pair", "pairs"], default="pair")
    rest.add_argument("--tls-certificate", type=Path, metavar="FILE")
    rest.add_argument("--tls-key", type=Path, metavar="FILE")
    return p


def _complaint(given: argparse.Namespace) -> str | None:
    """What is wrong with the arguments together, or None."""
    if (given.startup == "preserve") != (given.state_file is not None):
        return "--startup preserve and --state-file belong together"
    if given.profile == "restconf" and given.listen is None:
        return "--profile restconf needs --listen"
    if given.profile != "restconf" and given.controller is None:
        return f"--profile {given.profile} needs --controller"
    if given.profile == "bristol-2014" and len(given.controller) > 1:
        return "--profile bristol-2014 knows one --controller"
    if given.listen is not None and given.password_file is None:
        return "--listen and --password-file belong together"
    if (given.tls_certificate is None) != (given.tls_key is None):
        return "--tls-certificate and --tls-key belong together"
    return None


async def run_until_told(device: Device, work: list[Work]) -> None:
    """Run until SIGTERM or SIGINT, or until a part of it fails."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    device.restore()
    running = [asyncio.ensure_future(part()) for part in work]
    end = asyncio.ensure_future(told.wait())
    await asyncio.wait({*running, end}, return_when=asyncio.FIRST_COMPLETED)
    for task in (*running, end):
        task.cancel()
    for result in await asyncio.gather(*running, end, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def main(argv: list[str] | None = None) -> int:
    p = parser()
    given = p.parse_args(argv)
    if complaint := _complaint(given):
        p.error(complaint)
    configure_logs("polatis", level=given.log_level)
    clock = SystemClock()
    try:
        device = Device(
            Mirrors(load_topology(given.topology), given.chassis, clock), given.state_file
        )
        work = _PROFILES[given.profile](given, device, clock)
    except (SdnError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if given.controller is not None and device.mirrors.chassis.ports > MOST_PORTS:
        print(
            f"{given.chassis} has {device.mirrors.chassis.ports} ports; one FEATURES_REPLY holds"
            f" {MOST_PORTS}. Split the chassis in the topology file.",
            file=sys.stderr,
        )
        return 2
    if given.plant is not None:
        work.append(device.attach(given.plant, given.reconnect_s).run)
    try:
        asyncio.run(run_until_told(device, work))
    except OSError as error:
        print(f"The emulated switch cannot work: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
