"""What Alice and Bob have in common: line, log, shelf, clock and dice."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from emulators.clavis2 import physics
from emulators.clavis2.distillation import PORT as DISTILLATION_PORT
from emulators.clavis2.physics import InitialisationModel
from emulators.clavis2.plant_link import Channel
from emulators.clavis2.unit_log import UnitLog
from idq3p.codec import KEY_LENGTH_OCTETS
from idq3p.codec import PORT as KEY_SERVER_PORT
from idq3p.server import MemoryKeyShelf
from timekeeping import QkdClock

KEY_BIT: Final = 8 * KEY_LENGTH_OCTETS

_STARTS_FILE: Final = "starts"
"""Beside the log: how often a unit with a seed was started."""

PHASES: Final[dict[str, tuple[str, float]]] = {
    "line_length": ("LineMeasurement", 60.0),
    "visibility": ("VisibilityMeasurement", 80.0),
    "detector_calibration": ("DetectorCalibration", 120.0),
    "raw_exchange": ("RawKeyExchange", 0.0),
    "error_correction": ("ErrorCorrectionCascade", 25.0),
    "privacy_amplification": ("PrivacyAmplification", 14.14),
}
"""Phase -> log module, QKD seconds. The sum is `FIXED_INITIALISATION_S`; how it is divided is our
choice. The raw exchange lasts as long as the physics say."""


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """What the command line says about this unit."""

    plant: tuple[str, int]
    end_point: str
    address: str
    time_scale: float
    log_dir: Path
    seed: int | None = None
    initialisation: InitialisationModel = InitialisationModel.PHYSICAL
    capacity_keys: int = 4096
    key_server_port: int = KEY_SERVER_PORT
    distillation_port: int = DISTILLATION_PORT
    max_log_octets: int = 4 * 1024 * 1024


def _dice(settings: UnitSettings) -> Random:
    """Only the scatter of measurements: keys and ids come from `secrets`.

    With a seed, every start draws other numbers, and a repetition of all starts the same ones.
    """
    if settings.seed is None:
        return Random()  # noqa: S311
    file = settings.log_dir / _STARTS_FILE
    starts = int(file.read_text() or 0) if file.exists() else 0
    file.write_text(f"{starts + 1}\n")
    return Random(f"{settings.seed} {settings.end_point} {starts}")  # noqa: S311


@dataclass(slots=True)
class UnitState:
    """One running program. Its keys live as long as it does."""

    settings: UnitSettings
    log: UnitLog
    clock: QkdClock
    shelf: MemoryKeyShelf
    dice: Random
    program: str = field(default_factory=lambda: secrets.token_hex(16))
    _former_peer: str = ""

    @classmethod
    def begin(cls, settings: UnitSettings, role: str) -> UnitState:
        log = UnitLog(settings.log_dir, max_octets=settings.max_log_octets)
        log.info("QKDSequence", f"Started as {role} at {settings.address}")
        log.info(
            "QKDSequence",
            "EMULATED unit: no quantum light, the keys are emulated; "
            f"{settings.time_scale:g} s of QKD time pass in a second",
        )
        return cls(
            settings=settings,
            log=log,
            clock=QkdClock(settings.time_scale),
            shelf=MemoryKeyShelf(settings.capacity_keys),
            dice=_dice(settings),
        )

    def meet(self, peer_program: str) -> None:
        """A peer that was started anew has forgotten its keys, so ours are of no use."""
        if self._former_peer and peer_program != self._former_peer and len(self.shelf):
            self.log.warn("KeyServer", f"{len(self.shelf)} keys dropped: the peer was started anew")
        if peer_program != self._former_peer:
            self.shelf.wipe()
        self._former_peer = peer_program

    def log_phase(self, phase: str, channel: Channel) -> None:
        """Write what the unit measures in a phase of its initialisation."""
        module, _ = PHASES[phase]
        match phase:
            case "line_length":
                metres = max(0.0, self.dice.gauss(channel.fibre_km * 1000, 1.0))
                self.log.info(module, f"Line length: {metres:.1f}")
                self.log.info(module, f"Line attenuation measured: {channel.loss_db:.2f} dB")
            case "visibility":
                percent = min(100.0, self.dice.gauss(physics.VISIBILITY * 100, 0.03))
                self.log.info(module, f"Visibility of the system: {percent:.2f}%")
            case _:
                self.log.info(module, "Started")

    def log_block(self, qber: float, final_bit: int, exchange_s: float) -> None:
        """Write what drivers read off every distilled block."""
        rate_bps = final_bit / exchange_s if exchange_s > 0 else 0.0
        self.log.info("ErrorCorrectionCascade", f"QBER: {qber:.5f}")
        self.log.info("PrivacyAmplification", f"Final key size: {final_bit}")
        self.log.info("PrivacyAmplification", f"Secret Key Rate = {rate_bps:.1f}")

    def close(self) -> None:
        self.shelf.wipe()
        self.log.info("QKDSequence", "Stopped")
        self.log.close()
