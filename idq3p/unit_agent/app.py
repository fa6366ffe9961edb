"""The agent as a service: REST over mutual TLS."""

# No postponed annotations here: FastAPI reads `Caller`, which is local to `build_app`.
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request

from idq3p.unit_agent.contract import StartRequest, StopRequest, UnitRole, UnitView
from idq3p.unit_agent.errors import STATUS_OF
from idq3p.unit_agent.settings import UnitAgentSettings
from idq3p.unit_agent.unit import QkdUnit
from observability import configure_logs
from problem_details import rest
from trust import Identity, Role
from trust.errors import NotAllowedError
from trust.server import mutual_tls_server, require_role

_ROLES: Final[dict[UnitRole, tuple[Role, ...]]] = {
    UnitRole.ALICE: (Role.ORCHESTRATOR,),
    UnitRole.BOB: (Role.SLAVE, Role.ORCHESTRATOR),
}


def build_app(settings: UnitAgentSettings, unit: QkdUnit) -> FastAPI:
    """The web service of `unit`. It closes the unit when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        unit.close()

    app = FastAPI(title=f"qnfv unit agent {settings.name}", lifespan=lifespan, openapi_url=None)
    rest.install(app, STATUS_OF)
    Caller = Annotated[Identity, Depends(_allowed_caller(settings))]

    # Plain functions: the framework runs them in threads, so that a slow stop blocks nobody else.
    @app.get("/v1/unit")
    def view(_: Caller) -> UnitView:
        return unit.view()

    @app.post("/v1/unit/start")
    def start(request: StartRequest, _: Caller) -> UnitView:
        return unit.start(request)

    @app.post("/v1/unit/stop")
    def stop(request: StopRequest, _: Caller) -> UnitView:
        return unit.stop(request)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _allowed_caller(settings: UnitAgentSettings) -> Callable[[Request], Identity]:
    named = tuple({Role(caller.partition(":")[0]) for caller in settings.callers})
    has_role = require_role(*(named or _ROLES[settings.role]))

    def caller(request: Request) -> Identity:
        identity = has_role(request)
        if settings.callers and f"{identity.role.value}:{identity.name}" not in settings.callers:
            raise NotAllowedError(
                f"{identity.dns_name} may not command the unit {settings.name}.",
                next_step="Add it to `callers` in the agent's settings if it should.",
            )
        return identity

    return caller


def serve(settings_file: Path) -> None:
    """Run the agent until SIGTERM or SIGINT."""
    settings = UnitAgentSettings.load(settings_file)
    configure_logs(f"unit-agent {settings.name}", form=settings.log_form)
    unit = QkdUnit(settings)
    try:
        mutual_tls_server(
            build_app(settings, unit),
            host=settings.host,
            port=settings.port,
            credentials=settings.credentials,
        ).run()
    finally:
        unit.close()
