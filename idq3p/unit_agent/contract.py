"""The documents of the agent's REST interface; client and server both use these.

GET  /v1/unit        -> UnitView
POST /v1/unit/start  StartRequest -> UnitView
POST /v1/unit/stop   StopRequest  -> UnitView
GET  /healthz        -> {"status": "ok"}
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitRole(StrEnum):
    ALICE = "alice"
    BOB = "bob"


class Phase(StrEnum):
    """What the unit is doing. `PHASE_MEANING` is the table."""

    STOPPED = "stopped"
    STARTING = "starting"
    INITIALISING = "initialising"
    GENERATING = "generating"
    FAILED = "failed"


PHASE_MEANING: Final[dict[Phase, str]] = {
    Phase.STOPPED: "The program does not run; there are no keys at this unit.",
    Phase.STARTING: "The program runs and stands by for its peer and for light.",
    Phase.INITIALISING: "The line is being measured and the first keys distilled; see the step.",
    Phase.GENERATING: "Keys come: the log tells a secret key rate above 0.",
    Phase.FAILED: "The program ended by itself; `failure` says what it left behind.",
}


class InitialisationStep(StrEnum):
    """Where in the initialisation the unit is, in this order."""

    LINE_LENGTH = "line_length"
    VISIBILITY = "visibility"
    DETECTOR_CALIBRATION = "detector_calibration"
    RAW_EXCHANGE = "raw_exchange"
    ERROR_CORRECTION = "error_correction"
    PRIVACY_AMPLIFICATION = "privacy_amplification"


class UnitView(Document):
    """A unit as its agent sees it. What was not measured in this run is null.

    `since` is when the phase (or its step) began, `last_block_at` when the log last told a key
    rate. `fencing` is the newest number that the agent has accepted.
    """

    name: str
    role: UnitRole
    emulated: bool
    phase: Phase
    step: InitialisationStep | None = None
    since: datetime
    turn_id: UUID | None = None
    fencing: int | None = None
    idq3p_address: str
    idq3p_port: int
    line_length_m: float | None = None
    visibility_percent: float | None = None
    qber: float | None = None
    secret_key_rate_bps: float | None = None
    last_block_at: datetime | None = None
    failure: str | None = None

    @property
    def is_running(self) -> bool:
        return self.phase in (Phase.STARTING, Phase.INITIALISING, Phase.GENERATING)


class StartRequest(Document):
    """Start the unit for a turn. Repeating it for the same turn changes nothing.

    Bob takes `line_attenuation_db` (0 or nothing: 3.0 dB, as the vendor's driver does), Alice
    takes `bob_address`. `fencing` is the leader's number; an older one than seen is refused.
    """

    turn_id: UUID
    fencing: int = Field(ge=0, lt=2**63)
    line_attenuation_db: float | None = Field(default=None, ge=0, le=60)
    bob_address: IPvAnyAddress | None = None


class StopRequest(Document):
    """Stop the unit if it serves this turn; a stopped unit stays stopped."""

    turn_id: UUID
    fencing: int = Field(ge=0, lt=2**63)
