"""Whole lines through growth, rotation and truncation."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from idq3p.unit_agent.log_follower import LogFollower


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_it_begins_at_the_end_and_gives_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, "old\nhalf an old ")
    follower = LogFollower(path)
    append(path, "line\nfirst\nsec")
    assert follower.new_lines() == ["line", "first"]
    append(path, "ond\r\n")
    assert follower.new_lines() == ["second"]
    assert follower.new_lines() == []
    follower.close()


def test_a_file_that_comes_later_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = LogFollower(path)
    assert follower.new_lines() == []
    append(path, "first\n")
    assert follower.new_lines() == ["first"]
    follower.close()


def test_rotation_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, "")
    follower = LogFollower(path)
    append(path, "1\n")
    assert follower.new_lines() == ["1"]
    append(path, "2\n")
    path.rename(tmp_path / "log.1")
    assert follower.new_lines() == ["2"], "between the two steps of a rotation"
    append(tmp_path / "log.1", "3\n")
    append(path, "4\n")
    assert follower.new_lines() == ["3", "4"]
    follower.close()


def test_truncation_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, "")
    follower = LogFollower(path)
    append(path, "a long first line\n")
    follower.new_lines()
    path.write_text("2\n")
    assert follower.new_lines() == ["2"]
    follower.close()


def test_an_endless_line_is_dropped_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, "")
    follower = LogFollower(path)
    for _ in range(5):
        append(path, "x" * 60_000)
        assert follower.new_lines() == []
    append(path, "\nnext\n")
    assert follower.new_lines() == ["next"]
    follower.close()


@given(
    pieces=st.lists(st.text(alphabet="ab\n", max_size=12), max_size=12),
    rotated=st.sets(st.integers(0, 11)),
)
def test_however_it_is_cut_the_lines_are_the_same(
    tmp_path_factory: object, pieces: list[str], rotated: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]
    path = folder / "log"
    append(path, "")
    follower = LogFollower(path)
    seen: list[str] = []
    expected: list[str] = []
    written = ""
    for number, piece in enumerate(pieces):
        if number in rotated:
            path.rename(folder / f"log.{number}")
            expected += written.split("\n")[:-1]
            written = ""
            append(path, "")
        append(path, piece)
        written += piece
        seen += follower.new_lines()
    expected += written.split("\n")[:-1]
    assert seen == expected
    follower.close()
