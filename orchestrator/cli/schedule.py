"""`qnfv schedule`: Alice's turns, past and planned, and orders about them.

Times are real ones; where a laboratory scales QKD time, that is said beside them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import ClientError, NoSuchThingError
from orchestrator.cli.gantt import Bar, gantt
from orchestrator.cli.output import tell

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

_UNITS_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SHOWN_TURNS: Final = 12
_WATCHED_QKD_S: Final = 7 * 86_400.0
_ENDED: Final = ("done", "failed")


class _WithSimulation(TyperGroup):
    """`simulate` needs no orchestrator, but libraries that load slowly: only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), "simulate"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name != "simulate":
            return super().get_command(ctx, cmd_name)
        from qkd_scheduler.cli import app

        return typer.main.get_command(app)


app = typer.Typer(
    help="Alice's turns: past, planned, and orders about them.",
    no_args_is_help=True,
    cls=_WithSimulation,
)

Link = Annotated[str, typer.Argument(help="a QKD link, its Bob, or its data centre")]
Interrupt = Annotated[
    bool, typer.Option("--interrupt", help="end the turn that is on, with the keys that it has")
]
ForHowLong = Annotated[
    str | None, typer.Option("--for", help="real time, as 90, 90s, 5min, 2h or 1d")
]


@app.command("show")
def show_turns(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = _SHOWN_TURNS,
) -> None:
    """Show the present and the past turns, newest first."""
    document = client_of(context).get("/api/v1/schedule", limit=limit)
    tell(context, document, lambda: show.console.print(_turns(document)))


@app.command("plan")
def plan(
    context: typer.Context,
    horizon: Annotated[str | None, typer.Option(help="real time, as 90s, 5min, 2h or 1d")] = None,
) -> None:
    """Show what Alice will do, as far as demands and key rates are foreseen."""
    client = client_of(context)
    asked = {} if horizon is None else {"horizon_s": duration_s(horizon)}
    document = client.get("/api/v1/schedule/plan", **asked)

    def picture() -> None:
        show.console.print(_plan(document))
        show.console.print()
        show.console.print(_pools(client.get("/api/v1/schedule/pools")))

    tell(context, document, picture)


@app.command("pools")
def pools(context: typer.Context) -> None:
    """Show every pool: level, key rate, demand, when keys come and when it runs dry."""
    client = client_of(context)
    document = client.get("/api/v1/schedule/pools")
    tell(context, document, lambda: show.console.print(_pools(document)))


@app.command("watch")
def watch(
    context: typer.Context,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="seconds")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="look so often, then end")] = None,
) -> None:
    """Watch turns, pools and alarms until Ctrl-C."""
    client = client_of(context)
    looks = _looks(client, every_s, count)
    with Live(next(looks), console=show.console, auto_refresh=False) as live:
        try:
            for picture in looks:
                live.update(picture, refresh=True)
        except KeyboardInterrupt:
            pass
    show.console.print()


@app.command("pin")
def pin(
    context: typer.Context,
    link: Link,
    hold: Annotated[bool, typer.Option("--hold", help="keep Alice on him until unpinned")] = False,
    duration: ForHowLong = None,
    interrupt: Interrupt = False,
) -> None:
    """Serve this Bob next, or hold Alice on him."""
    client = client_of(context)
    name = _link(client, link)
    document: dict[str, Any] = {"kind": "hold" if hold else "next", "interrupt": interrupt}
    if duration is not None:
        document["duration_s"] = duration_s(duration)
    orders = client.put(f"/api/v1/schedule/bobs/{name}/pin", document)
    until = f" until {_clock(orders['pinned_until'])}" if orders["pinned_until"] else ""
    what = "Alice is held on" if hold else "Served next:"
    show.console.print(f"{what} [bold]{name}[/bold]{until}.")


@app.command("unpin")
def unpin(context: typer.Context, link: Link) -> None:
    """End a pin; a turn that was held ends in order."""
    client = client_of(context)
    name = _link(client, link)
    client.delete(f"/api/v1/schedule/bobs/{name}/pin")
    show.console.print(f"[bold]{name}[/bold] is not pinned.")


