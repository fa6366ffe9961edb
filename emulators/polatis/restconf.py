"""The RESTCONF face: the tree of `optical-switch@2018-03-22.yang`, as far as a client needs it.

JSON of RFC 7951 over RFC 8040: cross-connects (GET, POST, PATCH, PUT, DELETE), product-information,
port-config, opm-power, subswitches. What a real Polatis answers to a refusal was not seen; the
error-tags here are RFC 8040's.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulators.polatis.device import Device
from emulators.polatis.mirrors import Pair, Refusal, Why
from emulators.polatis.power import incoming_power_dbm

MEDIA_TYPE = "application/yang-data+json"
_ROOT = "/api/data/optical-switch:"
_MOST_BODY_BYTES = 1 << 20

_ERRORS = {
    Why.PORT_IN_USE: (409, "data-exists"),
    Why.NOT_JOINED: (404, "invalid-value"),
    Why.NO_FIT: (400, "invalid-value"),
    Why.NO_SUCH_PORT: (400, "invalid-value"),
    Why.TWO_PARTITIONS: (403, "access-denied"),
}


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    ingress: int = Field(ge=1, le=65535)
    egress: int = Field(ge=1, le=65535)


class _Fault(Exception):
    def __init__(self, status: int, tag: str, message: str) -> None:
        super().__init__(message)
        self.status, self.tag = status, tag


class RestconfFace:
    """Serves RESTCONF clients on the device's mirrors.

    `answers` is when a change is answered: `at-once`, and the table shows a pair when its mirrors
    settled; or `settled`, when they all stand still.
    """

    def __init__(
        self,
        device: Device,
        username: str,
        password: str,
        *,
        list_name: str = "pair",
        answers: Literal["at-once", "settled"] = "at-once",
    ) -> None:
        self._device = device
        self._expected = f"{username}\0{password}".encode()
        self._list = list_name
        self._answers = answers

    async def serve(self, address: tuple[str, int], tls: tuple[Path, Path] | None) -> None:
        """Serve until a signal; `tls` are certificate and key."""
        config = uvicorn.Config(
            self.app(),
            host=address[0],
            port=address[1],
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        await uvicorn.Server(config).serve()

    def app(self) -> FastAPI:
        """The whole tree as an application."""
        app = FastAPI(openapi_url=None, dependencies=[Depends(self._admit)])
        table = f"{_ROOT}cross-connects"
        routes: list[tuple[str, str, Callable[..., Awaitable[Response]]]] = [
            ("GET", table, self._read),
            ("POST", table, self._add),
            ("PATCH", table, self._merge),
            ("PUT", table, self._replace),
            ("DELETE", table, self._clear),
            ("GET", f"{table}/{self._list}={{ingress}}", self._read_one),
            ("DELETE", f"{table}/{self._list}={{ingress}}", self._remove),
            ("GET", f"{_ROOT}product-information", self._product),
            ("GET", f"{_ROOT}port-config", self._ports),
            ("GET", f"{_ROOT}opm-power", self._power),
            ("GET", f"{_ROOT}subswitches", self._subswitches),
        ]
        for method, path, handler in routes:
            app.add_api_route(path, handler, methods=[method], response_model=None)
        app.add_exception_handler(_Fault, _fault)
        app.add_exception_handler(Refusal, _refusal)
        return app

    def _admit(
        self, given: Annotated[HTTPBasicCredentials | None, Depends(HTTPBasic(auto_error=False))]
    ) -> None:
        named = f"{given.username}\0{given.password}".encode() if given else b""
        if not hmac.compare_digest(named, self._expected):
            raise _Fault(401, "access-denied", "unknown user or wrong password")

    # --- cross-connects

    async def _read(self) -> Response:
        return _json("cross-connects", {self._list: self._rows()})

    async def _read_one(self, ingress: str) -> Response:
        rows = [row for row in self._rows() if str(row["ingress"]) == ingress]
        if not rows:
            raise _Fault(404, "invalid-value", f"nothing is joined at ingress {ingress}")
        return _json(self._list, rows)

    async def _add(self, request: Request) -> Response:
        """POST: exactly one new pair."""
        pairs = await self._pairs(request, self._list)
        if len(pairs) != 1:
            raise _Fault(400, "invalid-value", "POST adds one pair")
        if self._device.mirrors.pair_at(pairs[0][0]) == pairs[0]:
            raise _Fault(409, "data-exists", f"ingress {pairs[0][0]} is joined already")
        self._device.connect(pairs)
        await self._moved()
        where = f"{_ROOT}cross-connects/{self._list}={pairs[0][0]}"
        return Response(status_code=201, headers={"Location": where})

    async def _merge(self, request: Request) -> Response:
        """PATCH: all pairs of the body besides those that are there, or none of them."""
        self._device.connect(await self._pairs(request, "cross-connects"))
        return await self._moved()

    async def _replace(self, request: Request) -> Response:
        """PUT: the pairs of the body, and no others."""
        self._device.replace(await self._pairs(request, "cross-connects"))
        return await self._moved()

    async def _clear(self) -> Response:
        self._device.disconnect(self._device.mirrors.joined())
        return await self._moved()

    async def _remove(self, ingress: str) -> Response:
        pair = self._device.mirrors.pair_at(int(ingress)) if ingress.isdecimal() else None
        if pair is None or pair[0] != int(ingress):
            raise _Fault(404, "invalid-value", f"nothing is joined at ingress {ingress[:20]}")
        self._device.disconnect([pair])
        return await self._moved()

    def _rows(self) -> list[dict[str, int]]:
        return [{"ingress": a, "egress": b} for a, b in self._device.passing()]

    async def _moved(self) -> Response:
        if self._answers == "settled":
            await self._device.settle(self._device.mirrors.still_at())
        return Response(status_code=204)

    async def _pairs(self, request: Request, container: str) -> list[Pair]:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BODY_BYTES:
                raise _Fault(413, "too-big", "the body is too long")
        try:
            content = json.loads(body)[f"optical-switch:{container}"]
            rows = content if container == self._list else content[self._list]
            pairs = [_Pair.model_validate(row) for row in rows]
        except ValidationError as error:
            message = "; ".join(fault["msg"] for fault in error.errors(include_input=False)[:3])
            raise _Fault(400, "invalid-value", message) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _Fault(400, "malformed-message", "no pairs in the body") from error
        return [(pair.ingress, pair.egress) for pair in pairs]

    # --- what the device is

    async def _product(self) -> Response:
        chassis = self._device.mirrors.chassis
        one_side = chassis.ingress_ports
        size = f"{one_side}x{chassis.ports - one_side}" if one_side else f"{chassis.ports}xCC"
        product = {
            "manufacturer": "emulated Polatis",
            "serial-number": f"{chassis.datapath_id:016x}",
            "model-name": f"emulated-{size}",
            "software-version": "0",
        }
        return _json("product-information", product)

    async def _ports(self) -> Response:
        numbers = range(1, self._device.mirrors.chassis.ports + 1)
        rows = [
            {"port-id": n, "status": "ENABLED", "label": f"port-{n}", "peer-port": ""}
            for n in numbers
        ]
        return _json("port-config", {"port": rows})

    async def _power(self) -> Response:
        mirrors = self._device.mirrors
        passing = {a: b for pair in self._device.passing() for a, b in (pair, pair[::-1])}
        read = incoming_power_dbm(
            mirrors.topology, mirrors.chassis.name, passing, self._device.dark
        )
        # RFC 7951: a decimal64 is a string.
        rows = [{"port-id": port, "power": f"{power:.2f}"} for port, power in read.items()]
        return _json("opm-power", {"port": rows})

    async def _subswitches(self) -> Response:
        mirrors = self._device.mirrors
        rows = [
            {"sname": switch.name, "username": [switch.owner], "port-id": sorted(switch.ports)}
            for switch in mirrors.topology.virtual_switches
            if switch.chassis == mirrors.chassis.name
        ]
        return _json("subswitches", {"subswitch": rows})


def _json(name: str, content: Any, status: int = 200) -> Response:
    body = json.dumps({f"optical-switch:{name}": content})
    return Response(body, status_code=status, media_type=MEDIA_TYPE)


def _fault(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, _Fault)
    error = {"error-type": "application", "error-tag": fault.tag, "error-message": str(fault)}
    headers = {"WWW-Authenticate": 'Basic realm="polatis"'} if fault.status == 401 else None
    return Response(
        json.dumps({"ietf-restconf:errors": {"error": [error]}}),
        status_code=fault.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def _refusal(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    status, tag = _ERRORS[refusal.why]
    return _fault(request, _Fault(status, tag, str(refusal)))
