"""The orchestrator's side of the optical network: where circuits are remembered."""
