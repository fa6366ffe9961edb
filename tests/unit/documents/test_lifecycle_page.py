"""The page on the life cycle is drawn from the tables, and the tables hold together."""

from __future__ import annotations

from pathlib import Path

from orchestrator.vnf_lcm.pictures import draw
from orchestrator.vnf_lcm.states import (
    ADMISSIBLE,
    AT_REST,
    BUSY_WITH,
    DEPLOYMENT_ACTIONS,
    ENDED,
    TRANSITIONS,
    UNDER_WAY,
    DeploymentState,
    OperationAction,
    OperationState,
    allowed_actions,
)

PAGE = (Path(__file__).parents[3] / "docs" / "lifecycle.md").read_text()


def test_the_page_is_as_the_tables_say() -> None:
    assert draw(PAGE) == PAGE, "run: python -m orchestrator.vnf_lcm.pictures docs/lifecycle.md"
    assert PAGE.count("<!-- drawn: ") == PAGE.count("<!-- end -->") == 7
    assert PAGE.count("```mermaid") == 2


def test_every_state_of_an_operation_is_reached_and_only_ends_have_no_way_out() -> None:
    reached, frontier = set[OperationState](), {OperationState.STARTING}
    while frontier:
        reached |= frontier
        frontier = {way.target for way in TRANSITIONS if way.source in reached} - reached
    assert reached == set(OperationState)
    for state in OperationState:
        assert (state in ENDED) == (not any(way.source is state for way in TRANSITIONS))
    assert set(ADMISSIBLE) | set(UNDER_WAY) | set(AT_REST) == set(OperationState)


def test_whatever_waits_or_runs_can_be_cancelled_and_what_is_undone_cannot() -> None:
    for state in (*ADMISSIBLE, OperationState.PROCESSING):
        assert allowed_actions(state) == [OperationAction.CANCEL]
    assert allowed_actions(OperationState.ROLLING_BACK) == []
    assert allowed_actions(OperationState.FAILED_TEMP) == [
        OperationAction.RETRY,
        OperationAction.ROLLBACK,
        OperationAction.FAIL,
    ]


def test_nothing_is_possible_with_a_deployment_that_an_operation_works_on() -> None:
    idle = set(DeploymentState) - set(BUSY_WITH.values()) - {DeploymentState.REMOVED}
    assert set(DEPLOYMENT_ACTIONS) == idle
