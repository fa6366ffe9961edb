"""Errors of the live schedule.

OrchestratorError
├── NotFoundError
│   └── UnknownAlarmError
├── PromiseRefusedError       the keys cannot be made in time; says the earliest time
├── OrderRefusedError         a pin, exclusion or wish that contradicts another order
├── AbsurdWishError           a duration or an amount that nobody can mean
└── NoWayError                the settings or the topology give no Alice a path to a Bob
"""

from __future__ import annotations

from orchestrator.errors import NotFoundError, OrchestratorError


class UnknownAlarmError(NotFoundError):
    slug = "unknown-alarm"
    title = "There is no such alarm"


class PromiseRefusedError(OrchestratorError):
    slug = "promise-refused"
    title = "These keys cannot be promised"


class OrderRefusedError(OrchestratorError):
    slug = "order-refused"
    title = "The schedule cannot obey this order"


class AbsurdWishError(OrchestratorError):
    slug = "absurd-wish"
    title = "This cannot be meant"


class NoWayError(OrchestratorError):
    slug = "no-way-to-bob"
    title = "No Alice reaches this Bob"
