"""`qnfv network`: devices, fibres, circuits, paths and drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import NoSuchThingError
from orchestrator.cli.exit_codes import FAILED
from orchestrator.cli.output import tell

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

app = typer.Typer(help="The optical network.", no_args_is_help=True)

From = Annotated[str, typer.Argument(help="an end point, or a node for any of its end points")]
To = Annotated[str, typer.Argument(help="an end point or a node")]
PurposeOption = Annotated[str, typer.Option(help="image-transfer or quantum-turn")]
Bandwidth = Annotated[
    str | None, typer.Option(help="at least 1G, 10G, 25G, 40G, 100G or 400G at both ends")
]


@app.command("show")
def network_show(context: typer.Context) -> None:
    """Devices, virtual switches and fibres, with what the controller says of them."""
    document = client_of(context).get("/api/v1/network")
    tell(context, document, lambda: _show_network(document))


def _show_network(document: dict[str, Any]) -> None:
    show.table(
        ["chassis", "state", "ports", "down", "without light"],
        [
            [
                c["name"],
                _chassis_state(c),
                f"{c['ports_reported'] or '?'} of {c['ports']}",
                _numbers(c["ports_down"]),
                _numbers(c["ports_dark"]),
            ]
            for c in document["chassis"]
        ],
        "No chassis.",
    )
    show.console.print()
    show.table(
        ["virtual switch", "chassis", "owner", "ports", "reserved", "in use"],
        [
            [
                s["name"],
                s["chassis"],
                s["owner"],
                _numbers(s["ports"]),
                _numbers(s["reserved_ports"]),
                _numbers(s["ports_in_use"]),
            ]
            for s in document["virtual_switches"]
        ],
        "No virtual switch.",
    )
    show.console.print()
    show.table(
        ["fibre", "from", "to", "km", "loss", "light", "state"],
        [
            [
                f["name"],
                f["a"],
                f["b"],
                f"{f['km']:g}",
                f"{f['loss_db']:g} dB",
                f["kind"],
                show.look(f["state"], {"ok": "green", "lost": "bold red", "unknown": "dim"}),
            ]
            for f in document["fibres"]
        ],
        "No fibre.",
    )


@app.command("circuits")
def network_circuits(context: typer.Context) -> None:
    """List optical circuits and who waits for one."""
    document = client_of(context).get("/api/v1/circuits")
    tell(context, document, lambda: _show_circuits(document))


def _show_circuits(document: dict[str, Any]) -> None:
    show.table(
        [
            "circuit",
            "purpose",
            "from",
            "to",
            "state",
            "cross-connects",
            "loss",
            "carries",
            "owners",
        ],
        [
            [
                c["circuit_id"][:8],
                c["purpose"],
                c["from_end_point"],
                c["to_end_point"],
                _circuit_state(c),
                " + ".join(c["cross_connects"]),
                f"{c['loss_db']:g} dB",
                c["bandwidth_class"] or "-",
                ", ".join(_owner(owner, c["until"].get(owner)) for owner in c["owners"]),
            ]
            for c in document["circuits"]
        ],
        "No circuit stands: light only flows while somebody owns a circuit.",
    )
    if document["waiting"]:
        show.console.print(f"Waiting: {', '.join(document['waiting'])}")


@app.command("connect")
def network_connect(
    context: typer.Context,
    from_: From,
    to: To,
    purpose: PurposeOption = "image-transfer",
    bandwidth: Bandwidth = None,
    lifetime: Annotated[
        float | None, typer.Option(help="seconds after which it ends by itself")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="who wants it; otherwise whoever you are")
    ] = None,
) -> None:
    """Set up a circuit; returns when the switch's own table shows it."""
    circuit = client_of(context).post(
        "/api/v1/circuits",
        {
            "from_end_point": from_,
            "to_end_point": to,
            "purpose": purpose,
            "bandwidth_class": bandwidth,
            "lifetime_s": lifetime,
            "owner": owner,
        },
    )
    tell(
        context,
        circuit,
        lambda: show.console.print(
            f"[green]✔[/green] {circuit['circuit_id']}: {circuit['from_end_point']} to"
            f" {circuit['to_end_point']} over {' + '.join(circuit['cross_connects'])},"
            f" {circuit['km']:g} km, {circuit['loss_db']:g} dB"
        ),
    )


@app.command("disconnect")
def network_disconnect(
    context: typer.Context,
    circuit: Annotated[str, typer.Argument(help="the beginning of its id")],
) -> None:
    """Tear a circuit down that somebody connected; those of operations and turns are theirs."""
    client = client_of(context)
    found = _find(client, circuit)
    client.delete(f"/api/v1/circuits/{found}")
    left = client.get("/api/v1/circuits")["circuits"]
    if any(c["circuit_id"] == found for c in left):
        show.console.print(f"{found} is released; it is gone when the switch confirms.")
    else:
        show.console.print(f"[green]✔[/green] {found} is gone.")


