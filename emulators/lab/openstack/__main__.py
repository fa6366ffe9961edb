"""Command line of one cloud."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from emulators.lab.errors import LabError
from emulators.lab.openstack.cloud import Cloud
from emulators.lab.openstack.distribution import build
from emulators.lab.openstack.layout import HYPERVISORS, CloudLayout
from emulators.lab.openstack.ready import why_not_ready

_LOOK_EVERY_S = 1.0
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m emulators.lab.openstack",
        description="Run one OpenStack in the foreground (it is installed first when need be).",
    )
    p.add_argument("--state-dir", type=Path, required=True, metavar="DIR")
    p.add_argument("--hypervisor", choices=HYPERVISORS, default="fake")
    p.add_argument("--check", action="store_true", help="say whether it is ready, start nothing")
    return p


def _end(*_: object) -> NoReturn:
    """Asked to end, also while it starts; asked twice, it goes on ending."""
    for number in _END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    layout = CloudLayout(arguments.state_dir, hypervisor=arguments.hypervisor)
    if arguments.check:
        why = why_not_ready(layout)
        print(why or "ready")
        return int(why is not None)
    for number in _END_SIGNALS:
        signal.signal(number, _end)
    began_s = time.monotonic()
    cloud = None
    try:
        cloud = Cloud(layout, build(arguments.hypervisor))
        cloud.start()
        print(f"Ready after {time.monotonic() - began_s:.0f} s, hypervisor {layout.hypervisor}")
        print(f"Keystone  {layout.url('keystone')}")
        print(f"Clients   OS_CLIENT_CONFIG_FILE={layout.clouds_file} OS_CLOUD=qnfv")
        print(f"Logs      {layout.folder / 'logs'}", flush=True)
        while (dead := cloud.dead()) is None:
            time.sleep(_LOOK_EVERY_S)
        tail = cloud.processes[dead].log_tail()
        print(f"{dead} ended by itself. The end of its log:\n{tail}", file=sys.stderr)
        return 1
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        if cloud is not None:
            cloud.stop()


if __name__ == "__main__":
    sys.exit(main())
