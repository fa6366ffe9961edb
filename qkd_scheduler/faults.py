"""What ends a turn early, as one table: meaning, who is to blame, and what follows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    INITIALISATION = "initialisation"
    QBER = "qber"
    LIGHT_LOST = "light-lost"
    UNIT_FAILED = "unit-failed"
    BOB_SILENT = "bob-silent"
    ALICE_SILENT = "alice-silent"
    PATH = "path"
    PATH_BUSY = "path-busy"
    KEYS_DISAGREE = "keys-disagree"
    KEY_STORES = "key-stores"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


MEANING: Final[dict[Fault, str]] = {
    Fault.INITIALISATION: "the units did not come up within the limit",
    Fault.QBER: "the error rate rose above the threshold: somebody may be listening",
    Fault.LIGHT_LOST: "the units stopped generating: the line went dark or became another one",
    Fault.UNIT_FAILED: "a unit's program ended, or refused to start",
    Fault.BOB_SILENT: "Bob's unit, or the gateway before it, does not answer",
    Fault.ALICE_SILENT: "Alice's unit does not answer",
    Fault.PATH: "the optical path could not be made",
    Fault.PATH_BUSY: "ports of the path were in use",
    Fault.KEYS_DISAGREE: "the two ends extracted different keys under the same ids",
    Fault.KEY_STORES: "the keys could not be brought into both key stores",
    Fault.STOPPED: "this process stopped leading, or was told to end",
    Fault.INTERRUPTED: "the process that led it went away",
}

WITHOUT_BLAME: Final = frozenset(
    {Fault.PATH_BUSY, Fault.STOPPED, Fault.INTERRUPTED, Fault.ALICE_SILENT}
)
"""The Bob is not to blame: his link does not back off for long, and no alarm names it."""

UNTRUSTED: Final = frozenset({Fault.QBER, Fault.KEYS_DISAGREE})
"""The keys of such a turn are quarantined at both ends."""
