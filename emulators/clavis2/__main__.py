"""`python -m emulators.clavis2 EMULATION FLAGS -- QKDSequence VENDOR FLAGS`

After `--` stands the vendor's command line, unchanged:

    QKDSequence --bob --line_attenuation 3.0
    QKDSequence --alice --ip_bob 127.0.0.12
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from emulators.clavis2.alice import Alice
from emulators.clavis2.bob import Bob
from emulators.clavis2.physics import InitialisationModel
from emulators.clavis2.plant_link import PlantRefusalError
from emulators.clavis2.unit import UnitSettings, UnitState
from emulators.fibre_plant.relay import parse_address
from idq3p.server import KeyServer, serve_key_server


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError("the number must be above 0")
    return number


def _emulation_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.clavis2",
        description="An emulated Clavis2 unit. After `--`: the vendor's command line.",
    )
    parser.add_argument("--fibre-plant", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--end-point", required=True, help="the unit's name in the topology")
    parser.add_argument("--address", required=True, help="the unit's own IP address")
    parser.add_argument("--time-scale", type=_positive, default=1.0)
    parser.add_argument("--log-dir", type=Path, required=True)
    parser.add_argument(
        "--seed", type=int, help="makes the scatter repeatable, over all starts in one log folder"
    )
    parser.add_argument(
        "--initialisation",
        type=InitialisationModel,
        choices=list(InitialisationModel),
        default=InitialisationModel.PHYSICAL,
    )
    parser.add_argument("--capacity-keys", type=int, default=4096)
    parser.add_argument("--max-log-octets", type=int, default=4 * 1024 * 1024)
    parser.add_argument("--key-server-port", type=int, default=5323, help="for tests")
    parser.add_argument("--distillation-port", type=int, default=50001, help="for tests")
    return parser.parse_args(argv)


def _vendor_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="QKDSequence", description="The vendor's command line.")
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("--alice", action="store_true")
    role.add_argument("--bob", action="store_true")
    parser.add_argument("--ip_bob", help="with --alice: the address of Bob")
    parser.add_argument(
        "--line_attenuation", type=float, default=3.0, help="with --bob: loss of the line in dB"
    )
    arguments = parser.parse_args(argv)
    if arguments.alice and not arguments.ip_bob:
        parser.error("--alice needs --ip_bob")
    return arguments


async def _run(state: UnitState, vendor: argparse.Namespace) -> None:
    unit = Alice(state, vendor.ip_bob) if vendor.alice else Bob(state, vendor.line_attenuation)
    settings = state.settings
    transport = await serve_key_server(
        KeyServer(state.shelf), settings.address, settings.key_server_port
    )
    state.log.info("KeyServer", f"Listening at {settings.address}:{settings.key_server_port}")
    work = asyncio.gather(unit.link.run(), unit.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return
    finally:
        transport.close()


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    if "--" not in given:
        _emulation_arguments(given)
        print("the vendor's command line is missing: -- QKDSequence ...", file=sys.stderr)
        return 2
    border = given.index("--")
    emulation = _emulation_arguments(given[:border])
    vendor = given[border + 1 :]
    if not vendor or Path(vendor[0]).name != "QKDSequence":
        print("after `--` the program QKDSequence is expected", file=sys.stderr)
        return 2
    arguments = _vendor_arguments(vendor[1:])
    settings = UnitSettings(
        plant=emulation.fibre_plant,
        end_point=emulation.end_point,
        address=emulation.address,
        time_scale=emulation.time_scale,
        log_dir=emulation.log_dir,
        seed=emulation.seed,
        initialisation=emulation.initialisation,
        capacity_keys=emulation.capacity_keys,
        key_server_port=emulation.key_server_port,
        distillation_port=emulation.distillation_port,
        max_log_octets=emulation.max_log_octets,
    )
    state = UnitState.begin(settings, "Alice" if arguments.alice else "Bob")
    try:
        asyncio.run(_run(state, arguments))
    except (OSError, PlantRefusalError) as error:
        state.log.error("QKDSequence", str(error))
        print(f"QKDSequence: {error}", file=sys.stderr)
        return 1
    finally:
        state.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
