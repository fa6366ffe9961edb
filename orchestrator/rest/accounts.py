"""`/api/v1/session`, `/me`, `/users` and `/tokens`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from starlette.datastructures import Headers

from orchestrator.accounts.identity import Identity, Role, Via, asking
from orchestrator.accounts.recognition import cookie_in
from orchestrator.accounts.service import Accounts
from orchestrator.accounts.sessions import COOKIE, OpenedSession, csrf_token_of
from orchestrator.accounts.tables import TokenRow, UserRow
from orchestrator.audit.requests import address_of
from orchestrator.audit.subjects import name_subjects
from orchestrator.errors import AccessError, AccountError, TooManyTriesError
from problem_details import Problem
from problem_details.rest import answer
from timekeeping import Clock

_YEAR_S = 366 * 86_400.0
TokenName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Password = Annotated[SecretStr, Field(max_length=1024)]


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignInRequest(Wish):
    user: Annotated[str, StringConstraints(max_length=64)]
    password: Password


class SessionView(BaseModel):
    user: str
    role: Role
    must_change_password: bool
    csrf_token: str
    """Goes along with every change, as `X-CSRF-Token`."""
    expires_at: datetime


class MeView(BaseModel):
    name: str
    role: Role
    via: Via
    must_change_password: bool
    csrf_token: str | None
    """Of a session alone."""


class OwnPasswordRequest(Wish):
    current_password: Password
    new_password: Password


class UserRequest(Wish):
    name: Annotated[str, StringConstraints(max_length=64)]
    role: Role = Role.VIEWER
    password: Password
    must_change_password: bool = True
    """The user sets another one before anything else."""


class PasswordRequest(Wish):
    password: Password
    must_change_password: bool = True


class RoleRequest(Wish):
    role: Role


class UserView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    role: Role
    must_change_password: bool
    created_at: datetime
    password_at: datetime
    signed_in_at: datetime | None


class TokenRequest(Wish):
    name: TokenName
    role: Role | None = None
    """As high as possible where nothing is said."""
    lifetime_s: float | None = Field(default=None, gt=0, le=10 * _YEAR_S)
    user: str | None = None
    """For whom; administrators alone may name somebody else."""


class TokenView(BaseModel):
    token_id: UUID
    user: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class NewTokenView(TokenView):
    token: str
    """Shown this once."""


def accounts_router(accounts: Accounts, clock: Clock) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["accounts"])
    router.include_router(_session_router(accounts))
    router.include_router(_users_router(accounts), prefix="/users")
    router.include_router(_tokens_router(accounts, clock), prefix="/tokens")
    return router


def _session_router(accounts: Accounts) -> APIRouter:
    router = APIRouter()

    @router.post("/session", status_code=201, response_model=SessionView)
    def sign_in(wish: SignInRequest, request: Request) -> Response:
        """Opens a session; its cookie comes with the answer."""
        if any(user.name == wish.user for user in accounts.users.all()):
            name_subjects(user=wish.user)  # any other text may be a password in the wrong field
        source = address_of(request.scope)
        try:
            user, opened = accounts.sign_in(wish.user, wish.password.get_secret_value(), source)
        except TooManyTriesError as error:
            wait_s = str(error.extensions["retry_after_s"])
            return answer(Problem.of(error, 429), {"Retry-After": wait_s})
        return _opened(request, user, opened, status=201)

    @router.delete("/session", status_code=204)
    def sign_out(request: Request) -> Response:
        cookie = cookie_in(Headers(scope=request.scope))
        if cookie is not None:
            accounts.sessions.end(cookie)
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    @router.get("/me")
    def me(request: Request) -> MeView:
        who = _asking()
        cookie = cookie_in(Headers(scope=request.scope))
        return MeView(
            name=who.name,
            role=who.role,
            via=who.via,
            must_change_password=who.must_change_password,
            csrf_token=csrf_token_of(cookie) if cookie and who.via is Via.SESSION else None,
        )

    @router.put("/me/password", response_model=SessionView)
    def set_own_password(wish: OwnPasswordRequest, request: Request) -> Response:
        """All sessions of the user end; the answer opens a new one."""
        who = _asking()
        if who.user_id is None:
            raise AccountError(
                f"{who.name} has no account, so no password.",
                next_step="Set the password of a user: `qnfv user passwd NAME`.",
            )
        name_subjects(user=who.name)
        opened = accounts.change_own_password(
            who,
            wish.current_password.get_secret_value(),
            wish.new_password.get_secret_value(),
            address_of(request.scope),
        )
        return _opened(request, accounts.users.named(who.name), opened, status=200)

    return router


def _users_router(accounts: Accounts) -> APIRouter:
    router = APIRouter()
    users = accounts.users

    @router.get("")
    def all_users() -> list[UserView]:
        return [UserView.model_validate(row) for row in users.all()]

    @router.post("", status_code=201)
    def add(wish: UserRequest) -> UserView:
        name_subjects(user=wish.name, role=wish.role)
        password = wish.password.get_secret_value()
        must_change = wish.must_change_password
        return UserView.model_validate(
            users.add(wish.name, wish.role, password, must_change_password=must_change)
        )

    @router.get("/{name}")
    def user(name: str) -> UserView:
        return UserView.model_validate(users.named(name))

    @router.delete("/{name}", status_code=204)
    def remove(name: str) -> Response:
        users.delete(name)
        return Response(status_code=204)

    @router.put("/{name}/password", status_code=204)
    def set_password(name: str, wish: PasswordRequest) -> Response:
        password = wish.password.get_secret_value()
        users.set_password(name, password, must_change=wish.must_change_password)
        return Response(status_code=204)

    @router.put("/{name}/role")
    def set_role(name: str, wish: RoleRequest) -> UserView:
        name_subjects(role=wish.role)
        return UserView.model_validate(users.set_role(name, wish.role))

    return router


def _tokens_router(accounts: Accounts, clock: Clock) -> APIRouter:
    router = APIRouter()

    @router.get("")
    def tokens(user: str | None = None) -> list[TokenView]:
        """Of administrators all of them, or those of `user`; of anybody else his own."""
        who = _asking()
        if who.role is Role.ADMINISTRATOR:
            of = accounts.users.named(user).user_id if user else None
        elif user in (None, who.name):
            of = who.user_id
        else:
            raise _not_yours()
        return [_token_view(row, name) for row, name in accounts.tokens.all(of)]

    @router.post("", status_code=201)
    def create(wish: TokenRequest) -> NewTokenView:
        """A token never does more, nor lives longer, than what it was made with."""
        who = _asking()
        if wish.user not in (None, who.name) and who.role is not Role.ADMINISTRATOR:
            raise _not_yours()
        if wish.user is None and who.user_id is None:
            raise AccountError(
                f"{who.name} has no account; a token speaks for a user.",
                next_step="Name the user: `qnfv token create NAME --user USER`.",
            )
        owner = accounts.users.named(wish.user or who.name)
        role = _role_for(wish.role, who, Role(owner.role))
        expires_at = _end_of(wish.lifetime_s, who, clock)
        row, text = accounts.tokens.create(owner, wish.name, role, expires_at)
        name_subjects(user=owner.name, token_id=row.token_id, role=role)
        return NewTokenView(**_token_view(row, owner.name).model_dump(), token=text)

    @router.delete("/{token_id}", status_code=204)
    def revoke(token_id: UUID) -> Response:
        who = _asking()
        owner = None if who.role is Role.ADMINISTRATOR else who.user_id
        accounts.tokens.revoke(token_id, owner)
        return Response(status_code=204)

    return router


def _role_for(wish: Role | None, who: Identity, owners: Role) -> Role:
    highest = owners if who.role.covers(owners) else who.role
    if wish is not None and not who.role.covers(wish):
        raise AccessError(
            f"{who.name} is {who.role} here and cannot make a token that is {wish}.",
            next_step="Choose a lower role, or sign in with a higher one.",
        )
    return wish or highest


def _end_of(lifetime_s: float | None, who: Identity, clock: Clock) -> datetime | None:
    wished = None if lifetime_s is None else clock.now() + timedelta(seconds=lifetime_s)
    if who.until is None:
        return wished
    return who.until if wished is None else min(wished, who.until)


def _asking() -> Identity:
    who = asking()
    if who is None:
        raise AccessError("Nobody is behind this request.", next_step="Sign in first.")
    return who


def _not_yours() -> AccessError:
    return AccessError(
        "Tokens of others are for administrators.", next_step="Leave the user out for your own."
    )


def _token_view(row: TokenRow, user: str) -> TokenView:
    return TokenView(
        token_id=row.token_id,
        user=user,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )


def _opened(request: Request, user: UserRow, opened: OpenedSession, *, status: int) -> Response:
    view = SessionView(
        user=user.name,
        role=Role(user.role),
        must_change_password=user.must_change_password,
        csrf_token=opened.csrf_token,
        expires_at=opened.expires_at,
    )
    response = JSONResponse(view.model_dump(mode="json"), status_code=status)
    response.set_cookie(
        COOKIE,
        opened.cookie,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
