"""`python -m emulators.fibre_plant --topology FILE --control HOST:PORT [--relay ...]`"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from emulators.fibre_plant.control import MAX_LINE_OCTETS, Plant
from emulators.fibre_plant.light import Light
from emulators.fibre_plant.relay import ClassicalRelay, Relay, parse_address
from observability import configure_logs
from sdn_client.errors import SdnError
from sdn_client.topology import LightKind, Topology, load_topology

log = logging.getLogger(__name__)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.fibre_plant",
        description="The glass of an emulated network (emulators/fibre_plant/CONTROL.md).",
    )
    parser.add_argument("--topology", type=Path, required=True, help="the topology's TOML file")
    parser.add_argument(
        "--control", type=parse_address, required=True, metavar="HOST:PORT", help="listen here"
    )
    parser.add_argument(
        "--relay",
        type=Relay.parse,
        action="append",
        default=[],
        metavar="END_POINT=HOST:PORT->HOST:PORT",
        help="carry the classical bytes of this end point (may be repeated)",
    )
    return parser.parse_args(argv)


def _open_relays(topology: Topology, relays: Sequence[Relay]) -> list[ClassicalRelay]:
    for relay in relays:
        end_point = topology.end_point_named(relay.end_point)
        if end_point.kind is not LightKind.CLASSICAL:
            raise ValueError(f"{relay.end_point!r} is not a classical end point")
    return [ClassicalRelay(relay) for relay in relays]


async def serve(topology: Topology, control: tuple[str, int], relays: Sequence[Relay]) -> None:
    """Run the plant until SIGTERM or SIGINT. `OSError` when an address is taken."""
    plant = Plant(topology)
    central = {node.name for node in topology.nodes if node.role == "central"}
    running = _open_relays(topology, relays)

    def light_the_relays(light: Light) -> None:
        for relay in running:
            end_point = relay.relay.end_point
            relay.set_lit(any(light.classical_path_from(node, end_point) for node in central))

    plant.on_change(light_the_relays)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await asyncio.start_server(
        plant.serve_device, control[0], control[1], limit=MAX_LINE_OCTETS
    )
    log.info("fibre plant of %r listens at %s", topology.name, server.sockets[0].getsockname())
    await stop.wait()
    server.close()
    for relay in running:
        relay.close()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    configure_logs("fibre-plant")
    try:
        topology = load_topology(arguments.topology)
        asyncio.run(serve(topology, arguments.control, arguments.relay))
    except (SdnError, OSError, ValueError) as error:
        print(f"fibre plant: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
