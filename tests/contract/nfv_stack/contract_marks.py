"""Marks of tests that need a real OpenStack."""

from __future__ import annotations

import pytest

OPENSTACK_MARKS = [pytest.mark.real("openstack"), pytest.mark.timeout(900)]
