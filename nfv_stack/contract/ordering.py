"""The order of an orchestrator's commands to one instance, so that one that comes late is refused.

A process may be stopped in the middle of a request and go on when another has done its work, and
more. What it sends then must not boot an instance that was removed, nor remove one that was made
anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HEADER: Final = "QNFV-Command-Order"
FORM: Final = r"([0-9]{1,18})\.([0-9]{1,9})"


@dataclass(frozen=True, order=True)
class CommandOrder:
    """Later ones are greater: by the operation, then by who works on it."""

    operation: int
    """Greater than that of every operation on the instance before it."""
    claim: int
    """How often the operation had been taken up by a replica; 0 where there are none."""

    def __str__(self) -> str:
        return f"{self.operation}.{self.claim}"

    @classmethod
    def parse(cls, text: str) -> CommandOrder:
        """What `str` made. ValueError."""
        found = re.fullmatch(FORM, text)
        if found is None:
            raise ValueError(f"{HEADER} is two numbers with a dot between, such as 17.0")
        return cls(int(found[1]), int(found[2]))
