"""From lines of the unit's log to its phase and its measurements. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from idq3p.unit_agent.contract import InitialisationStep, Phase

_LINE: Final = re.compile(
    r"\d{4}-\d\d-\d\d[ -]\d\d:\d\d:\d\d (?P<level>[A-Z]+) (?P<module>[A-Za-z0-9_]+): (?P<text>.*)",
    re.ASCII,
)
_NUMBER: Final = r"(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
_LINE_LENGTH: Final = re.compile(r"Line length: ?" + _NUMBER)
_VISIBILITY: Final = re.compile(r"Visibility of the system: ?" + _NUMBER + r" ?%")
_QBER: Final = re.compile(r"QBER: ?" + _NUMBER)
_KEY_RATE: Final = re.compile(r"Secret Key Rate ?= ?" + _NUMBER)

_STEP_OF_MODULE: Final[dict[str, InitialisationStep]] = {
    "LineMeasurement": InitialisationStep.LINE_LENGTH,
    "VisibilityMeasurement": InitialisationStep.VISIBILITY,
    "DetectorCalibration": InitialisationStep.DETECTOR_CALIBRATION,
    "RawKeyExchange": InitialisationStep.RAW_EXCHANGE,
    "ErrorCorrectionCascade": InitialisationStep.ERROR_CORRECTION,
    "PrivacyAmplification": InitialisationStep.PRIVACY_AMPLIFICATION,
}

QberUnit = Literal["fraction", "percent"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the log has told since the program started."""

    phase: Phase = Phase.STARTING
    step: InitialisationStep | None = None
    line_length_m: float | None = None
    visibility_percent: float | None = None
    qber: float | None = None
    secret_key_rate_bps: float | None = None
    blocks: int = 0
    """Blocks whose key rate the log told, with or without keys."""
    last_error: str = ""

    def after(self, line: str, qber_unit: QberUnit = "fraction") -> Reading:
        """The reading after one more line; lines that are not understood change nothing.

        The first key rate above 0 ends the initialisation. A new measurement of the line begins
        it again, and what was measured on the line before no longer counts.
        """
        match = _LINE.fullmatch(line)
        if match is None:
            return self
        module, text = match["module"], match["text"]
        reading = self
        if match["level"] == "ERROR":
            reading = replace(reading, last_error=f"{module}: {text}"[:500])
        reading = reading._entering(module)
        match module:
            case "LineMeasurement" if found := _LINE_LENGTH.fullmatch(text):
                return replace(reading, line_length_m=float(found[1]))
            case "VisibilityMeasurement" if found := _VISIBILITY.fullmatch(text):
                return replace(reading, visibility_percent=float(found[1]))
            case "ErrorCorrectionCascade" if found := _QBER.fullmatch(text):
                share = float(found[1]) / (100.0 if qber_unit == "percent" else 1.0)
                return replace(reading, qber=share)
            case "PrivacyAmplification" if found := _KEY_RATE.fullmatch(text):
                return reading._with_rate(float(found[1]))
        return reading

    def _entering(self, module: str) -> Reading:
        step = _STEP_OF_MODULE.get(module)
        if step is None or step is self.step:
            return self
        if step is InitialisationStep.LINE_LENGTH:
            if self.phase is Phase.STARTING or self.phase is Phase.INITIALISING:
                return replace(self, phase=Phase.INITIALISING, step=step)
            return Reading(Phase.INITIALISING, step, blocks=self.blocks, last_error=self.last_error)
        if self.phase is Phase.GENERATING:
            # Every further block passes these modules too.
            return self
        return replace(self, phase=Phase.INITIALISING, step=step)

    def _with_rate(self, rate_bps: float) -> Reading:
        told = replace(self, secret_key_rate_bps=rate_bps, blocks=self.blocks + 1)
        if rate_bps > 0:
            return replace(told, phase=Phase.GENERATING, step=None)
        return told
