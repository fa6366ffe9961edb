"""Operations and transfers of before tries and holding are read as first tries."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import text

from database import migrate, open_engine
from orchestrator.events.bus import EventBus
from orchestrator.store.tables import MIGRATIONS, migrate_orchestrator
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.workflow.journal import OperationJournal
from timekeeping import SystemClock


def test_an_operation_of_before_is_a_first_try(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine, MIGRATIONS, room="orchestrator", revision="0002")
    operation_id, digest = uuid4(), bytes(32)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO operation (operation_id, deployment_id, kind, state, created_at) "
                "VALUES (:id, :deployment, 'INSTANTIATE', 'PROCESSING', 1000000)"
            ),
            {"id": operation_id.bytes, "deployment": uuid4().bytes},
        )
        connection.execute(
            text(
                "INSERT INTO transfer (transfer_id, data_centre, link, key_id, emulated_key, "
                "cipher, image_digest, image_size, vim_image_id, bytes_sent, created_at) VALUES "
                "(:id, 'dc-1', 'alice--bob-1', :key, 1, 'aes-256-gcm', :digest, 1, 'x', 0, 1000000)"
            ),
            {"id": operation_id.bytes, "key": uuid4().bytes, "digest": digest},
        )
    migrate_orchestrator(engine)
    records = LcmRecords(engine, SystemClock())
    operation = OperationJournal(engine, SystemClock(), EventBus()).get(operation_id)
    assert (operation.transfer_id, operation.tries) == (operation_id, 1)
    assert (operation.on_failure, operation.cancel_requested) == ("rollback", False)
    transfer = records.transfer_of(operation_id)
    assert transfer is not None
    assert transfer.operation_id == operation_id
    assert [row.transfer_id for row in records.transfers_to_cancel(operation_id)] == [operation_id]
    engine.dispose()
