"""Errors of subscriptions.

OrchestratorError
├── UnknownSubscriptionError   404
├── CallbackRefusedError       422: nothing is sent there; `detail` says why
├── CallbackTestsBusyError     503: too many callbacks are tested at once
└── SubscriptionLimitError     409: somebody has as many as he may
"""

from __future__ import annotations

from orchestrator.errors import NotFoundError, OrchestratorError


class UnknownSubscriptionError(NotFoundError):
    slug = "unknown-subscription"
    title = "There is no such subscription"


class CallbackRefusedError(OrchestratorError):
    slug = "callback-refused"
    title = "Nothing is sent to this callback"


class CallbackTestsBusyError(OrchestratorError):
    slug = "callback-tests-busy"
    title = "Too many callbacks are tested at this moment"


class SubscriptionLimitError(OrchestratorError):
    slug = "too-many-subscriptions"
    title = "There are too many subscriptions"
