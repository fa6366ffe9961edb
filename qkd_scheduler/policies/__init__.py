"""Policies: pure functions from what is seen of the Bobs to the one that Alice serves next."""

from qkd_scheduler.policies.view import BobView, Choice, Policy

__all__ = ["BobView", "Choice", "Policy"]