@app.command("exclude")
def exclude(
    context: typer.Context,
    link: Link,
    duration: ForHowLong = None,
    why: Annotated[str, typer.Option(help="for those who look later")] = "",
) -> None:
    """Serve this Bob no more; a turn of his ends."""
    client = client_of(context)
    name = _link(client, link)
    document: dict[str, Any] = {"why": why}
    if duration is not None:
        document["duration_s"] = duration_s(duration)
    orders = client.put(f"/api/v1/schedule/bobs/{name}/exclude", document)
    until = f" until {_clock(orders['excluded_until'])}" if orders["excluded_until"] else ""
    show.console.print(f"[bold]{name}[/bold] is excluded{until}.")


@app.command("include")
def include(context: typer.Context, link: Link) -> None:
    """Serve an excluded Bob again."""
    client = client_of(context)
    name = _link(client, link)
    client.delete(f"/api/v1/schedule/bobs/{name}/exclude")
    show.console.print(f"[bold]{name}[/bold] is served again.")


@app.command("keys-now")
def keys_now(context: typer.Context, link: Link, interrupt: Interrupt = False) -> None:
    """Ask for keys of this link now."""
    client = client_of(context)
    name = _link(client, link)
    answer = client.post(f"/api/v1/schedule/bobs/{name}/keys-now", {"interrupt": interrupt})
    expected_s = answer["keys_expected_in_s"]
    when = "not foreseeable" if expected_s is None else f"expected {in_text(expected_s)}"
    show.console.print(f"Keys of [bold]{name}[/bold]: {when}.")


@app.command("promises")
def promises(context: typer.Context) -> None:
    """List what was promised to deployments, newest first."""
    document = client_of(context).get("/api/v1/schedule/promises")
    tell(context, document, lambda: _show_promises(document))


def _show_promises(document: dict[str, Any]) -> None:
    show.table(
        ["operation", "link", "bits", "asked", "promised", "ended", "outcome"],
        [
            [
                p["operation_id"],
                p["link"],
                f"{p['bits']:,}",
                show.ago_text(p["asked_at"]),
                _clock(p["promised_at"]),
                show.ago_text(p["ended_at"]),
                _outcome(p["outcome"]),
            ]
            for p in document["promises"]
        ],
        "Nothing was promised yet.",
    )
    if document["kept_share"] is not None:
        show.console.print(f"Kept: {document['kept_share']:.0%} of those that are over.")


@app.command("alarms")
def alarms(
    context: typer.Context,
    acknowledge: Annotated[
        str | None, typer.Option(help="the beginning of an alarm's id, or `all`")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="acknowledged ones too")] = False,
) -> None:
    """List alarms, newest first, or acknowledge them."""
    client = client_of(context)
    if acknowledge is not None:
        for alarm_id in _alarm_ids(client, acknowledge):
            client.post(f"/api/v1/alarms/{alarm_id}/acknowledge", {})
    document = client.get("/api/v1/alarms", acknowledged=everything)
    nothing = Text("No alarm is open.", style="dim")
    tell(context, document, lambda: show.console.print(_alarms(document) or nothing))


# --- words in ------------------------------------------------------------------------------------


