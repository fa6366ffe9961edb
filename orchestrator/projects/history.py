"""What a project owns that is past: it keeps nobody from deleting the project."""

from __future__ import annotations

from sqlalchemy import LargeBinary, delete, select, type_coerce
from sqlalchemy.orm import Session

from orchestrator.projects.ownership import Kind
from orchestrator.projects.tables import OwnedRow
from orchestrator.sol003.tables import VnfInstanceRow
from orchestrator.store.tables import DeploymentRow
from orchestrator.vnf_lcm.states import DeploymentState


def let_go_history(session: Session, project: str) -> None:
    """Take from `project` its deployments that were removed. Nobody owns them then, so that
    administrators alone see them; a VNF instance can be instantiated again, and stays."""
    removed = select(type_coerce(DeploymentRow.deployment_id, LargeBinary())).where(
        DeploymentRow.state == DeploymentState.REMOVED.value
    )
    instances = select(type_coerce(VnfInstanceRow.vnf_instance_id, LargeBinary()))
    session.execute(
        delete(OwnedRow)
        .where(
            OwnedRow.project == project,
            OwnedRow.kind == Kind.DEPLOYMENT.value,
            OwnedRow.thing.in_(removed),
            OwnedRow.thing.not_in(instances),
        )
        .execution_options(synchronize_session=False)
    )
