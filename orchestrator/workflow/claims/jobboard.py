"""Replicas share operations over a jobboard of TaskFlow: on Redis, etcd or ZooKeeper.

    the replica that leads   offers what is under way: one job for each operation
    every replica            claims jobs that nobody holds, renews its claims, consumes what ended

A claim that is not renewed ends by itself, so a dead replica's work is taken over within
`claim_life_s`. TaskFlow's own claims on Redis last for ever; with an expiry they do not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final
from uuid import UUID

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskflow import exceptions as taskflow_errors
from taskflow import states
from taskflow.jobs import backends
from taskflow.jobs.base import Job, JobBoard

from orchestrator.errors import JobboardError
from orchestrator.workflow.claims.fences import Fences
from timekeeping import Clock, Rounds

log = structlog.get_logger(__name__)

_RENEWALS_A_LIFE: Final = 4
_SURE_SHARE: Final = 0.8
"""Of a claim's life, from before it was asked for; then it counts as lost, renewal or not."""
_BOARD: Final = "qnfv-operations"


def redis_client(options: Mapping[str, Any], *, wait_s: float) -> Redis:
    """A client of the Redis that replicas share, which tries nothing again by itself and waits for
    an answer no longer than this. Raises TypeError for options that redis-py does not know.
    """
    limits = {"socket_timeout": wait_s, "socket_connect_timeout": wait_s}
    own = {name: value for name, value in options.items() if name != "namespace"}
    return Redis(retry=Retry(NoBackoff(), 0), **(limits | own))


class _Etcd:
    """Claims end by themselves unless they are renewed."""

    @staticmethod
    def open(options: Mapping[str, Any], _claim_life_s: float) -> JobBoard:
        return backends.fetch(_BOARD, {"board": "etcd", **options})

    @staticmethod
    def troubles() -> tuple[type[Exception], ...]:
        """What its board raises beside TaskFlow's own exceptions."""
        from etcd3gw.exceptions import Etcd3Exception
        from requests import RequestException

        return (Etcd3Exception, RequestException)

    @staticmethod
    def claim(board: JobBoard, job: Job, who: str, life_s: float) -> None:
        board.claim(job, who, expiry=ceil(life_s))  # etcd counts in whole seconds

    @staticmethod
    def renew(board: JobBoard, job: Job, who: str, life_s: float) -> bool:
        return _owner(board, job) == who and bool(job.extend_expiry(ceil(life_s)))


class _Redis(_Etcd):
    @staticmethod
    def troubles() -> tuple[type[Exception], ...]:
        return ()

    @staticmethod
    def open(options: Mapping[str, Any], claim_life_s: float) -> JobBoard:
        # A server that hangs must not hold up renewals for longer than they may wait.
        client = redis_client(options, wait_s=claim_life_s / _RENEWALS_A_LIFE)
        board = {"board": "redis", "namespace": options["namespace"]}
        return backends.fetch(_BOARD, board, client=client)


class _ZooKeeper:
    """Claims live as long as the session of their replica."""

    @staticmethod
    def troubles() -> tuple[type[Exception], ...]:
        return ()

    @staticmethod
    def open(options: Mapping[str, Any], claim_life_s: float) -> JobBoard:
        # Compatible is what answers; the command that would tell is switched off by default.
        own = {"timeout": claim_life_s, "check_compatible": False}
        return backends.fetch(_BOARD, {"board": "zookeeper", **own, **options})

    @staticmethod
    def claim(board: JobBoard, job: Job, who: str, _life_s: float) -> None:
        board.claim(job, who)

    @staticmethod
    def renew(board: JobBoard, job: Job, who: str, _life_s: float) -> bool:
        return _owner(board, job) == who


def _owner(board: JobBoard, job: Job) -> str | None:
    try:
        owner: str | None = board.find_owner(job)
    except TypeError:  # what the board on Redis makes of no owner
        return None
    return owner


_KINDS: Final[Mapping[str, type[_Etcd | _ZooKeeper]]] = {
    "redis": _Redis,
    "etcd": _Etcd,
    "zookeeper": _ZooKeeper,
}


@dataclass
class _Held:
    job: Job
    until_s: float
    """By the monotonic clock: so long it surely is ours."""


