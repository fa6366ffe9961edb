"""A small cloud over HTTP that says what a test wants: it refuses, hangs, lies and forgets.

It speaks as much of Keystone, Glance and Nova as the driver `openstack` asks for. A rule
(`on(method, path, act)`) takes a request away from it; `act` may also let it be done first.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

TOKEN_EXPIRES = "2099-01-01T00:00:00.000000Z"
Act = Callable[["Request"], None]


class ScriptedCloud:
    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.servers: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.released = threading.Event()
        self._rules: list[tuple[str, str, Act, list[int]]] = []
        self._lock = threading.Lock()
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._httpd.daemon_threads = True
        self.port = self._httpd.server_address[1]

    def on(self, method: str, path: str, act: Act, *, times: int = 10**6) -> None:
        """The next `times` requests of this method to this path (a regular expression)."""
        self._rules.append((method, path, act, [times]))

    def clear_rules(self) -> None:
        self._rules.clear()

    def count(self, method: str, path: str) -> int:
        return sum(m == method and bool(re.fullmatch(path, p)) for m, p in self.requests)

    def rule_for(self, method: str, path: str) -> Act | None:
        with self._lock:
            self.requests.append((method, path))
            for wanted, pattern, act, left in self._rules:
                if wanted == method and left[0] and re.fullmatch(pattern, path):
                    left[0] -= 1
                    return act
        return None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write_clouds_file(self, path: Path) -> Path:
        auth = {
            "auth_url": f"{self.url}/identity/v3",
            "username": "u",
            "password": "p",
            "project_name": "p",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        cloud = {"auth": auth, "region_name": "r", "identity_api_version": "3"}
        path.write_text(json.dumps({"clouds": {"qnfv": cloud}}))  # JSON is YAML
        return path

    @contextmanager
    def serving(self) -> Iterator[ScriptedCloud]:
        thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            self._httpd.shutdown()
            self._httpd.server_close()

    # --- what a well-meaning cloud does -----------------------------------------------------------

    def catalog(self) -> dict[str, Any]:
        def service(kind: str, path: str) -> dict[str, Any]:
            ends = [
                {"interface": i, "region": "r", "region_id": "r", "url": f"{self.url}{path}"}
                for i in ("public", "internal", "admin")
            ]
            return {"type": kind, "name": kind, "endpoints": ends}

        services = [
            service("identity", "/identity/v3"),
            service("image", "/image"),
            service("compute", "/compute/v2.1"),
        ]
        return {
            "token": {
                "methods": ["password"],
                "expires_at": TOKEN_EXPIRES,
                "issued_at": "2026-01-01T00:00:00.000000Z",
                "user": {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": "p", "name": "p", "domain": {"id": "default", "name": "Default"}},
                "roles": [],
                "catalog": services,
            }
        }

    def answer(self, request: Request) -> tuple[int, Any]:
        path = request.path
        for method, pattern, act in self._routes():
            found = re.fullmatch(pattern, path)
            if found and method == request.method:
                return act(request, *found.groups())
        return 404, {"itemNotFound": {"message": f"no {path}", "code": 404}}

    def _routes(self) -> list[tuple[str, str, Callable[..., tuple[int, Any]]]]:
        image, server = r"/image/v2/images/([^/]+)", r"/compute/v2\.1/servers/([^/]+)"
        return [
            ("GET", r"/identity/v3/?", lambda r: (200, self._identity())),
            ("POST", r"/identity/v3/auth/tokens", self._sign_in),
            ("GET", r"/image/?", lambda r: (300, self._image_versions())),
            ("GET", r"/compute/v2\.1/?", lambda r: (200, self._compute_version())),
            ("POST", r"/image/v2/images", lambda r: self._create_image(r)),
            ("PUT", rf"{image}/file", self._store),
            ("GET", image, lambda r, i: self._found(self.images.get(i))),
            ("DELETE", image, lambda r, i: self._deleted(self.images, i)),
            ("GET", r"/compute/v2\.1/limits", lambda r: (200, self._limits())),
            ("GET", r"/compute/v2\.1/flavors/detail", lambda r: (200, {"flavors": [_FLAVOR]})),
            ("POST", r"/compute/v2\.1/servers", lambda r: self._create_server(r)),
            ("GET", r"/compute/v2\.1/servers/detail", lambda r: self._list(r)),
            ("GET", server, lambda r, i: self._found(self.servers.get(i), "server")),
            ("DELETE", server, lambda r, i: self._deleted(self.servers, i)),
            ("POST", rf"{server}/action", self._act),
        ]

    def _sign_in(self, request: Request) -> tuple[int, Any]:
        request.body()  # else it would be taken for the connection's next request
        return 201, self.catalog()

    def _identity(self) -> Any:
        links = [{"rel": "self", "href": f"{self.url}/identity/v3/"}]
        return {"version": {"id": "v3.14", "status": "stable", "links": links}}

    def _image_versions(self) -> Any:
        links = [{"rel": "self", "href": f"{self.url}/image/v2/"}]
        return {"versions": [{"id": "v2.16", "status": "CURRENT", "links": links}]}

    def _limits(self) -> Any:
        used = {"totalInstancesUsed": len(self.servers), "totalCoresUsed": len(self.servers)}
        most = {"maxTotalInstances": 10, "maxTotalCores": -1, "maxTotalRAMSize": 51200}
        return {"limits": {"rate": [], "absolute": {**most, **used, "totalRAMUsed": 512}}}

    def _compute_version(self) -> Any:
        links = [{"rel": "self", "href": f"{self.url}/compute/v2.1/"}]
        return {
            "version": {
                "id": "v2.1",
                "status": "CURRENT",
                "version": "2.96",
                "min_version": "2.1",
                "links": links,
            }
        }

    def _create_image(self, request: Request) -> tuple[int, Any]:
        image = {"status": "queued", "size": None, **request.json()}
        self.images[image["id"]] = image
        return 201, image

    def _store(self, request: Request, image_id: str) -> tuple[int, Any]:
        content = request.body()
        if len(content) < int(request.header("Content-Length")):
            return 400, {"error": {"message": "the body ended early", "code": 400}}
        stored = {
            "status": "active",
            "size": len(content),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(content).hexdigest(),
        }
        image = self.images.get(image_id)
        if image is None:
            return 404, None
        image.update(stored)
        return 204, None

    def _create_server(self, request: Request) -> tuple[int, Any]:
        wanted = request.json()["server"]
        if wanted["networks"] == "none" and not request.header("OpenStack-API-Version"):
            return 400, {"badRequest": {"message": "networks: 'none' is no list", "code": 400}}
        server = {
            "id": str(uuid.uuid4()),
            "name": wanted["name"],
            "metadata": wanted["metadata"],
            "status": "ACTIVE",
            "OS-EXT-STS:power_state": 1,
            "OS-EXT-STS:task_state": None,
            "created": f"2026-01-01T00:00:{len(self.servers):02}Z",
            "addresses": {},
        }
        self.servers[server["id"]] = server
        return 202, {"server": {"id": server["id"]}}

    def _list(self, request: Request) -> tuple[int, Any]:
        pattern = parse_qs(urlparse(request.target).query).get("name", [""])[0]
        found = [s for s in self.servers.values() if re.search(pattern, s["name"])]
        return 200, {"servers": found}

    def _act(self, request: Request, server_id: str) -> tuple[int, Any]:
        (action,) = request.json()
        stopped = action == "os-stop"
        self.servers[server_id] |= {
            "status": "SHUTOFF" if stopped else "ACTIVE",
            "OS-EXT-STS:power_state": 4 if stopped else 1,
        }
        return 202, None

    @staticmethod
    def _found(thing: Any, name: str | None = None) -> tuple[int, Any]:
        if thing is None:
            return 404, {"itemNotFound": {"message": "not found", "code": 404}}
        return 200, {name: thing} if name else thing

    @staticmethod
    def _deleted(things: dict[str, Any], thing_id: str) -> tuple[int, Any]:
        return (204, None) if things.pop(thing_id, None) else (404, None)


class Request:
    """One request in the hands of a rule."""

    def __init__(self, cloud: ScriptedCloud, handler: BaseHTTPRequestHandler) -> None:
        self.cloud = cloud
        self._handler = handler
        self._body: bytes | None = None
        self.method = handler.command
        self.target = handler.path
        self.path = urlparse(handler.path).path

    def header(self, name: str) -> str:
        return str(self._handler.headers[name] or "")

    def body(self) -> bytes:
        if self._body is None:
            self._body = self._handler.rfile.read(int(self._handler.headers["Content-Length"] or 0))
        return self._body

    def json(self) -> Any:
        return json.loads(self.body())

    def say(self, status: int, document: Any = None) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", "application/json")
        self._handler.send_header("X-Subject-Token", "t")
        self._handler.send_header("Content-Length", str(len(content)))
        self._handler.end_headers()
        self._handler.wfile.write(content)

    def break_off(self) -> None:
        """No answer; the connection is closed."""
        self._handler.close_connection = True

    def do(self) -> tuple[int, Any]:
        """What the cloud means well to do; its answer is not sent."""
        return self.cloud.answer(self)


def saying(status: int, words: str = "it is broken") -> Act:
    """Takes the whole request, and refuses."""

    def act(request: Request) -> None:
        request.body()
        request.say(status, {"error": {"message": words, "code": status}})

    return act


def lying(status: int, document: Any = None) -> Act:
    """Does nothing, and says that all went well."""

    def act(request: Request) -> None:
        request.body()
        request.say(status, document)

    return act


def hanging(*, after_doing: bool = False) -> Act:
    """Says nothing for as long as the test lasts."""

    def act(request: Request) -> None:
        if after_doing:
            request.do()
        request.cloud.released.wait(30)
        request.break_off()

    return act


_FLAVOR = {
    "id": "f",
    "name": "f",
    "ram": 512,
    "vcpus": 1,
    "disk": 1,
    "OS-FLV-EXT-DATA:ephemeral": 0,
    "swap": 0,
}


def _handler(cloud: ScriptedCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            request = Request(cloud, self)
            rule = cloud.rule_for(request.method, request.path)
            if rule is not None:
                rule(request)
                return
            request.say(*request.do())

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