@app.command("path")
def network_path(
    context: typer.Context,
    from_: From,
    to: To,
    purpose: PurposeOption = "image-transfer",
    alternatives: Annotated[int, typer.Option(min=1, max=16, help="how many at most")] = 1,
    bandwidth: Bandwidth = None,
) -> None:
    """Paths on an idle network, best first; reserves nothing."""
    parameters = {
        "from_end_point": from_,
        "to_end_point": to,
        "purpose": purpose,
        "alternatives": alternatives,
    }
    if bandwidth is not None:
        parameters["bandwidth_class"] = bandwidth
    paths = client_of(context).get("/api/v1/network/paths", **parameters)
    tell(context, paths, lambda: _show_paths(paths))


def _show_paths(paths: list[dict[str, Any]]) -> None:
    show.table(
        ["from", "to", "passages", "cross-connects", "fibres", "km", "loss", "of it passages"],
        [
            [
                p["from_end_point"],
                p["to_end_point"],
                str(p["passages"]),
                " + ".join(p["cross_connects"]),
                ", ".join(p["fibres"]) or "-",
                f"{p['km']:g}",
                f"{p['loss_db']:g} dB"
                + (f" of {p['budget_db']:g}" if p["budget_db"] is not None else ""),
                f"{p['passage_loss_db']:g} dB",
            ]
            for p in paths
        ],
        "No path.",
    )


@app.command("drift")
def network_drift(
    context: typer.Context,
    repair: Annotated[
        str | None,
        typer.Option(help="devices: make them hold what is owned; records: believe what they hold"),
    ] = None,
    chassis: Annotated[
        str | None, typer.Option(help="repair this one; default: each that differs")
    ] = None,
) -> None:
    """Compare what the devices hold with what we believe; exits with 1 while they differ."""
    client = client_of(context)
    drift = client.get("/api/v1/network/drift")
    if repair is not None:
        for one in drift:
            if one["chassis"] == chassis or (chassis is None and not one["in_step"]):
                drift = _repair(client, one["chassis"], repair)
    tell(context, drift, lambda: _show_drift(drift))
    if not all(d["in_step"] for d in drift):
        raise typer.Exit(FAILED)


def _show_drift(drift: list[dict[str, Any]]) -> None:
    show.table(
        ["chassis", "stray", "missing", "without light", "state"],
        [
            [
                d["chassis"],
                ", ".join(d["stray"]) or "-",
                ", ".join(f"{x} of {c[:8]}" for x, c in d["missing"].items()) or "-",
                ", ".join(f"{p} of {c[:8]}" for p, c in d["lost"].items()) or "-",
                d["unread"] or ("in step" if d["in_step"] else "differs"),
            ]
            for d in drift
        ],
        "No chassis.",
    )


def _repair(client: OrchestratorClient, chassis: str, change: str) -> list[dict[str, Any]]:
    answer = client.post("/api/v1/network/drift/repair", {"chassis": chassis, "change": change})
    for what in ("removed", "remade", "given_up", "adopted"):
        if answer[what]:
            show.errors.print(f"{chassis}: {what.replace('_', ' ')} {', '.join(answer[what])}")
    drift: list[dict[str, Any]] = answer["drift"]
    return drift


def _find(client: OrchestratorClient, reference: str) -> str:
    circuits = client.get("/api/v1/circuits")["circuits"]
    found = [c["circuit_id"] for c in circuits if c["circuit_id"].startswith(reference)]
    if len(found) != 1:
        raise NoSuchThingError(
            f"{len(found) or 'No'} circuits begin with {reference}.",
            next_step="`qnfv network circuits` shows their ids.",
        )
    return str(found[0])


def _chassis_state(chassis: dict[str, Any]) -> Any:
    if chassis["connected"]:
        return show.look("connected", {"connected": "green"})
    return show.look(chassis["fault"] or "away", {}, otherwise="bold red")


def _circuit_state(circuit: dict[str, Any]) -> Any:
    if circuit["lost_at"]:
        return show.look(f"no light at {', '.join(circuit['lost_at'])}", {}, otherwise="bold red")
    return show.look(circuit["state"], {"up": "green"}, otherwise="cyan")


def _owner(owner: str, until: str | None) -> str:
    return owner if until is None else f"{owner} ({show.in_text(until)})"


def _numbers(numbers: list[int]) -> str:
    """`1-16, 20` of a sorted list."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans) or "-"
