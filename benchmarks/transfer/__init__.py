"""The sealed stream beside a plain TCP copy and `sftp`, both ends on this machine.

1 GiB of random bytes from one file of the memory file system to another, over loopback, the
candidates in turn. Wall time runs from the first byte sent to the last byte written; CPU time is
that of both ends together. Start-up of the processes does not count; the session set-up of `sftp`
is measured with an empty file in the same round and taken off.
"""

from benchmarks.transfer.bench import run, table

__all__ = ["run", "table"]
