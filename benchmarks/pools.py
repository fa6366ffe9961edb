"""The key pools of a laboratory that is measured."""

from __future__ import annotations

import time

from orchestrator.cli.client import OrchestratorClient

_LIMIT_S = 240.0


def await_quiet_pools(client: OrchestratorClient) -> None:
    """Until every pool is full and Alice rests: her turns would compete for the processors."""
    deadline_s = time.monotonic() + _LIMIT_S
    while True:
        pools = client.get("/api/v1/keys")
        turns = client.get("/api/v1/schedule", limit=1)["turns"]
        full = all(pool["level_keys"] >= pool["target_keys"] for pool in pools)
        if full and turns and turns[0]["ended_at"]:
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError("the key pools were not filled")
        time.sleep(0.1)
