"""Tables of the orchestrator."""
