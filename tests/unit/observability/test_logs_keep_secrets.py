"""What a log tells of an error, in both forms: the way it took, never the values on that way."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import structlog
from observability import configure_logs

configure_logs("test", form={form!r})

def seal(key):
    raise RuntimeError("the seal broke")

try:
    seal(bytearray(b"top" + b"secret" + b"key"))
except RuntimeError:
    structlog.get_logger("x").exception("it happened")
"""


@pytest.mark.parametrize("form", ["json", "readable"])
def test_a_traceback_shows_no_value(form: str) -> None:
    program = _PROGRAM.format(form=form)
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stderr
    assert "the seal broke" in said
    assert "in seal" in said
    assert "topsecretkey" not in said
