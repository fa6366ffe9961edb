"""`python -m benchmarks`: run the benches, print their tables, write the report.

A bench is a package with `run(quick: bool) -> dict` and `table(report: dict) -> Table`; it is
listed in `BENCHES`. Benches measure and never judge: the exit code is 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

BENCHES: Final = {
    "transfer": "benchmarks.transfer",
    "deploy": "benchmarks.deploy",
    "schedule": "benchmarks.schedule",
    "circuits": "benchmarks.circuits",
    "lcm": "benchmarks.lcm",
    "cli": "benchmarks.cli_start",
    "pages": "benchmarks.pages",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # No `choices`: argparse would refuse the empty list that stands for all.
    parser.add_argument("bench", nargs="*", help=f"which ({', '.join(BENCHES)}); all by default")
    parser.add_argument("--quick", action="store_true", help="few rounds, small images")
    parser.add_argument("--report", type=Path, default=Path("bench-report.json"))
    arguments = parser.parse_args()
    unknown = set(arguments.bench) - set(BENCHES)
    if unknown:
        parser.error(f"unknown bench {', '.join(sorted(unknown))}; known: {', '.join(BENCHES)}")
    console = Console()
    report: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "architecture": platform.machine(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "quick": arguments.quick,
    }
    for name in arguments.bench or BENCHES:
        bench = importlib.import_module(BENCHES[name])
        report[name] = bench.run(quick=arguments.quick)
        console.print(bench.table(report[name]))
        # After each bench: what was measured stays when a later one fails.
        arguments.report.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"Written to {arguments.report}.")


if __name__ == "__main__":
    main()
