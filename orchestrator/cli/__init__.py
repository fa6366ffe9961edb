"""The command `qnfv`: a client of the orchestrator's REST, plus `serve` and what others plug in."""
