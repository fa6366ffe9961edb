"""One VNF instance: its row, its deployment or members, and what can be asked of it now."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.sol003.errors import VnfInstanceStateError
from orchestrator.sol003.members.occurrences import Newest
from orchestrator.sol003.members.shape import Member, Shape
from orchestrator.sol003.tables import VnfInstanceRow
from orchestrator.store.tables import DeploymentRow
from orchestrator.vnf_lcm.states import ENDED, DeploymentState

BUSY = (
    DeploymentState.DEPLOYING,
    DeploymentState.OPERATING,
    DeploymentState.HEALING,
    DeploymentState.REMOVING,
)


@dataclass(frozen=True)
class Instance:
    row: VnfInstanceRow
    deployment: DeploymentRow | None
    """What it is or was as a whole; one of several members has those instead."""
    is_instantiated: bool
    """Also while something of a failed instantiation is left, which goes by a termination."""
    members: list[Member] = field(default_factory=list)
    newest: Newest | None = None
    """Its newest occurrences over several members."""

    @property
    def deployments(self) -> list[DeploymentRow]:
        """What it consists of, or was."""
        if self.members:
            return [member.deployment for member in self.members]
        return [] if self.deployment is None else [self.deployment]

    @property
    def is_busy(self) -> bool:
        if self.newest is not None and self.newest.any.state not in ENDED:
            return True
        return any(deployment.state in BUSY for deployment in self.deployments)

    @property
    def shape(self) -> Shape | None:
        """Of one of several members that came up."""
        return self.newest.shape if self.members and self.newest is not None else None

    @property
    def allowed(self) -> list[str]:
        """The tasks that can be asked of it now."""
        if self.is_busy:
            return []
        if not self.is_instantiated:
            return ["instantiate", "delete"]
        if any(each.state == DeploymentState.FAILED for each in self.deployments):
            return ["terminate"]
        is_scalable = self.shape is not None and bool(self.shape.scale_levels)
        scaling = ["scale", "scale_to_level"] if is_scalable else []
        return ["terminate", "operate", "heal", *scaling]


def check_allowed(instance: Instance, task: str) -> None:
    """Raises VnfInstanceStateError, which says the present state and what is allowed."""
    if task in instance.allowed:
        return
    state = "INSTANTIATED" if instance.is_instantiated else "NOT_INSTANTIATED"
    doing = sorted({each.state for each in instance.deployments if each.state in BUSY})
    busy = f" and {', '.join(doing) or 'busy'}" if instance.is_busy else ""
    raise VnfInstanceStateError(
        f"VNF instance {instance.row.vnf_instance_id} is {state}{busy}: {task} is not possible.",
        next_step=f"Possible now: {', '.join(instance.allowed)}."
        if instance.allowed
        else "Wait until its LCM operation occurrence ended, or cancel that.",
        state=state,
        allowed_actions=instance.allowed,
    )


def too_late(instance: Instance) -> VnfInstanceStateError:
    return VnfInstanceStateError(
        f"Somebody else changes VNF instance {instance.row.vnf_instance_id} at this moment.",
        next_step="Read it again, then decide.",
    )


def row_of(deployment: DeploymentRow | None) -> VnfInstanceRow:
    assert deployment is not None, "only a deployment is an instance without a row"
    return VnfInstanceRow(
        vnf_instance_id=deployment.deployment_id,
        image_digest=deployment.image_digest,
        name=deployment.name,
        description="",
        key_values={},
        deployment_id=deployment.deployment_id,
        version=0,
        created_at=deployment.created_at,
    )
