"""The gateway: what the central orchestrator can ask of this data centre, over mutual TLS."""
