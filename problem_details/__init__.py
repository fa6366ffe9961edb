"""Errors that speak to a person, and their form on REST (RFC 9457, `application/problem+json`).

Every package has a tree of its own whose root derives from `ProblemError`; a service maps the
classes to HTTP statuses in one table and hands that table to `problem_details.rest`.
"""

from problem_details.problem import Problem, ProblemError

__all__ = ["Problem", "ProblemError"]
