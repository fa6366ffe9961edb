"""Turns as bars of text: a row for each link, time from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_MARKS: Final = {
    "idle": ("·", "dim"),
    "set-up": ("░", "yellow"),
    "generating": ("█", "green"),
    "failed": ("▒", "red"),
    "planned set-up": ("░", "dim yellow"),
    "planned generating": ("▓", "dim green"),
}


@dataclass(frozen=True)
class Bar:
    """A turn; times in s on the picture's own axis. `generates_s` None: it never did."""

    starts_s: float
    generates_s: float | None
    ends_s: float
    failed: bool = False
    planned: bool = False

    def kind_at(self, time_s: float) -> str:
        if self.failed:
            return "failed"
        generates = self.generates_s is not None and time_s >= self.generates_s
        kind = "generating" if generates else "set-up"
        return f"planned {kind}" if self.planned else kind


def gantt(
    rows: Mapping[str, Sequence[Bar]],
    from_s: float,
    to_s: float,
    axis: Sequence[str],
    *,
    now_s: float | None = None,
    width: int = 60,
) -> RenderableType:
    """One line a row, an axis of labels below it; `now_s` is marked on each line."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    step_s = (to_s - from_s) / width
    now = None if now_s is None else min(width - 1, max(0, int((now_s - from_s) / step_s)))
    for name, bars in rows.items():
        grid.add_row(Text(name, style="bold"), _line(bars, from_s, step_s, width, now))
    grid.add_row("", _axis(axis, width))
    grid.add_row("", _legend(rows))
    return grid


def _line(bars: Sequence[Bar], from_s: float, step_s: float, width: int, now: int | None) -> Text:
    line = Text()
    for column in range(width):
        if column == now:
            line.append("│", style="bold cyan")
            continue
        mark, style = _MARKS[_kind(bars, from_s + column * step_s, step_s)]
        line.append(mark, style=style)
    return line


def _kind(bars: Sequence[Bar], start_s: float, step_s: float) -> str:
    """What fills most of this column; a turn shorter than a column still shows."""
    longest, kind = 0.0, "idle"
    for bar in bars:
        overlap_s = min(bar.ends_s, start_s + step_s) - max(bar.starts_s, start_s)
        if overlap_s > longest:
            middle_s = max(bar.starts_s, start_s) + overlap_s / 2
            longest, kind = overlap_s, bar.kind_at(middle_s)
    return kind


def _axis(labels: Sequence[str], width: int) -> Text:
    """Labels spread evenly: the first at the left end, the last at the right one."""
    line = [" "] * width
    for number, label in enumerate(labels):
        share = number / (len(labels) - 1) if len(labels) > 1 else 0.0
        start = min(width - len(label), max(0, round(share * (width - len(label)))))
        line[start : start + len(label)] = label
    return Text("".join(line), style="dim")


def _legend(rows: Mapping[str, Sequence[Bar]]) -> Text:
    kinds = {"set-up", "generating"}
    for bars in rows.values():
        for bar in bars:
            kinds |= {"failed"} if bar.failed else set()
            kinds |= {"planned set-up", "planned generating"} if bar.planned else set()
    legend = Text()
    for kind, (mark, style) in _MARKS.items():
        if kind in kinds:
            legend.append(f"{mark} ", style=style).append(f"{kind}  ", style="dim")
    return legend
