"""Policies: pure functions from what is seen of the Bobs to the one that Alice serves next."""

from qkd_scheduler.policies.view import KEY_BIT, BobView, Choice, Deadline, Policy

__all__ = ["KEY_BIT", "BobView", "Choice", "Deadline", "Policy"]
