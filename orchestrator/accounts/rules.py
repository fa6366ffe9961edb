"""Which role may call which endpoint: the one table.

A request that more than one line matches needs the highest of their roles. What no line matches is
open to nobody but administrators, who then learn from the service itself that there is no such
thing; a test says that every endpoint has its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.routing import compile_path

from orchestrator.accounts.identity import Role

SIGN_IN = "POST /api/v1/session"
OPEN = ("GET /api/v1/health", SIGN_IN, "GET /sign-in", "GET /static/{version}/{name:path}")
_QKD015 = "/restconf/data/etsi-qkd-sdn-node:qkd_node"

ENDPOINTS: dict[Role, tuple[str, ...]] = {
    Role.VIEWER: (
        "GET /",
        "GET /gui/events",
        "GET /keys",
        "GET /keys/trace",
        "GET /network",
        "GET /accounts",
        "GET /data-centres",
        "GET /deploy",
        "GET /deployments",
        "GET /deployments/{deployment_id}",
        "GET /images",
        "GET /operations",
        "GET /operations/{operation_id}",
        "GET /password",
        "GET /schedule",
        "GET /api/v1/me",
        "PUT /api/v1/me/password",
        "DELETE /api/v1/session",
        "GET /api/v1/tokens",
        "POST /api/v1/tokens",
        "DELETE /api/v1/tokens/{token_id}",
        "GET /api/v1/alarms",
        "GET /api/v1/circuits",
        "GET /api/v1/circuits/{circuit_id}",
        "GET /api/v1/data-centres",
        "GET /api/v1/data-centres/{name}",
        "GET /api/v1/data-centres/{name}/capacity",
        "GET /api/v1/deployments",
        "GET /api/v1/deployments/{deployment_id}",
        "GET /api/v1/deployments/{deployment_id}/instance",
        "POST /api/v1/deployments/plan",
        "GET /api/v1/images",
        "GET /api/v1/images/{reference}",
        "GET /api/v1/keys",
        "GET /api/v1/keys/hops",
        "GET /api/v1/keys/links/{link}/quarantine",
        "GET /api/v1/keys/{key_id}/trace",
        "GET /api/v1/network",
        "GET /api/v1/network/drift",
        "GET /api/v1/network/paths",
        "GET /api/v1/operations",
        "GET /api/v1/operations/{operation_id}",
        "GET /api/v1/operations/{operation_id}/events",
        "GET /api/v1/projects",
        "GET /api/v1/projects/{name}",
        "GET /api/v1/relays",
        "GET /api/v1/schedule",
        "GET /api/v1/schedule/plan",
        "GET /api/v1/schedule/pools",
        "GET /api/v1/schedule/promises",
        "GET /api/v1/transfers",
        "GET /metrics",
        "GET /openapi.json",
        "GET /qkd-nodes",
        "GET /restconf/data/ietf-network:networks",
        "GET /vnflcm/api_versions",
        "GET /vnflcm/v1/api_versions",
        "GET /vnflcm/v1/vnf_instances",
        "GET /vnflcm/v1/vnf_instances/{vnf_instance_id}",
        "GET /vnflcm/v1/vnf_lcm_op_occs",
        "GET /vnflcm/v1/vnf_lcm_op_occs/{occurrence_id}",
        "GET /vnfpkgm/api_versions",
        "GET /vnfpkgm/v1/api_versions",
        "GET /vnfpkgm/v1/vnf_packages",
        "GET /vnfpkgm/v1/vnf_packages/{vnf_package_id}",
        "GET /vnfpkgm/v1/vnf_packages/{vnf_package_id}/vnfd",
        f"GET {_QKD015}",
        f"GET {_QKD015}/{{path:path}}",
        f"GET /qkd-nodes/{{node}}{_QKD015}",
        f"GET /qkd-nodes/{{node}}{_QKD015}/{{path:path}}",
    ),
    Role.OPERATOR: (
        "GET /audit",
        "GET /api/v1/audit",
        "GET /api/v1/audit/verify",
        "POST /api/v1/alarms/{alarm_id}/acknowledge",
        "POST /api/v1/circuits",
        "DELETE /api/v1/circuits/{circuit_id}",
        "GET /api/v1/deployments/{deployment_id}/console",
        "POST /api/v1/deployments",
        "POST /api/v1/deployments/{deployment_id}/heal",
        "POST /api/v1/deployments/{deployment_id}/operate",
        "DELETE /api/v1/deployments/{deployment_id}",
        "POST /api/v1/operations/{operation_id}/cancel",
        "POST /api/v1/operations/{operation_id}/fail",
        "POST /api/v1/operations/{operation_id}/retry",
        "POST /api/v1/operations/{operation_id}/rollback",
        "POST /api/v1/images",
        "DELETE /api/v1/images/{reference}",
        "GET /api/v1/uploads",
        "POST /api/v1/uploads",
        "GET /api/v1/uploads/{upload_id}",
        "PATCH /api/v1/uploads/{upload_id}",
        "DELETE /api/v1/uploads/{upload_id}",
        "PUT /api/v1/schedule/bobs/{link}/pin",
        "DELETE /api/v1/schedule/bobs/{link}/pin",
        "PUT /api/v1/schedule/bobs/{link}/exclude",
        "DELETE /api/v1/schedule/bobs/{link}/exclude",
        "POST /api/v1/schedule/bobs/{link}/keys-now",
        "GET /vnflcm/v1/subscriptions",
        "POST /vnflcm/v1/subscriptions",
        "GET /vnflcm/v1/subscriptions/{subscription_id}",
        "DELETE /vnflcm/v1/subscriptions/{subscription_id}",
        "POST /vnfpkgm/v1/vnf_packages",
        "PATCH /vnfpkgm/v1/vnf_packages/{vnf_package_id}",
        "DELETE /vnfpkgm/v1/vnf_packages/{vnf_package_id}",
        "GET /vnfpkgm/v1/vnf_packages/{vnf_package_id}/package_content",
        "PUT /vnfpkgm/v1/vnf_packages/{vnf_package_id}/package_content",
        "GET /vnfpkgm/v1/vnf_packages/{vnf_package_id}/artifacts/{artifact_path:path}",
        "POST /vnflcm/v1/vnf_instances",
        "PATCH /vnflcm/v1/vnf_instances/{vnf_instance_id}",
        "DELETE /vnflcm/v1/vnf_instances/{vnf_instance_id}",
        "POST /vnflcm/v1/vnf_instances/{vnf_instance_id}/instantiate",
        "POST /vnflcm/v1/vnf_instances/{vnf_instance_id}/terminate",
        "POST /vnflcm/v1/vnf_instances/{vnf_instance_id}/operate",
        "POST /vnflcm/v1/vnf_instances/{vnf_instance_id}/heal",
        "POST /vnflcm/v1/vnf_instances/{vnf_instance_id}/scale",
        "POST /vnflcm/v1/vnf_instances/{vnf_instance_id}/scale_to_level",
        "POST /vnflcm/v1/vnf_lcm_op_occs/{occurrence_id}/retry",
        "POST /vnflcm/v1/vnf_lcm_op_occs/{occurrence_id}/rollback",
        "POST /vnflcm/v1/vnf_lcm_op_occs/{occurrence_id}/fail",
        "POST /vnflcm/v1/vnf_lcm_op_occs/{occurrence_id}/cancel",
    ),
    Role.ADMINISTRATOR: (
        "POST /api/v1/projects",
        "DELETE /api/v1/projects/{name}",
        "PUT /api/v1/projects/{name}/members/{user}",
        "DELETE /api/v1/projects/{name}/members/{user}",
        "GET /api/v1/users",
        "POST /api/v1/users",
        "GET /api/v1/users/{name}",
        "DELETE /api/v1/users/{name}",
        "PUT /api/v1/users/{name}/password",
        "PUT /api/v1/users/{name}/role",
        "POST /api/v1/keys/links/{link}/quarantine/{turn}/release",
        "POST /api/v1/keys/links/{link}/quarantine/{turn}/burn",
        "POST /api/v1/network/drift/repair",
    ),
}

CHANGES_NOTHING = frozenset({"POST /api/v1/deployments/plan"})
"""Although its method says otherwise: the audit has no record of it."""
STREAMS = frozenset(
    {
        "POST /api/v1/images",
        "PATCH /api/v1/uploads/{upload_id}",
        "PUT /vnfpkgm/v1/vnf_packages/{vnf_package_id}/package_content",
    }
)
"""The body is taken piece by piece, without the limit of documents."""
OWN_PASSWORD = frozenset(
    {"GET /api/v1/me", "PUT /api/v1/me/password", "DELETE /api/v1/session", "GET /password"}
)
"""What is left to somebody who must set a password of his own first."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Rule:
    """One endpoint, `METHOD /path/{name}`; `role` is None where it is open to everybody."""

    endpoint: str
    role: Role | None
    subjects: Mapping[str, str] = field(default_factory=dict)
    """What the placeholders of the path stand for in the request at hand."""
    is_listed: bool = True
    """Whether the table has a line for it."""

    @property
    def changes(self) -> bool:
        method = self.endpoint.partition(" ")[0]
        return method not in SAFE_METHODS and self.endpoint not in CHANGES_NOTHING


def _lines() -> list[tuple[str, re.Pattern[str], Rule]]:
    rules = [Rule(endpoint, None) for endpoint in OPEN]
    rules += [Rule(endpoint, role) for role in Role for endpoint in ENDPOINTS[role]]
    lines = []
    for rule in rules:
        method, _, path = rule.endpoint.partition(" ")
        lines.append((method, compile_path(path)[0], rule))
    return lines


_LINES = _lines()
_HEIGHT: dict[Role | None, int] = {None: 0, **{role: 1 + at for at, role in enumerate(Role)}}


def rule_for(method: str, path: str) -> Rule:
    """The rule of a request."""
    asked = "GET" if method == "HEAD" else method
    found = [
        Rule(rule.endpoint, rule.role, match.groupdict())
        for its_method, pattern, rule in _LINES
        if its_method == asked and (match := pattern.match(path))
    ]
    if not found:
        return Rule(f"{method} {path}", Role.ADMINISTRATOR, is_listed=False)
    return max(found, key=lambda rule: _HEIGHT[rule.role])
