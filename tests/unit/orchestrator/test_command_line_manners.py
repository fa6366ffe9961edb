"""Output for programs, exit codes, profiles, and uploads that break."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli import exit_codes, uploading
from orchestrator.cli.client import OrchestratorClient
from orchestrator.cli.connection import Connection
from orchestrator.cli.errors import ClientError, NoSuchThingError, RefusedError, UnreachableError
from orchestrator.cli.main import app
from problem_details import Problem, ProblemError

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENTS: dict[str, Any] = {
    "/api/v1/images": [
        {
            "name": "wébb", "digest": "ab" * 32, "format": "docker", "size_bytes": 5,
            "deployments": 0, "added_at": "2026-01-01T00:00:00Z",
        }
    ],
    "/api/v1/circuits": {"circuits": [], "waiting": ["x"]},
    "/api/v1/deployments": [],
    "/api/v1/me": {"name": "ann", "role": "operator", "via": "token"},
}  # fmt: skip


class Told:
    """An orchestrator that has these documents."""

    def get(self, path: str, **_: Any) -> Any:
        return DOCUMENTS[path]


@pytest.fixture
def qnfv(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Connection, "open", lambda _: Told())
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("image", "list"), "/api/v1/images"),
        (("network", "circuits"), "/api/v1/circuits"),
        (("vnf", "list"), "/api/v1/deployments"),
        (("whoami",), "/api/v1/me"),
    ],
)
def test_programs_get_the_document_and_nothing_else(
    qnfv: Any, words: tuple[str, ...], path: str
) -> None:
    assert json.loads(qnfv(*words, "-o", "json").stdout) == DOCUMENTS[path]
    assert yaml.safe_load(qnfv(*words, "--output", "yaml").stdout) == DOCUMENTS[path]
    assert qnfv(*words, "-o", "xml").exit_code == exit_codes.USAGE


def test_the_environment_may_ask_for_it(qnfv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNFV_OUTPUT", "json")
    assert json.loads(qnfv("vnf", "list").stdout) == []


def test_a_thing_that_is_not_there_is_told(qnfv: Any) -> None:
    with pytest.raises(NoSuchThingError) as caught:
        raise qnfv("vnf", "show", "nothing").exception
    assert exit_codes.exit_code_of(caught.value) == exit_codes.NOT_FOUND


def refused(status: int) -> RefusedError:
    return RefusedError(Problem(title="no", status=status))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("nobody"), exit_codes.UNREACHABLE),
        (ClientError("no"), exit_codes.FAILED),
        (refused(401), exit_codes.NOT_ALLOWED),
        (refused(403), exit_codes.NOT_ALLOWED),
        (refused(404), exit_codes.NOT_FOUND),
        (refused(409), exit_codes.CONFLICT),
        (refused(412), exit_codes.CONFLICT),
        (refused(422), exit_codes.INVALID),
        (refused(413), exit_codes.INVALID),
        (refused(500), exit_codes.SERVER),
        (refused(503), exit_codes.SERVER),
    ],
)
def test_the_exit_code_tells_the_class_of_fault(error: ProblemError, code: int) -> None:
    assert exit_codes.exit_code_of(error) == code


def test_the_page_has_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (DOCS / "cli.md").read_text(), re.M)
    assert {int(code): said for code, said in rows} == exit_codes.MEANING


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.token").write_text(f"token-{name}\n")
    return tmp_path


def add(name: str, *more: str) -> None:
    words = ["profile", "add", name, "--url", f"http://{name}:1", "--token-file", f"{name}.token"]
    assert CliRunner().invoke(app, [*words, *more]).exit_code == 0


def opened(connection: Connection) -> str:
    client: OrchestratorClient = connection.open()
    with_token = client._http.headers["authorization"]
    client.close()
    return f"{client.base_url} {with_token}"


def test_profiles_name_orchestrators(config: Path) -> None:
    add("a")
    add("b")
    assert opened(Connection()) == "http://a:1 Bearer token-a"  # the first one is the default
    assert opened(Connection(profile="b")) == "http://b:1 Bearer token-b"
    assert opened(Connection(url="http://c:1", profile="b")) == "http://c:1 Bearer token-b"
    assert CliRunner().invoke(app, ["profile", "use", "b"]).exit_code == 0
    assert opened(Connection()) == "http://b:1 Bearer token-b"
    listed = CliRunner().invoke(app, ["profile", "list", "-o", "json"]).stdout
    assert json.loads(listed)["default"] == "b"
    assert "token-a" not in listed
    CliRunner().invoke(app, ["profile", "remove", "b"])
    with pytest.raises(ClientError, match="No orchestrator is named"):
        opened(Connection())
    with pytest.raises(NoSuchThingError):
        opened(Connection(profile="b"))


def test_a_laboratory_in_the_folder_goes_before_the_default_profile(config: Path) -> None:
    add("a")
    (config / ".lab").mkdir()
    (config / ".lab" / "client.toml").write_text('url = "http://lab:1"\ntoken_file = "b.token"\n')
    assert opened(Connection()) == "http://lab:1 Bearer token-b"
    assert opened(Connection(profile="a")) == "http://a:1 Bearer token-a"


def test_a_damaged_file_of_profiles_is_told(config: Path) -> None:
    file = config / "config" / "qnfv" / "profiles.toml"
    file.parent.mkdir(parents=True)
    file.write_text("= nothing")
    with pytest.raises(ClientError, match="cannot be read"):
        opened(Connection())


class Weak:
    """An orchestrator whose connections break after some bytes."""

    def __init__(self, breaks_after: list[int]) -> None:
        self.arrived = b""
        self.wish: dict[str, Any] = {}
        self._breaks_after = breaks_after

    def get(self, path: str) -> Any:
        if path == "/api/v1/uploads":
            return [self._view()] if self.wish else []
        if path.startswith("/api/v1/uploads/"):
            return self._view() | {"image": "ab"}
        return {"digest": "ab", "name": self.wish["name"]}

    def post(self, _: str, wish: dict[str, Any]) -> Any:
        assert not self.wish, "begun once"
        self.wish = wish
        return self._view()

    def send_piece(self, _: str, offset: int, content: Iterator[bytes]) -> None:
        assert offset == len(self.arrived)
        whole = b"".join(content)
        if self._breaks_after:
            self.arrived += whole[: self._breaks_after.pop(0)]
            raise UnreachableError("the line broke")
        self.arrived += whole

    def _view(self) -> dict[str, Any]:
        return {**self.wish, "upload_id": "u", "offset_bytes": len(self.arrived)}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "_PAUSE_S", 0.0)


def test_an_upload_goes_on_where_its_connection_broke(tmp_path: Path, at_once: None) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "image").write_bytes(content)
    weak = Weak([1, 2_000_000, 0, 70_000])
    image = uploading.upload(cast("Any", weak), tmp_path / "image", "web")
    assert weak.arrived == content
    assert image["name"] == "web"


def test_an_empty_file_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    weak = Weak([])
    with pytest.raises(ClientError, match="is empty"):
        uploading.upload(cast("Any", weak), tmp_path / "image", "web")
    assert weak.wish == {}


def test_an_upload_that_was_stopped_is_gone_on_with(tmp_path: Path, at_once: None) -> None:
    (tmp_path / "image").write_bytes(b"x" * 1000)
    weak = Weak([400] + [0] * 10)
    with pytest.raises(UnreachableError):
        uploading.upload(cast("Any", weak), tmp_path / "image", "web")
    uploading.upload(cast("Any", weak), tmp_path / "image", "web")
    assert weak.arrived == b"x" * 1000
