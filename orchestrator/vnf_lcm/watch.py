"""What the data centres' VIMs say of the instances, compared with what we say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from nfv_stack.contract.errors import SlaveError
from nfv_stack.contract.schemas import InstanceState, InstanceView
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.schedule.alarms import Alarms
from orchestrator.store.tables import DeploymentRow
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import DeploymentState
from timekeeping import Clock, Rounds

log = structlog.get_logger(__name__)

DRIFT = "instance-drift"
AWAY = "data-centre-away"
SETTLED = (DeploymentState.RUNNING, DeploymentState.STOPPED)
"""Deployments of which we claim something; in the others an operation is under way or over."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Centre:
    """What a data centre said when it was last asked; `seen_at` is when that began."""

    seen_at: datetime | None = None
    instances: dict[UUID, InstanceView] = field(default_factory=dict)
    away: str = ""
    """Why it does not answer now."""


@dataclass(frozen=True)
class Sighting:
    """One deployment as its VIM says it is."""

    deployment: DeploymentRow
    instance: InstanceView | None
    seen_at: datetime | None
    drift: str | None
    """How that differs from what we say; None while nothing is known against it."""


def difference(state: str, seen: InstanceView | None) -> str | None:
    """How what the VIM says differs from a deployment in this state."""
    if seen is None or seen.state is InstanceState.MISSING:
        return "the VIM has no such instance"
    if state == DeploymentState.STOPPED:
        running = seen.state in (InstanceState.RUNNING, InstanceState.STARTING)
        return "it runs, although it was stopped" if running else None
    match seen.state:
        case InstanceState.STOPPED:
            return "it was stopped behind our back"
        case InstanceState.FAILED:
            return f"it failed: {seen.detail}"
        case InstanceState.RUNNING if not seen.healthy:
            return "it runs, but is not healthy"
    return None


class InstanceWatch:
    """A thread that asks every data centre now and then. Thread-safe.

    A difference is shown, and raised as an alarm once; it is healed only when somebody asks.
    """

    def __init__(
        self,
        data_centres: DataCentres,
        records: LcmRecords,
        alarms: Alarms,
        clock: Clock,
        *,
        look_every_s: float,
    ) -> None:
        self._data_centres = data_centres
        self._records = records
        self._alarms = alarms
        self._clock = clock
        self._centres: dict[str, Centre] = {}
        self._alarmed: dict[str, str] | None = None
        self._rounds = Rounds("instance-watch", self._look_again, clock, look_every_s)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close(patience_s=2)

    def look(self) -> None:
        """Ask every data centre now, and raise or end alarms by what they say."""
        centres = self._data_centres.all()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look") as pool:
            found = dict(zip([c.name for c in centres], pool.map(self._ask, centres), strict=True))
        self._centres = found
        self._tell()

    def centres(self) -> dict[str, Centre]:
        return dict(self._centres)

    def sightings(self) -> list[Sighting]:
        """Every deployment of which we claim something."""
        return [self.sighting(row) for row in self._records.deployments_in(SETTLED)]

    def sighting(self, row: DeploymentRow) -> Sighting:
        centre = self._centres.get(row.data_centre, Centre())
        instance = centre.instances.get(row.deployment_id)
        if row.state not in SETTLED:
            return Sighting(row, instance, centre.seen_at, None)
        if centre.away:
            seen = "never since the start" if centre.seen_at is None else centre.seen_at.isoformat()
            drift = f"{row.data_centre} does not answer; last seen: {seen}"
            return Sighting(row, instance, centre.seen_at, drift)
        if centre.seen_at is None or centre.seen_at < row.changed_at:
            return Sighting(row, None, centre.seen_at, None)  # not looked at since it changed
        return Sighting(row, instance, centre.seen_at, difference(row.state, instance))

    # --- inside -----------------------------------------------------------------------------------

    def _look_again(self) -> None:
        try:
            self.look()
        except SQLAlchemyError as error:
            log.error("instances cannot be compared", why=str(error))

    def _ask(self, data_centre: DataCentre) -> Centre:
        seen_at = self._clock.now()
        try:
            instances = data_centre.slave.instances()
        except SlaveError as error:
            before = self._centres.get(data_centre.name, Centre())
            return replace(before, away=error.detail)
        return Centre(seen_at, {view.instance_id: view for view in instances})

    def _tell(self) -> None:
        wrong: dict[str, tuple[str, str]] = {
            name: (AWAY, f"{name} does not answer: {centre.away}")
            for name, centre in self._centres.items()
            if centre.away
        }
        for seen in self.sightings():
            row = seen.deployment
            if seen.drift is not None and not self._centres[row.data_centre].away:
                # Alarms are everybody's, names are their project's.
                detail = f"{str(row.deployment_id)[:8]} in {row.data_centre}: {seen.drift}"
                wrong[str(row.deployment_id)] = (DRIFT, detail)
        if self._alarmed is None:  # what an earlier process raised may be over since
            self._alarmed = {
                alarm.subject: ""
                for alarm in self._alarms.list()
                if alarm.kind in (DRIFT, AWAY) and alarm.over_at is None
            }
        for subject in self._alarmed.keys() - wrong.keys():
            self._alarms.over(subject)
        for subject, (kind, detail) in wrong.items():
            if self._alarmed.get(subject) != detail:
                self._alarms.raise_(kind, subject, detail)
        self._alarmed = {subject: detail for subject, (_, detail) in wrong.items()}
