"""`qnfv keys`: pools, quarantine, relays, and where a key came from. Never a key."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.output import tell

app = typer.Typer(help="Key pools (never a key).", no_args_is_help=True)

Link = Annotated[str, typer.Argument(help="the QKD link, as `qnfv keys show` names it")]
Turn = Annotated[UUID, typer.Argument(help="the turn, as `qnfv keys quarantine` names it")]


@app.command("show")
def show_pools(context: typer.Context) -> None:
    """Show the key pools."""
    client = client_of(context)
    pools = client.get("/api/v1/keys")
    hops = [hop for hop in client.get("/api/v1/keys/hops") if not _is_pool(hop, pools)]
    tell(context, {"pools": pools, "hops": hops}, lambda: _show_pools(pools, hops))


def _show_pools(pools: list[dict[str, Any]], hops: list[dict[str, Any]]) -> None:
    show.table(
        ["link", "data centre", "level", "target", "consumed", "burned", "quarantine", "made",
         "next in"],
        [
            [
                pool["link"],
                pool["data_centre"] + (" (relayed)" if pool["relayed"] else ""),
                str(pool["level_keys"]) + (" emulated" if pool["emulated"] else ""),
                str(pool["target_keys"]),
                str(pool["counts"]["CONSUMED"]),
                str(pool["counts"]["BURNED"]),
                str(pool["counts"]["QUARANTINED"]),
                str(pool["made_keys"]),
                _seconds(pool["keys_expected_in_s"]),
            ]
            for pool in pools
        ],
        "No data centre is configured.",
    )  # fmt: skip
    if hops:
        show.table(
            ["hop link", "from", "to", "level", "consumed"],
            [
                [hop["link"], hop["from_node"], hop["to_node"], str(hop["level_keys"]),
                 str(hop["counts"]["CONSUMED"])]
                for hop in hops
            ],
            "",
        )  # fmt: skip
    for pool in pools:
        if pool["why_not"]:
            show.console.print(f"[yellow]{pool['link']}:[/yellow] {pool['why_not']}")


@app.command("trace")
def trace(
    context: typer.Context,
    key_id: Annotated[UUID, typer.Argument(help="as `qnfv op show` tells it")],
) -> None:
    """Tell where a key came from, over which trusted nodes, and what it was used for."""
    document = client_of(context).get(f"/api/v1/keys/{key_id}/trace")
    tell(context, document, lambda: show_trace(document))


@app.command("relays")
def relays(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """List the batches of keys that were relayed, newest first."""
    routes = client_of(context).get("/api/v1/relays", limit=limit)
    tell(context, routes, lambda: _show_relays(routes))


def _show_relays(routes: list[dict[str, Any]]) -> None:
    show.table(
        ["route", "link", "over", "state", "keys", "detail"],
        [
            [
                route["route_id"][:8],
                route["relayed_link"],
                " → ".join(route["nodes"]),
                route["state"],
                str(route["delivered_keys"]),
                route["detail"] or "",
            ]
            for route in routes
        ],
        "No key was relayed yet.",
    )


@app.command("quarantine")
def quarantine(context: typer.Context, link: Link) -> None:
    """List the turns of a link whose keys are in quarantine."""
    found = client_of(context).get(f"/api/v1/keys/links/{link}/quarantine")
    tell(
        context,
        found,
        lambda: show.table(
            ["turn", "keys", "since", "reason"],
            [[each["turn"], str(each["keys"]), each["since"], each["reason"]] for each in found],
            f"No key of {link} is in quarantine.",
        ),
    )


@app.command("release")
def release(context: typer.Context, link: Link, turn: Turn) -> None:
    """Give a turn's quarantined keys free again: you found the turn to be sound."""
    document = client_of(context).post(f"/api/v1/keys/links/{link}/quarantine/{turn}/release", {})
    tell(
        context,
        document,
        lambda: show.console.print(f"{document['keys']} keys of {link} are available again."),
    )


@app.command("burn")
def burn(context: typer.Context, link: Link, turn: Turn) -> None:
    """Erase a turn's quarantined keys at both ends."""
    document = client_of(context).post(f"/api/v1/keys/links/{link}/quarantine/{turn}/burn", {})
    tell(
        context,
        document,
        lambda: show.console.print(f"{document['keys']} keys of {link} are erased."),
    )


def show_trace(document: dict[str, Any]) -> None:
    """A trace as people read it."""
    emulated = " [yellow](emulated: no photon made it)[/yellow]" if document["emulated"] else ""
    show.console.print(
        f"Key {document['key_id']} of {document['link']}: {document['state']}{emulated}"
    )
    if document["turn"]:
        turn = document["turn"]
        qber = f", QBER {turn['qber']:.2%}" if turn["qber"] is not None else ""
        show.console.print(f"Made in turn {turn['number']} of {turn['alice']}{qber}")
    if document["route"]:
        _show_route(document)
    use = document["use"]
    show.console.print(
        f"Used for transfer {use['transfer_id']} to {use['destination']}, "
        f"image {use['image_digest'][:16]}…"
        if use
        else "Used for something of another project."
        if document["is_others"]
        else "Not used yet."
    )


def _show_route(document: dict[str, Any]) -> None:
    route = document["route"]
    show.console.print(
        f"Relayed over {' → '.join(route['nodes'])} in a batch of {route['key_count']} "
        f"({route['state']}); every node on the way saw it"
    )
    show.table(
        ["hop", "from", "to", "pad blocks", "MAC blocks", "there"],
        [
            [hop["link"], hop["from_node"], hop["to_node"], str(hop["pad_blocks"]),
             str(hop["mac_blocks"]), hop["state"]]
            for hop in document["hops"]
        ],
        "",
    )  # fmt: skip


def _is_pool(hop: dict[str, Any], pools: list[dict[str, Any]]) -> bool:
    return any(pool["link"] == hop["link"] for pool in pools)


def _seconds(value: float | None) -> str:
    return f"{value:.0f} s" if value is not None else "-"
