"""From the request to the first page of a running container, beside the same by hand."""

from benchmarks.deploy.bench import run, table

__all__ = ["run", "table"]
