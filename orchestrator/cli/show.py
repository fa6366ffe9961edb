"""How documents look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

console = Console()
errors = Console(stderr=True)

_STEP_LOOK = {
    "PENDING": ("·", "dim"),
    "RUNNING": ("▶", "bold cyan"),
    "DONE": ("✔", "green"),
    "FAILED": ("✘", "bold red"),
    "UNDOING": ("↺", "yellow"),
    "UNDONE": ("↺", "yellow"),
    "UNDO_PENDING": ("!", "bold yellow"),
}
_IDS = ("operation", "deployment", "circuit", "package")
_STATE_LOOK = {
    "COMPLETED": "bold green",
    "RUNNING": "bold green",
    "STOPPED": "yellow",
    "ROLLED_BACK": "bold red",
    "FAILED": "bold red",
    "ROLLING_BACK": "yellow",
    "FAILED_TEMP": "bold yellow",
}


def state_text(state: str) -> Text:
    return Text(state, style=_STATE_LOOK.get(state, "cyan"))


def look(text: str, looks: Mapping[str, str], *, otherwise: str = "") -> Text:
    """A word in the style that `looks` gives it."""
    return Text(text, style=looks.get(text, otherwise))


def in_text(moment: str) -> str:
    """How long it is to an ISO moment."""
    seconds = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return f"{_length_text(max(0, seconds))} left"


def size_text(size_bytes: float) -> str:
    """Bytes in decimal units, as disks and lines are measured."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000 or unit == "GB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")


def ago_text(moment: str | None) -> str:
    """How long ago an ISO moment was."""
    if not moment:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return f"{_length_text(max(0, seconds))} ago"


def _length_text(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(columns: Sequence[str], rows: Sequence[Sequence[RenderableType]], empty: str) -> None:
    """Print rows, or what to do where there are none."""
    if not rows:
        console.print(f"[dim]{empty}[/dim]")
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # An id that is broken over two lines cannot be copied.
        grid.add_column(column, overflow="fold", no_wrap=column in _IDS)
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def operation(document: dict[str, Any]) -> RenderableType:
    """An operation with its steps, for a live display."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=2)
    grid.add_column(min_width=11)
    grid.add_column(justify="right", min_width=9)
    grid.add_column(overflow="fold")
    for step in document["steps"]:
        sign, style = _STEP_LOOK[step["state"]]
        seconds = f"{step['seconds']:.3f} s" if step["seconds"] is not None else ""
        grid.add_row(
            Text(sign, style=style),
            Text(step["name"], style=style),
            Text(seconds, style="dim"),
            _step_detail(step, document),
        )
    head = Text.assemble("Operation ", (document["operation_id"][:8], "bold"), "  ")
    return Group(head + state_text(document["state"]), grid, *_error(document), *_held(document))


def _step_detail(step: dict[str, Any], document: dict[str, Any]) -> RenderableType:
    detail = step["detail"]
    if step["state"] in ("FAILED", "UNDONE", "UNDO_PENDING") and step["error"]:
        return Text(step["error"], style="red")
    if step["state"] == "RUNNING" and step["name"] == "stream" and document["bytes_total"]:
        return _stream_bar(document)
    if step["state"] == "PENDING" and "waits" in detail:
        return Text(f"waits: {detail['waits']}", style="yellow")
    if step["state"] != "DONE":
        return Text("")
    return Text(_done_text(step["name"], detail), style="dim")


def _stream_bar(document: dict[str, Any]) -> RenderableType:
    done, total, rate = document["bytes_sent"], document["bytes_total"], document["bytes_per_s"]
    text = f"{size_text(done)} of {size_text(total)}"
    if rate:
        text += f"  {size_text(rate)}/s  {max(0, total - done) / rate:.0f} s left"
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=total, completed=done, width=30), text)
    return line


def _done_text(name: str, detail: dict[str, Any]) -> str:
    match name:
        case "key":
            kind = "emulated" if detail.get("emulated") else "quantum"
            return (
                f"{kind} key {detail.get('key_id')} of {detail.get('link')}, {detail.get('mode')}"
            )
        case "circuit":
            return (
                f"{' + '.join(detail.get('cross_connects', []))}, "
                f"{detail.get('km', 0):g} km, {detail.get('loss_db', 0):g} dB"
            )
        case "announce":
            return f"{size_text(detail.get('image_bytes', 0))} will come"
        case "stream":
            rate = detail.get("bytes_per_s")
            speed = f" at {size_text(rate)}/s" if rate else ""
            return (
                f"{size_text(detail.get('bytes', 0))}{speed}, {detail.get('cipher')}, "
                f"{detail.get('attempts')} attempt(s)"
            )
        case "place":
            return f"verified, held as {str(detail.get('vim_image_id'))[:19]}…"
        case "notify":
            return f"receipt of attempt {detail.get('attempt')} {detail.get('receipt')}"
        case "boot" | "start" | "recreate":
            ends = ", ".join(
                f"{e['port']} at {e['host']}:{e['host_port']}" for e in detail.get("end_points", [])
            )
            return f"{detail.get('vim')} instance {detail.get('instance_id')} {ends}"
        case "acknowledge":
            return f"HTTP {detail.get('http_status')}, key {detail.get('key')}"
        case _:
            return ""


def _held(document: dict[str, Any]) -> list[RenderableType]:
    lines = []
    if document["left_behind"]:
        lines.append(Text(f"Still there: {'; '.join(document['left_behind'])}.", style="yellow"))
    if document["state"] == "FAILED_TEMP":
        ways = ", ".join(document["allowed_actions"])
        lines.append(Text(f"Held. Decide with `qnfv op ...`: {ways}.", style="yellow"))
    return list(lines)


def _error(document: dict[str, Any]) -> list[RenderableType]:
    error = document["error"]
    if not error:
        return []
    lines = [Text(error.get("detail") or error.get("title", ""), style="bold red")]
    if error.get("next_step"):
        lines.append(Text(f"Next: {error['next_step']}", style="yellow"))
    return list(lines)
