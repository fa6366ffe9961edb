"""How long `qnfv` takes to say something, beside an interpreter that does nothing."""

from benchmarks.cli_start.bench import run, table

__all__ = ["run", "table"]
