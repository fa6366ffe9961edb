"""The life cycle under load: where a deployment's time goes, many at once, and the restart."""

from benchmarks.lcm.bench import run, table

__all__ = ["run", "table"]
