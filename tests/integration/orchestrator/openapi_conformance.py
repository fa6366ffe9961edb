"""What our OpenAPI says of SOL003's interfaces, held against the answers to whatever it allows.

`make conformance` runs it; it is not among the tests that are found by name.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import schemathesis
from account_room import AccountRoom
from csar_builder import disk
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def there(room: AccountRoom) -> dict[str, str]:
    """Ids of what there is, by the name that paths have for them."""
    client = room.owner()
    assert client.post("/api/v1/images?name=router", content=disk()).status_code == 201
    (image,) = client.get("/vnfpkgm/v1/vnf_packages").json()
    instance = client.post("/vnflcm/v1/vnf_instances", json={"vnfdId": image["vnfdId"]}).json()
    path = f"/vnflcm/v1/vnf_instances/{instance['id']}"
    changed = client.patch(path, json={"vnfInstanceName": "one"})
    package = client.post("/vnfpkgm/v1/vnf_packages", json={}).json()
    return {
        "vnf_instance_id": instance["id"],
        "vnf_package_id": package["id"],
        "occurrence_id": changed.headers["Location"].rpartition("/")[2],
    }


def test_answers_are_as_described(room: AccountRoom, there: dict[str, str]) -> None:
    client = room.owner()
    document = client.get("/openapi.json").json()
    described = schemathesis.openapi.from_dict(document).include(path_regex="^/vnf(lcm|pkgm)/")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        hold(operation, client, there)


def hold(operation: Any, client: TestClient, there: dict[str, str]) -> None:
    @settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        if case.method != "DELETE":  # what is there stays
            for name, known in there.items():
                if _is_uuid((case.path_parameters or {}).get(name)):
                    case.path_parameters[name] = known
        request = case.as_transport_kwargs(base_url="http://127.0.0.1")
        content = request.pop("data", None)
        answer = client.request(
            **{
                name: request[name]
                for name in ("method", "url", "params", "json", "headers")
                if request.get(name) is not None
            },
            **({"content": content} if isinstance(content, bytes | str) else {}),
            follow_redirects=False,
        )
        case.validate_response(answer, checks=CHECKS)

    check()


def _is_uuid(text: object) -> bool:
    try:
        UUID(str(text))
    except ValueError:
        return False
    return True
