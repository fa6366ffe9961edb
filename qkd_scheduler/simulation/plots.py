"""Pictures of a simulation: levels over time, and whom each Alice serves (Gantt)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qkd_scheduler.simulation.outcome import Outcome

_HOUR_S: Final = 3600.0
_LARGEST_LEGEND: Final = 16
_SET_UP_COLOUR: Final = "0.8"
_FAILED_COLOUR: Final = "tab:red"


def save(outcome: Outcome, folder: Path, *, hours: float | None = None) -> list[Path]:
    """Write `levels.png` and `gantt.png`; of the first `hours`, or all. Needs a recorded outcome.

    `OSError` if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until_h = hours if hours is not None else max(p[-1][0] for p in outcome.levels.values()) / 3600
    written = []
    for name, draw in (("levels", _levels), ("gantt", _gantt)):
        figure = Figure(figsize=(11, 6), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, outcome, until_h)
        axes.set_xlim(0, until_h)
        axes.set_xlabel("hours of QKD time")
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120)
        written.append(path)
    return written


def _levels(axes: Axes, outcome: Outcome, until_h: float) -> None:
    for name, points in outcome.levels.items():
        shown = [point for point in points if point[0] <= until_h * _HOUR_S * 1.1]
        hours = [at_s / _HOUR_S for at_s, _ in shown]
        axes.plot(hours, [level_bit / 1e3 for _, level_bit in shown], linewidth=1, label=name)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("key pool, kbit")
    axes.set_title("Key pools")
    if len(outcome.levels) <= _LARGEST_LEGEND:
        axes.legend(loc="upper right")


def _gantt(axes: Axes, outcome: Outcome, until_h: float) -> None:
    names = [bob.name for bob in outcome.bobs]
    row = {name: number for number, name in enumerate(names)}
    for turn in outcome.turns:
        if turn.start_s / _HOUR_S > until_h:
            continue
        spans = [
            (turn.start_s, turn.generating_s, _FAILED_COLOUR if turn.failed else _SET_UP_COLOUR),
            (turn.generating_s, turn.end_s, f"C{turn.alice % 10}"),
        ]
        for begin_s, end_s, colour in spans:
            width_h = (end_s - begin_s) / _HOUR_S
            axes.broken_barh(
                [(begin_s / _HOUR_S, width_h)], (row[turn.bob] - 0.4, 0.8), facecolors=colour
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title("Turns")
    alices = sorted({turn.alice for turn in outcome.turns})
    handles = [Patch(color=_SET_UP_COLOUR, label="set-up")]
    handles += [Patch(color=f"C{a % 10}", label=f"Alice {a + 1}") for a in alices[:_LARGEST_LEGEND]]
    if outcome.failed_turns:
        handles.append(Patch(color=_FAILED_COLOUR, label="failed set-up"))
    axes.legend(handles=handles, loc="upper right")
