"""What a page weighs and when it is first painted, beside a page with nothing on it."""

from benchmarks.pages.bench import run, table

__all__ = ["run", "table"]