def duration_s(text: str) -> float:
    """`90`, `90s`, `5min`, `2h`, `1d` in seconds. Raises ClientError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)?", text.strip())
    if match is None:
        raise ClientError(
            f"{text!r} is not a time.", next_step="Write it as 90, 90s, 5min, 2h or 1d."
        )
    return float(match[1]) * _UNITS_S[match[2] or "s"]


def _link(client: OrchestratorClient, reference: str) -> str:
    """The link of this name, of this Bob, or of this data centre."""
    known = client.get("/api/v1/keys")
    for pool in known:
        link = str(pool["link"])
        if reference in (link, pool["data_centre"], link.partition("--")[2]):
            return link
    names = ", ".join(sorted(pool["link"] for pool in known))
    raise NoSuchThingError(
        f"There is no QKD link, Bob or data centre {reference}.", next_step=f"Use one of: {names}."
    )


def _alarm_ids(client: OrchestratorClient, reference: str) -> list[str]:
    ids = [str(alarm["alarm_id"]) for alarm in client.get("/api/v1/alarms")]
    found = ids if reference == "all" else [i for i in ids if i.startswith(reference)]
    if reference != "all" and len(found) != 1:
        many = f"{len(found)} alarms begin" if found else "No open alarm begins"
        raise NoSuchThingError(
            f"{many} with {reference}.", next_step="`qnfv schedule alarms` lists them."
        )
    return found


# --- pictures ------------------------------------------------------------------------------------


def duration_text(seconds: float) -> str:
    """In the largest unit that fits, with two or three digits."""
    for unit in ("d", "h", "min"):
        if seconds >= _UNITS_S[unit]:
            return f"{seconds / _UNITS_S[unit]:.3g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def in_text(seconds: float) -> str:
    return "now" if seconds < 0.05 else f"in {duration_text(seconds)}"


def _clock(moment: str | None) -> str:
    """A moment of today as a time, any other with its date."""
    if moment is None:
        return "-"
    local = datetime.fromisoformat(moment).astimezone()
    same_day = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M")


def _outcome(outcome: str | None) -> Text:
    style = {"kept": "green", "broken": "bold red", "withdrawn": "dim"}
    return Text(outcome or "open", style=style.get(outcome or "", "cyan"))


def _scale_note(scale: float) -> Text:
    if scale == 1.0:
        return Text()
    return Text(
        f"Times are real; QKD time runs {scale:g}x: 1 s here is "
        f"{duration_text(scale)} of QKD time.",
        style="dim",
    )


def _turns(document: dict[str, Any]) -> RenderableType:
    turns = document["turns"]
    if not turns:
        return Text("Alice had no turn yet.", style="dim")
    several = len({turn["alice"] for turn in turns}) > 1
    table = _table("turn", *(["Alice"] if several else []), "link", "state", "set-up", "dwell",
                   "keys", "key rate", "QBER", "began", "detail")  # fmt: skip
    scale = document["time_scale"]
    for turn in turns:
        table.add_row(
            str(turn["number"]),
            *([turn["alice"]] if several else []),
            turn["link"],
            show.state_text(turn["state"].upper()),
            *_phases(turn, scale),
            str(turn["gained_keys"] or "-"),
            f"{turn['secret_key_rate_bps']:.0f} b/s" if turn["secret_key_rate_bps"] else "-",
            _qber(turn),
            show.ago_text(turn["started_at"]),
            _detail(turn),
        )
    return Group(table, Text(), _past(turns), _scale_note(scale))


def _phases(turn: dict[str, Any], scale: float) -> tuple[str, str]:
    """Set-up and dwell in QKD time; of a present turn so far."""
    start, generating, draining, end = (
        None if turn[key] is None else datetime.fromisoformat(turn[key])
        for key in ("started_at", "generating_at", "draining_at", "ended_at")
    )
    now = datetime.now(UTC)
    assert start is not None
    ready = generating or end or now
    set_up = duration_text((ready - start).total_seconds() * scale)
    if generating is None:
        return set_up, "-"
    return set_up, duration_text(((draining or end or now) - generating).total_seconds() * scale)


def _qber(turn: dict[str, Any]) -> str:
    if turn["qber_mean"] is None:
        return "-"
    return f"{turn['qber_mean']:.2%} (max {turn['qber_max']:.2%})"


def _detail(turn: dict[str, Any]) -> Text:
    if turn["state"] == "failed":
        return Text(f"{turn['fault'] or ''}: {turn['detail']}".lstrip(": "), style="red")
    return Text("" if turn["detail"] == f"{turn['gained_keys']} keys" else turn["detail"])


def _past(turns: list[dict[str, Any]]) -> RenderableType:
    now = datetime.now(UTC)
    starts = [datetime.fromisoformat(turn["started_at"]) for turn in turns]
    from_s = (min(starts) - now).total_seconds()
    rows = {link: _bars(turns, link, now) for link in sorted({turn["link"] for turn in turns})}
    return gantt(rows, from_s, 0.0, [f"{duration_text(-from_s)} ago", "now"])


def _bars(turns: list[dict[str, Any]], link: str, now: datetime) -> list[Bar]:
    """Past turns of a link, on an axis in s on which now is 0."""

    def at(moment: str | None) -> float | None:
        if moment is None:
            return None
        return (datetime.fromisoformat(moment) - now).total_seconds()

    return [
        Bar(
            at(turn["started_at"]) or 0.0,
            at(turn["generating_at"]),
            at(turn["ended_at"]) or 0.0,
            failed=turn["state"] == "failed",
        )
        for turn in turns
        if turn["link"] == link
    ]


def _plan(document: dict[str, Any]) -> RenderableType:
    horizon_s, scale = document["horizon_s"], document["time_scale"]
    parts: list[RenderableType] = []
    for alice in document["alices"]:
        turns = alice["turns"]
        if len(document["alices"]) > 1:
            parts.append(Text(alice["alice"], style="bold underline"))
        if not turns:
            parts.append(Text(f"Alice rests: nobody needs her within {duration_text(horizon_s)}."))
            continue
        to_s = min(horizon_s, max(turn["ends_in_s"] for turn in turns))
        rows = {link: _planned(turns, link) for link in sorted({turn["link"] for turn in turns})}
        axis = ["now", in_text(to_s / 2), in_text(to_s)]
        parts += [gantt(rows, 0.0, to_s, axis), Text(), _planned_table(turns)]
    return Group(*parts, _scale_note(scale))


def _planned(turns: list[dict[str, Any]], link: str) -> list[Bar]:
    return [
        Bar(
            turn["starts_in_s"],
            turn["generates_in_s"],
            turn["ends_in_s"],
            planned=not turn["under_way"],
        )
        for turn in turns
        if turn["link"] == link
    ]


def _planned_table(turns: list[dict[str, Any]]) -> RenderableType:
    table = _table("link", "begins", "first keys", "ends", "QKD set-up", "QKD dwell", "keys")
    for turn in turns[:_SHOWN_TURNS]:
        table.add_row(
            turn["link"],
            Text("under way", style="cyan") if turn["under_way"] else in_text(turn["starts_in_s"]),
            in_text(turn["generates_in_s"]),
            in_text(turn["ends_in_s"]),
            duration_text(turn["qkd_set_up_s"]),
            duration_text(turn["qkd_dwell_s"]),
            str(turn["gained_keys"]),
        )
    if len(turns) > _SHOWN_TURNS:
        more = len(turns) - _SHOWN_TURNS
        return Group(table, Text(f"and {more} more (-o json lists all)", style="dim"))
    return table


def _pools(pools: list[dict[str, Any]]) -> RenderableType:
    if not pools:
        return Text("No Bob is configured.", style="dim")
    several = len({pool["alice"] for pool in pools}) > 1
    table = _table("link", *(["Alice"] if several else []), "level", "target", "key rate",
                   "demand", "QKD set-up", "next keys", "runs dry", "orders")  # fmt: skip
    for pool in pools:
        about = "" if pool["measured"] else "~"
        table.add_row(
            pool["link"],
            *([pool["alice"]] if several else []),
            _level(pool),
            str(pool["target_keys"]),
            about + _rate(pool["rate_bps"]),
            _rate(pool["demand_bps"]),
            about + duration_text(pool["set_up_qkd_s"]),
            "-" if pool["next_keys_in_s"] is None else in_text(pool["next_keys_in_s"]),
            _dry(pool),
            _orders(pool),
        )
    if all(pool["measured"] for pool in pools):
        return table
    return Group(table, Text("~ by the line's physics, not measured yet", style="dim"))


def _rate(rate_bps: float) -> str:
    return f"{rate_bps:,.0f} b/s" if rate_bps >= 100 else f"{rate_bps:.3g} b/s"


def _level(pool: dict[str, Any]) -> Text:
    text = Text(f"{pool['level_keys']} of {pool['capacity_keys']}")
    if pool["level_keys"] == 0:
        text.stylize("bold red")
    elif pool["level_keys"] < pool["target_keys"]:
        text.stylize("yellow")
    return text


def _dry(pool: dict[str, Any]) -> str:
    if pool["level_keys"] == 0:
        return "is dry"
    return "-" if pool["runs_dry_in_s"] is None else in_text(pool["runs_dry_in_s"])


def _orders(pool: dict[str, Any]) -> Text:
    """What people and failures made of this Bob."""
    orders, words = pool["orders"], []
    if orders["pin"]:
        until = f" until {_clock(orders['pinned_until'])}" if orders["pinned_until"] else ""
        words.append(("held" if orders["pin"] == "hold" else "next") + until)
    if orders["excluded"]:
        why = f" ({orders['excluded_why']})" if orders["excluded_why"] else ""
        words.append(f"excluded{why}")
    if orders["keys_asked_at"]:
        words.append("keys asked for")
    if pool["waiting_keys"]:
        words.append(f"{pool['waiting_keys']} keys waited for")
    if pool["promised_keys"]:
        words.append(f"{pool['promised_keys']} keys promised")
    if pool["rests_until"]:
        words.append(f"failed, tried again at {_clock(pool['rests_until'])}")
    return Text(", ".join(words), style="yellow")


def _alarms(document: list[dict[str, Any]]) -> RenderableType | None:
    if not document:
        return None
    table = _table("alarm", "kind", "of", "last", "times", "now", "detail")
    for alarm in document:
        state = "over" if alarm["over_at"] else "goes on"
        if alarm["acknowledged_at"]:
            state = "acknowledged"
        table.add_row(
            alarm["alarm_id"][:8],
            Text(alarm["kind"], style="bold red" if state == "goes on" else "yellow"),
            alarm["subject"],
            show.ago_text(alarm["last_at"]),
            str(alarm["times"]),
            state,
            alarm["detail"],
        )
    return table


def _looks(
    client: OrchestratorClient, every_s: float, count: int | None
) -> Iterator[RenderableType]:
    looked = 0
    while True:
        yield _picture(client)
        looked += 1
        if count is not None and looked >= count:
            return
        time.sleep(every_s)


def _picture(client: OrchestratorClient) -> RenderableType:
    document = client.get("/api/v1/schedule", limit=_SHOWN_TURNS)
    scale = document["time_scale"]
    # As much future as the past that is shown, at least some turns of it.
    turns, now = document["turns"], datetime.now(UTC)
    past_s = max(
        [(now - datetime.fromisoformat(turn["started_at"])).total_seconds() for turn in turns],
        default=0.0,
    )
    past_s = min(max(past_s, 10_000.0 / scale), _WATCHED_QKD_S / scale)
    ahead = client.get("/api/v1/schedule/plan", horizon_s=past_s)
    pools = client.get("/api/v1/schedule/pools")
    rows = {pool["link"]: _bars(turns, pool["link"], now) for pool in pools}
    for alice in ahead["alices"]:
        for link, bars in rows.items():
            bars += [bar for bar in _planned(alice["turns"], link) if bar.planned]
    axis = [f"{duration_text(past_s)} ago", "now", in_text(past_s)]
    present = [turn for turn in turns if turn["state"] not in _ENDED]
    parts: list[RenderableType] = [
        Text.assemble(_headline(present, document["leads"]), "  ", (f"{now:%H:%M:%S} UTC", "dim")),
        Text(),
        gantt(rows, -past_s, past_s, axis, now_s=0.0),
        Text(),
        _pools(pools),
    ]
    alarms = _alarms(client.get("/api/v1/alarms"))
    if alarms is not None:
        parts += [Text(), alarms]
    return Group(*parts, _scale_note(scale))


def _headline(present: list[dict[str, Any]], leads: bool) -> Text:
    if not leads:
        return Text("This orchestrator does not lead the schedule.", style="yellow")
    if not present:
        return Text("Alice rests.")
    words = [f"{t['alice']} is {t['state']} with {t['link']}" for t in present]
    return Text("; ".join(words), style="bold cyan")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column not in ("detail", "orders"), overflow="fold")
    return table
