"""What people ask of LCM operation occurrences, of one operation or over several."""

from __future__ import annotations

from uuid import UUID

from orchestrator.audit.subjects import name_subjects
from orchestrator.errors import UnknownOperationError
from orchestrator.sol003.members.conductor import Conductor
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.vnf_lcm.states import OperationAction
from orchestrator.workflow.actions import OperationActions


class OccurrenceActions:
    """Thread-safe."""

    def __init__(
        self, occurrences: Occurrences, conductor: Conductor, actions: OperationActions
    ) -> None:
        self._occurrences = occurrences
        self._conductor = conductor
        self._actions = {
            OperationAction.RETRY: actions.retry,
            OperationAction.ROLLBACK: actions.rollback,
            OperationAction.FAIL: actions.fail,
            OperationAction.CANCEL: actions.cancel,
        }

    def ask(self, occurrence_id: UUID, action: OperationAction) -> None:
        """Raises UnknownOperationError or OperationStateError."""
        over = self._occurrences.find(occurrence_id)
        if over is not None:
            self._conductor.ask(over, action)
            name_subjects(vnf_instance=over.vnf_instance_id, operation=occurrence_id)
            return
        if self._occurrences.is_tied(occurrence_id):
            raise UnknownOperationError(
                f"There is no LCM operation occurrence {occurrence_id}.",
                next_step="List them: GET /vnflcm/v1/vnf_lcm_op_occs.",
            )
        self._actions[action](occurrence_id)
        name_subjects(operation=occurrence_id)
