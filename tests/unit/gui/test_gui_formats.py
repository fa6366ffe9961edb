"""Numbers, durations and times in words; ways back after signing in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gui.formats import (
    ago,
    bps_text,
    bytes_text,
    count_text,
    duration_text,
    relative_text,
    short_id,
)
from orchestrator.gui.return_path import path_of, return_path, sign_in_path

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1250, "1.25 kB"), (24_000_000, "24.0 MB"), (999_960, "1.00 MB")],
)
def test_bytes(value: float, text: str) -> None:
    assert bytes_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0.4 s"), (7, "7 s"), (59.7, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(value: float, text: str) -> None:
    assert duration_text(value) == text


def test_rates_and_counts() -> None:
    assert bps_text(2471.0) == "2.47 kbit/s"
    assert bps_text(None) == "–"
    assert count_text(12345) == "12\u202f345"


@given(st.floats(min_value=0, max_value=1e9))
def test_a_duration_has_two_units_at_most_and_is_near(seconds: float) -> None:
    units = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
    words = duration_text(seconds).split()
    told = sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert len(words) in (2, 4)
    assert abs(told - seconds) <= max(0.5, seconds / 24)


@given(st.floats(min_value=-1e8, max_value=1e8))
def test_relative_times_say_which_side_of_now(seconds: float) -> None:
    text = relative_text(seconds)
    if abs(seconds) < 1.5:
        assert text == "now"
    else:
        assert text.endswith(" ago") if seconds < 0 else text.startswith("in ")


def test_what_came_from_elsewhere_is_escaped() -> None:
    assert "<script>" not in short_id("<script>alert(1)</script>")
    told = ago(NOW - timedelta(minutes=3), NOW)
    assert told == (
        '<time datetime="2026-01-02T03:01:05+00:00" title="2026-01-02 03:01:05 UTC" '
        "data-relative>3 min ago</time>"
    )


@pytest.mark.parametrize("path", ["/", "/schedule", "/operations/1?x=%20y", "/keys?hours=24"])
def test_own_pages_are_gone_back_to(path: str) -> None:
    assert return_path(path) == path


@pytest.mark.parametrize(
    "wish",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "schedule",
        "",
        "/a\nb",
        "/a\\b",
        "/sign-in?next=/sign-in",
        "/api/v1/me",
    ],
)
def test_nothing_else_is_gone_to(wish: str) -> None:
    assert return_path(wish) == "/"


@given(st.text())
def test_no_wish_leads_to_another_site(wish: str) -> None:
    path = return_path(wish)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))


def test_the_way_to_sign_in_knows_the_way_back() -> None:
    assert sign_in_path("/schedule?hours=1") == "/sign-in?next=/schedule%3Fhours%3D1"
    assert sign_in_path("/") == "/sign-in"
    assert path_of("http://127.0.0.1:1/keys?hours=6#x") == "/keys?hours=6"
