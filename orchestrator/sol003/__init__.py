"""North-bound in the terms of ETSI GS NFV-SOL 003 v2.6.1: `/vnflcm/v1` and `/vnfpkgm/v1`.

Documents and mapping alone: the work is that of `orchestrator.vnf_lcm`, of which a VNF instance is
a deployment and an LCM operation occurrence an operation. What is supported: `docs/sol003.md`.
"""
