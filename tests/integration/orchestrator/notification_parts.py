"""What records and delivers notifications, without the rest of an orchestrator."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from database import open_engine, writing
from key_management.wrapping import WrappingKeys
from orchestrator.accounts.identity import Identity, Role, Via, asked_by
from orchestrator.accounts.tables import UserRow, migrate_accounts
from orchestrator.events.bus import EventBus
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.projects.tables import MemberRow, ProjectRow, migrate_projects
from orchestrator.sol003.notifications.callbacks import Callbacks
from orchestrator.sol003.notifications.courier import NotificationCourier
from orchestrator.sol003.notifications.documents import LccnSubscriptionRequest
from orchestrator.sol003.notifications.outbox import operation_changed
from orchestrator.sol003.notifications.subscriptions import Subscriptions
from orchestrator.sol003.tables import migrate_sol003
from orchestrator.store.tables import DeploymentRow, migrate_orchestrator
from orchestrator.vnf_lcm.states import OperationKind, OperationState
from orchestrator.workflow.journal import OperationJournal
from timekeeping import FakeClock

KEEP_S = 3600.0
LOCAL = Identity("local", Role.ADMINISTRATOR, Via.TOKEN_FILE)


class Parts:
    def __init__(self, database_url: str, folder: Path) -> None:
        self.engine = open_engine(database_url)
        for migrate in (migrate_orchestrator, migrate_accounts, migrate_projects, migrate_sol003):
            migrate(self.engine)
        self.clock = FakeClock()
        self.alarms: list[tuple[str, str, str]] = []
        bus = EventBus()
        self.journal = OperationJournal(self.engine, self.clock, bus, follows=operation_changed)
        self.callbacks = Callbacks(["http://127.0.0.1"], self.clock)
        self.subscriptions = Subscriptions(
            self.engine, self.clock, self.callbacks, WrappingKeys(folder / "wrapping")
        )
        self.courier = NotificationCourier(
            self.engine, self.clock, bus, self.subscriptions, self.callbacks,
            keep_s=KEEP_S, raise_alarm=lambda *told: self.alarms.append(told),
        )  # fmt: skip

    def subscribe(self, uri: str, who: Identity = LOCAL, **more: object) -> UUID:
        wanted = LccnSubscriptionRequest.model_validate({"callbackUri": uri, **more})
        with asked_by(who):
            return self.subscriptions.subscribe(wanted, "http://us")[0].subscription_id

    def member(self, project: str) -> Identity:
        user_id, now = uuid4(), self.clock.now()
        with writing(self.engine) as session:
            session.add(ProjectRow(name=project, purpose="", created_at=now))
            session.flush()
            session.add_all(
                [
                    UserRow(
                        user_id=user_id, name=project, role="operator", password_hash="",
                        must_change_password=False, created_at=now, password_at=now,
                    ),
                    MemberRow(project=project, user_id=user_id),
                ]
            )  # fmt: skip
        return Identity(project, Role.OPERATOR, Via.TOKEN, user_id)

    def operation(self, project: str = "default", name: str = "web") -> UUID:
        """A new one, with its deployment."""
        deployment_id, operation_id, now = uuid4(), uuid4(), self.clock.now()
        with writing(self.engine) as session:
            session.add(
                DeploymentRow(
                    deployment_id=deployment_id, name=name, data_centre="dc-1",
                    image_digest=bytes(32), cipher="aes-256-gcm", key_mode="pooled",
                    memory_mib=64, cpus=1.0, state="DEPLOYING", created_at=now, changed_at=now,
                )
            )  # fmt: skip
            Ownership.own(session, Kind.DEPLOYMENT, deployment_id, project)
            self.journal.add(
                session, operation_id, deployment_id, OperationKind.INSTANTIATE, ["boot"],
                wait_until=None,
            )  # fmt: skip
        return operation_id

    def move(self, operation_id: UUID, *states: OperationState) -> None:
        for state in states:
            assert self.journal.move(operation_id, state, allowed=tuple(OperationState))

    def deliver(self) -> int:
        """All that is due."""
        return sum(self.courier.deliver(subscription) for subscription in self.courier.due())

    def close(self) -> None:
        self.courier.close()
        self.engine.dispose()