class JobboardClaims:
    """The `Claims` of one replica."""

    def __init__(
        self,
        who: str,
        board: str,
        options: Mapping[str, Any],
        fences: Fences,
        clock: Clock,
        *,
        claim_life_s: float,
    ) -> None:
        """`who` is nobody else's name, also not that of an earlier process. `board` is `redis`,
        `etcd` or `zookeeper`; `options` go to redis-py's client, or to TaskFlow's jobboard of that
        kind; `namespace` keeps installations that share a Redis apart. Raises JobboardError.
        """
        self._who = who
        self._kind = _KINDS[board]
        self._fences = fences
        self._clock = clock
        self._life_s = claim_life_s
        self._lock = threading.Lock()  # of what is held; the board is safe from any thread
        self._held: dict[UUID, _Held] = {}
        self._free: dict[UUID, Job] = {}
        """By operation the jobs that nobody held when the board was last read."""
        self._on_lost: Callable[[UUID], None] = lambda _: None
        self._closed = False
        try:
            self._board = self._kind.open(options, claim_life_s)
            self._troubles = (taskflow_errors.TaskFlowException, *self._kind.troubles())
        except (TypeError, ImportError, taskflow_errors.TaskFlowException) as error:
            raise JobboardError(
                f"The jobboard on {board} cannot be opened: {error}.",
                next_step="Correct the table `replicas` of the settings.",
            ) from error
        self._renewals = Rounds(
            "claims", self._renew, clock, claim_life_s / _RENEWALS_A_LIFE, pauses_first=True
        )

    def start(self, on_lost: Callable[[UUID], None]) -> None:
        """A board that is away is waited for: until it is there, nothing is claimed."""
        self._on_lost = on_lost
        self._connected()
        self._renewals.start()

    # --- offering and taking

    def offer(self, operation_ids: Collection[UUID]) -> None:
        if not operation_ids or not self._connected():
            return
        try:
            there = {job.name for job in self._board.iterjobs()}
            for operation_id in operation_ids:
                if str(operation_id) not in there:
                    self._free[operation_id] = self._board.post(str(operation_id), details={})
        except self._troubles as error:
            log.error("the jobboard takes no offer", why=str(error))

    def offered(self) -> list[UUID]:
        return list(self._unclaimed())

    def take(self, operation_id: UUID) -> int | None:
        # As it was last seen free: whoever was faster since, the board refuses the claim.
        job = self._free.pop(operation_id, None) or self._unclaimed().pop(operation_id, None)
        if job is None or self._closed:
            return None
        asked_s = self._clock.monotonic()
        try:
            self._kind.claim(self._board, job, self._who, self._life_s)
        except (taskflow_errors.UnclaimableJob, taskflow_errors.NotFound):
            return None
        except self._troubles as error:
            log.error("the jobboard gives no claim", why=str(error))
            return None
        number = self._fences.raise_for(operation_id)
        with self._lock:
            self._held[operation_id] = _Held(job, asked_s + _SURE_SHARE * self._life_s)
        return number

    def done(self, operation_id: UUID) -> None:
        self._part_with(operation_id, self._board.consume)

    def give_back(self, operation_id: UUID) -> None:
        self._part_with(operation_id, self._board.abandon)

    def newest(self, operation_id: UUID) -> int:
        return self._fences.newest(operation_id)

    def close(self) -> None:
        self._closed = True
        self._renewals.close()
        with self._lock:
            held = list(self._held)
        for operation_id in held:
            # Shut out first: what still runs here must not meet who takes it over.
            self._fences.lose(operation_id)
            self._on_lost(operation_id)
            self._part_with(operation_id, self._board.abandon, keeps_fence=True)
        with contextlib.suppress(*self._troubles):
            self._board.close()

    # --- inside

    def _connected(self) -> bool:
        if self._board.connected:
            return True
        try:
            self._board.connect()
        except self._troubles as error:
            log.error("the jobboard is away", why=str(error))
            return False
        return True

    def _unclaimed(self) -> dict[UUID, Job]:
        """By operation, oldest first."""
        if not self._connected():
            return {}
        try:
            jobs = [job for job in self._board.iterjobs() if job.state == states.UNCLAIMED]
        except self._troubles as error:
            log.error("the jobboard cannot be read", why=str(error))
            return {}
        jobs.sort(key=lambda job: job.sequence)
        self._free = {UUID(job.name): job for job in jobs}
        return self._free

    def _part_with(
        self,
        operation_id: UUID,
        part: Callable[[Job, str], None],
        *,
        keeps_fence: bool = False,
    ) -> None:
        with self._lock:
            held = self._held.pop(operation_id, None)
        if not keeps_fence:
            self._fences.drop(operation_id)
        if held is None:
            return
        try:
            part(held.job, self._who)
        except self._troubles as error:
            # It lapsed, or the board is away: then the claim ends by itself.
            log.info("a claim could not be given back", why=str(error))

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._held)
        for operation_id, claim in held.items():
            asked_s = self._clock.monotonic()
            try:
                renewed = self._kind.renew(self._board, claim.job, self._who, self._life_s)
            except self._troubles as error:
                log.error("a claim cannot be renewed", why=str(error))
                if asked_s >= claim.until_s:
                    self._lost(operation_id)
                continue
            if renewed:
                claim.until_s = asked_s + _SURE_SHARE * self._life_s
            else:
                self._lost(operation_id)

    def _lost(self, operation_id: UUID) -> None:
        with self._lock:
            if self._held.pop(operation_id, None) is None:
                return
        log.warning("a claim was lost", operation=str(operation_id))
        self._fences.lose(operation_id)
        self._on_lost(operation_id)
