"""Who works on an operation: one process alone, and replicas that share a jobboard on Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
import real_boards
from real_redis import RealRedis
from sqlalchemy import Engine
from workshop import Diary, Workshop

from orchestrator.errors import ClaimLostError
from orchestrator.vnf_lcm.states import OperationState, StepState
from orchestrator.workflow.claims.alone import Alone
from orchestrator.workflow.claims.fences import Fences
from orchestrator.workflow.claims.jobboard import JobboardClaims
from orchestrator.workflow.claims.port import Claims
from timekeeping import SystemClock

LIFE_S = 1.0


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain until {what}"
        time.sleep(0.01)  # a poll, bounded by the deadline


@dataclass
class Boards:
    """Makes claims of replicas that share one board."""

    engine: Engine
    kind: str
    options: dict[str, object]
    made: list[JobboardClaims] = field(default_factory=list)

    def claims(self, name: str, fences: Fences | None = None) -> JobboardClaims:
        claims = JobboardClaims(
            f"{name}/{uuid4()}",
            self.kind,
            self.options,
            fences or Fences(self.engine),
            SystemClock(),
            claim_life_s=LIFE_S,
        )
        self.made.append(claims)
        return claims


@pytest.fixture
def boards(engine: Engine, redis_server: RealRedis) -> Iterator[Boards]:
    """On Redis."""
    boards = Boards(engine, "redis", {**redis_server.options, "namespace": uuid4().hex})
    yield boards
    for claims in boards.made:
        claims.close()


@pytest.fixture(scope="session")
def servers(
    redis_server: RealRedis,
    tmp_path_factory: pytest.TempPathFactory,
    missing_part: Callable[[str, str], None],
) -> Iterator[dict[str, dict[str, object]]]:
    """The options of a board of each kind."""
    for kind in ("etcd", "zookeeper"):
        if why := real_boards.why_missing(kind):
            missing_part(kind, why)
    with (
        real_boards.etcd(tmp_path_factory.mktemp("etcd")) as etcd,
        real_boards.zookeeper(tmp_path_factory.mktemp("zookeeper")) as zookeeper,
    ):
        yield {"redis": redis_server.options, "etcd": etcd, "zookeeper": zookeeper}


@pytest.fixture(params=["redis", "etcd", "zookeeper"])
def any_boards(
    request: pytest.FixtureRequest, engine: Engine, servers: dict[str, dict[str, object]]
) -> Iterator[Boards]:
    own = {"namespace": uuid4().hex, "path": f"/qnfv/{uuid4().hex}"}
    options = own | servers[request.param]
    if request.param == "redis":
        del options["path"]
    boards = Boards(engine, request.param, options)
    yield boards
    for claims in boards.made:
        claims.close()


# --- every way of sharing


class ClaimsContract:
    def test_what_is_offered_is_taken_once(self, claims: Claims) -> None:
        claims.start(lambda _: None)
        one, two = uuid4(), uuid4()
        claims.offer([one, two])
        claims.offer([one, two])
        assert claims.offered() == [one, two]
        assert claims.take(one) is not None
        assert claims.take(one) is None
        assert claims.offered() == [two]
        claims.offer([one, two])
        assert claims.offered() == [two], "what is held is not offered"

    def test_what_is_given_back_can_be_offered_and_taken_again(self, claims: Claims) -> None:
        claims.start(lambda _: None)
        one = uuid4()
        claims.offer([one])
        first = claims.take(one)
        claims.give_back(one)
        claims.offer([one])
        second = claims.take(one)
        assert first is not None
        assert second is not None
        assert second >= first

    def test_what_is_done_is_offered_no_more(self, claims: Claims) -> None:
        claims.start(lambda _: None)
        one = uuid4()
        claims.offer([one])
        claims.take(one)
        claims.done(one)
        assert claims.offered() == []
        assert claims.take(uuid4()) is None or isinstance(claims, Alone)


class TestAlone(ClaimsContract):
    @pytest.fixture
    def claims(self) -> Claims:
        return Alone()


in_a_file = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@in_a_file
class TestJobboard(ClaimsContract):
    @pytest.fixture
    def claims(self, any_boards: Boards) -> Claims:
        return any_boards.claims("a")


def test_one_that_is_closed_takes_nothing(boards: Boards) -> None:
    claims = boards.claims("a")
    claims.start(lambda _: None)
    one = uuid4()
    claims.offer([one])
    claims.close()
    assert claims.take(one) is None


# --- replicas


@in_a_file
def test_of_two_who_want_it_one_gets_it(any_boards: Boards) -> None:
    a, b = any_boards.claims("a"), any_boards.claims("b")
    for claims in (a, b):
        claims.start(lambda _: None)
    wanted = [uuid4() for _ in range(20)]
    a.offer(wanted)
    taken: dict[str, list[UUID]] = {"a": [], "b": []}
    barrier = threading.Barrier(2)

    def take(name: str, claims: Claims) -> None:
        barrier.wait()
        taken[name] = [each for each in wanted if claims.take(each) is not None]

    threads = [threading.Thread(target=take, args=pair) for pair in (("a", a), ("b", b))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(taken["a"] + taken["b"]) == sorted(wanted)
    assert set(taken["a"]).isdisjoint(taken["b"])


@in_a_file
def test_a_claim_is_renewed_for_as_long_as_it_is_held(any_boards: Boards) -> None:
    a, b = any_boards.claims("a"), any_boards.claims("b")
    lost: list[UUID] = []
    a.start(lost.append)
    b.start(lambda _: None)
    one = uuid4()
    a.offer([one])
    a.take(one)
    deadline = time.monotonic() + 2.5 * LIFE_S
    while time.monotonic() < deadline:
        assert b.take(one) is None
        time.sleep(LIFE_S / 10)  # it is the passing of time that is tried
    assert lost == []


def test_a_claim_that_the_board_forgot_is_lost_and_taken_by_another(
    boards: Boards, redis_server: RealRedis
) -> None:
    fences = Fences(boards.engine)
    a, b = boards.claims("a", fences), boards.claims("b")
    lost: list[UUID] = []
    a.start(lost.append)
    b.start(lambda _: None)
    one = uuid4()
    a.offer([one])
    first = a.take(one)
    redis_server.client.flushall()
    until(lambda: lost == [one], "the holder hears of it")
    b.offer([one])
    second = b.take(one)
    assert first is not None
    assert second is not None
    assert second > first


def test_a_board_that_is_away_gives_nothing_and_comes_back(
    boards: Boards, redis_server: RealRedis
) -> None:
    a = boards.claims("a")
    lost: list[UUID] = []
    a.start(lost.append)
    one, two = uuid4(), uuid4()
    a.offer([one, two])
    a.take(one)
    redis_server.kill()
    try:
        a.offer([two])
        assert a.offered() == []
        assert a.take(two) is None
        until(lambda: lost == [one], "what cannot be renewed counts as lost")
    finally:
        redis_server.start()
    a.give_back(one)
    a.offer([one, two])
    until(lambda: a.offered() == [one, two], "it is offered again")
    assert a.take(one) is not None


# --- the database has the last word

on_a_server = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


@pytest.fixture
def replicas(boards: Boards, database_url: str) -> Iterator[list[Workshop]]:
    """Two runners over one database and one board; the first leads."""
    diary = Diary()
    made = []
    for name in ("a", "b"):
        fences = Fences(boards.engine)
        claims = boards.claims(name, fences)
        made.append(
            Workshop(boards.engine, database_url, diary=diary, fences=fences, claims=claims)
        )
    made[1].leads = False
    yield made
    for each in made:
        each.close()


@on_a_server
def test_both_work_and_each_operation_is_done_once(replicas: list[Workshop]) -> None:
    a, b = replicas
    # Whoever comes first waits until the other has ended something.
    a.diary.accidents["two"] = lambda: until(lambda: bool(a.ended or b.ended), "the other works")
    wanted = [a.record() for _ in range(12)]
    for each in replicas:
        each.runner(at_once=1).start()
    until(lambda: len(a.ended) + len(b.ended) == 12, "all ended")
    assert {row.operation_id for row in (*a.ended, *b.ended)} == set(wanted)
    assert {row.state for row in (*a.ended, *b.ended)} == {"COMPLETED"}
    assert a.ended, "the one that leads works too"
    assert b.ended, "the other has its share"
    assert sorted(a.diary.lines) == sorted(["one", "two", "three"] * 12)


@on_a_server
def test_who_does_not_lead_admits_nothing(replicas: list[Workshop]) -> None:
    _, b = replicas
    operation_id = b.record()
    b.runner().start()
    with pytest.raises(AssertionError):
        b.await_state(operation_id, OperationState.COMPLETED, timeout_s=2.5)
    assert b.journal.get(operation_id).state == OperationState.STARTING
    b.leads = True
    b.await_state(operation_id, OperationState.COMPLETED)


def stop_in_the_middle_of(diary: Diary, what: str) -> tuple[threading.Event, threading.Event]:
    """Who does this next is stopped in it, as a frozen process is: it has stopped; let it go on."""
    stopped, go_on = threading.Event(), threading.Event()

    def stop() -> None:
        stopped.set()
        go_on.wait(60)

    diary.accidents[what] = stop
    return stopped, go_on


@on_a_server
def test_work_of_one_that_lost_its_claim_is_taken_over_and_it_writes_no_more(
    replicas: list[Workshop], redis_server: RealRedis
) -> None:
    a, b = replicas
    stopped, go_on = stop_in_the_middle_of(a.diary, "two")
    operation_id = a.record()
    a.runner().start()
    assert stopped.wait(30)
    a.leads, b.leads = False, True
    redis_server.client.flushall()  # to `a` as good as having been frozen for a while
    b.runner().start()
    assert b.await_end(operation_id).state == OperationState.COMPLETED
    before = [(s.name, s.state, s.runs, s.detail) for s in b.journal.steps(operation_id)]
    with pytest.raises(ClaimLostError):
        a.journal.step_ends(operation_id, "three", StepState.FAILED, error="a word too late")
    go_on.set()
    until(lambda: a.diary.lines.count("two") == 2, "the older one ends its step too")
    until(lambda: not is_busy(a), "the older one gives up")
    after = [(s.name, s.state, s.runs, s.detail) for s in b.journal.steps(operation_id)]
    assert after == before, "what it did late changed no record"
    assert a.ended == []
    assert "undo one" not in a.diary.lines
    assert a.diary.lines.count("three") == 1


@on_a_server
@pytest.mark.parametrize("would_admit", [True, False])
def test_who_is_stopped_while_it_admits_gives_back_what_it_reserves_too_late(
    replicas: list[Workshop], would_admit: bool
) -> None:
    a, b = replicas
    stopped, go_on = stop_in_the_middle_of(a.diary, "admit")
    operation_id = a.record()
    a.runner().start()
    assert stopped.wait(30)
    a.leads, b.leads = False, True
    b.runner().start()
    assert b.await_end(operation_id).state == OperationState.COMPLETED
    assert a.reserved == set(), "it has yet to reserve"
    if not would_admit:
        a.admitted.clear()
    go_on.set()
    until(lambda: a.withdrawn == [operation_id], "it gives back")
    assert a.reserved == set()
    assert a.journal.get(operation_id).state == OperationState.COMPLETED


@on_a_server
def test_who_looked_too_long_ago_reserves_nothing(replicas: list[Workshop]) -> None:
    a, b = replicas
    stopped, go_on = stop_in_the_middle_of(a.diary, "admit")
    first, second = a.record(), a.record()
    a.runner().start()
    assert stopped.wait(30), "it has a list with both"
    b.leads = True
    b.runner().start()
    for operation_id in (first, second):
        assert b.await_end(operation_id).state == OperationState.COMPLETED
    go_on.set()
    until(lambda: first in a.withdrawn, "it gives back")
    later = a.record()
    until(lambda: a.journal.get(later).state == OperationState.COMPLETED, "the next one ends")
    assert second not in a.reserved | set(a.withdrawn)


def is_busy(workshop: Workshop) -> bool:
    return any(getattr(part, "is_busy", False) for part in workshop.open)


@on_a_server
def test_a_cancellation_reaches_whoever_works_on_it(replicas: list[Workshop]) -> None:
    a, b = replicas
    inside = threading.Event()
    operation_id = a.record()

    def wait_for_the_wish() -> None:
        inside.set()
        for each in replicas:
            if is_busy(each):
                assert each.cancellations.wish(operation_id).wait(30)
                each.cancellations.check(operation_id)

    a.diary.accidents["two"] = wait_for_the_wish
    runners = [a.runner(at_once=0), b.runner(at_once=1)]
    for runner in runners:
        runner.start()
    assert inside.wait(30)
    a.actions(runners[0]).cancel(operation_id)
    assert b.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert b.diary.lines[-1] == "undo one"
