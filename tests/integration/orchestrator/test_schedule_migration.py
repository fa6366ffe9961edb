"""A store of the first form keeps its turns when the live schedule's columns and tables come."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from database import migrate, open_engine
from orchestrator.events.bus import EventBus
from orchestrator.schedule.timetable import Timetable
from orchestrator.store.tables import MIGRATIONS, Base, migrate_orchestrator
from qkd_scheduler.states import TurnState
from timekeeping import SystemClock


def test_turns_of_before_are_kept_and_new_tables_are_whole(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine, MIGRATIONS, room="orchestrator", revision="0001")
    turn_id = uuid4()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO turn (turn_id, alice, link, state, detail, fencing, dwell_s, "
                "started_at, generating_at, ended_at) VALUES (:id, 'alice', 'alice--bob-1', "
                "'done', '12 keys', 1, 600, 1000000, 2000000, 3000000)"
            ),
            {"id": turn_id.bytes},
        )
    migrate_orchestrator(engine)
    timetable = Timetable(engine, SystemClock(), EventBus())
    [turn] = timetable.recent(10)
    assert (turn.turn_id, turn.state) == (turn_id, TurnState.DONE)
    assert (turn.blocks, turn.gained_keys, turn.fault, turn.draining_at) == (0, 0, None, None)
    timetable.open(uuid4(), "alice", "alice--bob-1", fencing=2, dwell_s=60.0)
    assert timetable.recent(1)[0].number > turn.number
    with Session(engine) as session:
        for table in Base.metadata.tables.values():
            session.execute(table.select().limit(1)).all()  # every column is there
    engine.dispose()
