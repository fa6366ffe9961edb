"""Web pages for administrators and users, on top of the orchestrator's rooms and its own REST."""
