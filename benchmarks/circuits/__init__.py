"""From the REST call to the confirmed circuit, by the driver and the number of passages.

The whole way: request, path, ledger, driver, the switch with its 25 ms mirrors, and the reading of
its table. Beside it the bare round trip of CFLOW_MOD and barrier, with the same switch.
"""

from benchmarks.circuits.bench import run, table

__all__ = ["run", "table"]
