"""Command line of the emulated switch."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from emulators.polatis.mirrors import Mirrors
from emulators.polatis.switch import MOST_PORTS, Switch
from observability import configure_logs
from sdn_client.errors import SdnError
from sdn_client.topology import load_topology
from timekeeping import SystemClock


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


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m emulators.polatis", description="Emulated Polatis.")
    p.add_argument("--topology", type=Path, required=True, metavar="FILE")
    p.add_argument("--chassis", required=True, metavar="NAME")
    p.add_argument("--controller", type=host_port, required=True, metavar="HOST:PORT")
    p.add_argument("--plant", type=host_port, metavar="HOST:PORT")
    p.add_argument("--reconnect-s", type=seconds, default=0.3)
    p.add_argument("--idle-s", type=seconds, default=5.0, help="silence before a probe")
    p.add_argument("--profile", choices=["addendum"], default="addendum")
    p.add_argument("--startup", choices=["volatile", "preserve"], default="volatile")
    p.add_argument("--state-file", type=Path, metavar="FILE")
    p.add_argument("--log-level", default="INFO")
    return p


async def run_until_told(switch: Switch) -> None:
    """Run until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    work = asyncio.create_task(switch.run())
    end = asyncio.create_task(told.wait())
    await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, end):
        task.cancel()
    results = await asyncio.gather(work, end, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def main(argv: list[str] | None = None) -> int:
    p = parser()
    arguments = p.parse_args(argv)
    if (arguments.startup == "preserve") != (arguments.state_file is not None):
        p.error("--startup preserve and --state-file belong together")
    configure_logs("polatis", level=arguments.log_level)
    clock = SystemClock()
    try:
        mirrors = Mirrors(load_topology(arguments.topology), arguments.chassis, clock)
    except SdnError as error:
        print(error, file=sys.stderr)
        return 2
    if mirrors.chassis.ports > MOST_PORTS:
        print(
            f"{arguments.chassis} has {mirrors.chassis.ports} ports; one FEATURES_REPLY holds"
            f" {MOST_PORTS}. Split the chassis in the topology file.",
            file=sys.stderr,
        )
        return 2
    switch = Switch(
        mirrors,
        clock,
        arguments.controller,
        plant=arguments.plant,
        reconnect_s=arguments.reconnect_s,
        idle_s=arguments.idle_s,
        state_file=arguments.state_file,
    )
    asyncio.run(run_until_told(switch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
