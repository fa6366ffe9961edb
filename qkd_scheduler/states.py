"""The states of a turn of Alice, as one table; `docs/architecture.md` draws it."""

from __future__ import annotations

from enum import StrEnum


class TurnState(StrEnum):
    WAITING = "waiting"
    CONNECTING = "connecting"
    STANDBY = "standby"
    INITIALISING = "initialising"
    GENERATING = "generating"
    DRAINING = "draining"
    DONE = "done"
    FAILED = "failed"


MEANING: dict[TurnState, str] = {
    TurnState.WAITING: "chosen, nothing was touched yet",
    TurnState.CONNECTING: "the cross-connects between Alice and Bob are being made",
    TurnState.STANDBY: "Bob's key server is started, then Alice's; both stand by",
    TurnState.INITIALISING: "line length, visibility, detectors, first keys: minutes of QKD time",
    TurnState.GENERATING: "both units report a secret key rate",
    TurnState.DRAINING: "both ends extract the same key ids from their units",
    TurnState.DONE: "units stopped, path released, keys stored at both ends",
    TurnState.FAILED: "ended early; units stopped, path released, half extracted keys discarded",
}

NEXT: dict[TurnState, frozenset[TurnState]] = {
    TurnState.WAITING: frozenset({TurnState.CONNECTING, TurnState.FAILED}),
    TurnState.CONNECTING: frozenset({TurnState.STANDBY, TurnState.FAILED}),
    TurnState.STANDBY: frozenset({TurnState.INITIALISING, TurnState.FAILED}),
    TurnState.INITIALISING: frozenset({TurnState.GENERATING, TurnState.FAILED}),
    TurnState.GENERATING: frozenset({TurnState.DRAINING, TurnState.FAILED}),
    TurnState.DRAINING: frozenset({TurnState.DONE, TurnState.FAILED}),
    TurnState.DONE: frozenset(),
    TurnState.FAILED: frozenset(),
}

FINAL = frozenset({TurnState.DONE, TurnState.FAILED})
