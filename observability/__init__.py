"""How a service tells what it does: structured logs (JSON in services, readable on a terminal)."""

from observability.logs import configure_logs

__all__ = ["configure_logs"]
