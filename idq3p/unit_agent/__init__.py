"""The agent beside a QKD unit: starts and stops `QKDSequence`, reads its log, tells its phase.

Others import `contract` and `client` alone.
"""
