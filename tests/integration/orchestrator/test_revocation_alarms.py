"""A service without the newest list of revoked certificates is an open alarm."""

from __future__ import annotations

from database import open_engine
from orchestrator.datacentres.revocation_alarms import KIND, RevocationAlarms
from orchestrator.events.bus import EventBus
from orchestrator.schedule.alarms import Alarms
from orchestrator.store.tables import migrate_orchestrator
from timekeeping import SystemClock


def test_an_alarm_is_open_until_the_list_is_taken(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate_orchestrator(engine)
    alarms = Alarms(engine, SystemClock(), EventBus())
    alarms.raise_("data-centre-away", "dc-1", "another trouble")
    revocations = RevocationAlarms(alarms)
    assert revocations.note("dc-1", "The list cannot be written to /etc/x.")
    assert alarms.open_counts()[KIND] == 1
    assert any("dc-1" in one.detail and "/etc/x" in one.detail for one in alarms.list())
    assert revocations.note("dc-1", None)
    over = {one.kind: one.over_at is not None for one in alarms.list()}
    assert over == {KIND: True, "data-centre-away": False}


def test_what_cannot_be_noted_is_to_be_told_again(database_url: str) -> None:
    """A database without tables, as one that is away: the courier goes on."""
    alarms = Alarms(open_engine(database_url), SystemClock(), EventBus())
    assert not RevocationAlarms(alarms).note("dc-1", "refused")
