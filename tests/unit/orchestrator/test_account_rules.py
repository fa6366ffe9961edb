"""Passwords, sign-in limits, session life and token life, with cheap hashes and a clock at hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from database import open_engine
from orchestrator.accounts.identity import Role
from orchestrator.accounts.passwords import MAX_CHARS, MIN_CHARS, Passwords
from orchestrator.accounts.service import Accounts
from orchestrator.accounts.tables import migrate_accounts
from orchestrator.accounts.throttle import SignInThrottle
from orchestrator.errors import SignInError, TooManyTriesError, WeakPasswordError
from orchestrator.settings import AccountsTable
from timekeeping import FakeClock

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def accounts(tmp_path: Path, clock: FakeClock) -> Iterator[Accounts]:
    engine = open_engine(f"sqlite:///{tmp_path / 'accounts.sqlite'}")
    migrate_accounts(engine)
    table = AccountsTable(session_life_s=1000, session_idle_s=100)
    yield Accounts(engine, clock, table, tmp_path, hasher=CHEAP)
    engine.dispose()


@given(st.text(min_size=MIN_CHARS, max_size=40), st.text(max_size=40))
def test_only_the_password_itself_is_right(password: str, other: str) -> None:
    passwords = Passwords(CHEAP)
    stored = passwords.hash(password)
    assert passwords.verify(password, stored)
    assert passwords.verify(other, stored) == (other == password)
    assert not passwords.verify(password, None)
    assert not passwords.verify(password, "no hash")


@pytest.mark.parametrize("length", [0, MIN_CHARS - 1, MAX_CHARS + 1])
def test_a_short_or_endless_password_is_refused(length: int) -> None:
    with pytest.raises(WeakPasswordError):
        Passwords(CHEAP).hash("x" * length)


def test_an_endless_guess_is_wrong() -> None:
    passwords = Passwords(CHEAP)
    stored = passwords.hash("x" * MAX_CHARS)
    assert not passwords.verify("x" * (MAX_CHARS + 1), stored)
    assert not passwords.verify("x" * 10_000_000, stored)


def test_an_unknown_user_costs_a_hash_as_a_known_one_does(accounts: Accounts) -> None:
    asked: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:
            asked.append(str(hash).rsplit("$", 2)[0])
            return super().verify(hash, password)

    accounts.passwords._hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    accounts.users.add("ann", Role.VIEWER, PASSWORD)
    for name in ("ann", "unknown"):
        with pytest.raises(SignInError):
            accounts.users.check(name, "wrong wrong wrong")
    assert len(asked) == 2
    assert asked[0] == asked[1]  # the same parameters, so the same work


def test_a_hash_of_yesterdays_parameters_is_made_anew_at_sign_in(accounts: Accounts) -> None:
    accounts.users.add("ann", Role.VIEWER, PASSWORD)
    before = accounts.users.named("ann").password_hash
    accounts.passwords._hasher = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    accounts.sign_in("ann", PASSWORD, "here")
    after = accounts.users.named("ann").password_hash
    assert after != before
    assert "t=2" in after
    accounts.sign_in("ann", PASSWORD, "here")


def test_tries_are_limited_by_user_and_by_address_and_come_back(clock: FakeClock) -> None:
    throttle = SignInThrottle(clock, per_user=2, per_address=4, window_s=60)
    throttle.begin("ann", "a")
    clock.advance(30)
    throttle.begin("ann", "b")
    with pytest.raises(TooManyTriesError) as refused:
        throttle.begin("ann", "c")
    assert refused.value.extensions["retry_after_s"] == 30
    for name in ("ben", "cat", "dan"):
        throttle.begin(name, "a")
    with pytest.raises(TooManyTriesError):
        throttle.begin("eve", "a")
    clock.advance(30)
    throttle.begin("ann", "a")
    throttle.succeeded("ann", "a")
    throttle.begin("ann", "z")
    throttle.begin("ann", "z")
    with pytest.raises(TooManyTriesError):
        throttle.begin("ann", "z")


def test_a_session_ends_by_age_and_by_silence(accounts: Accounts, clock: FakeClock) -> None:
    accounts.users.add("ann", Role.VIEWER, PASSWORD)
    _, opened = accounts.sign_in("ann", PASSWORD, "here")
    for _ in range(11):  # in use all the time
        clock.advance(90)
        assert accounts.sessions.identity_of(opened.cookie) is not None
    clock.advance(10)
    assert accounts.sessions.identity_of(opened.cookie) is None
    _, opened = accounts.sign_in("ann", PASSWORD, "here")
    clock.advance(100)
    assert accounts.sessions.identity_of(opened.cookie) is None
    assert accounts.sessions.identity_of("") is None


def test_a_role_counts_from_the_next_request_on(accounts: Accounts) -> None:
    accounts.users.add("boss", Role.ADMINISTRATOR, PASSWORD)
    accounts.users.add("ann", Role.ADMINISTRATOR, PASSWORD)
    _, opened = accounts.sign_in("ann", PASSWORD, "here")
    accounts.users.set_role("ann", Role.VIEWER)
    known = accounts.sessions.identity_of(opened.cookie)
    assert known is not None
    assert known.role is Role.VIEWER


def test_a_token_expires(accounts: Accounts, clock: FakeClock) -> None:
    ann = accounts.users.add("ann", Role.OPERATOR, PASSWORD)
    end = clock.now() + timedelta(seconds=60)
    _, text = accounts.tokens.create(ann, "ci", Role.VIEWER, end)
    known = accounts.tokens.identity_of(text)
    assert known is not None
    assert (known.role, known.until) == (Role.VIEWER, end)
    assert accounts.tokens.identity_of(text[:-1]) is None
    clock.advance(60)
    assert accounts.tokens.identity_of(text) is None


@given(st.sampled_from(Role), st.sampled_from(Role))
def test_roles_are_in_one_order(one: Role, other: Role) -> None:
    assert one.covers(other) or other.covers(one)
    assert (one.covers(other) and other.covers(one)) == (one is other)
    assert Role.ADMINISTRATOR.covers(one)
    assert one.covers(Role.VIEWER)
