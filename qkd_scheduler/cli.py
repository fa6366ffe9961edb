"""`qnfv schedule simulate`: what a schedule would give, before anybody buys a device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from qkd_scheduler.bounds import Lot, largest_factor, load, without_set_ups_bps
from qkd_scheduler.economy import Economy, Prices, compare
from qkd_scheduler.errors import DemandError, PlotsMissingError
from qkd_scheduler.link_model import InitialisationModel
from qkd_scheduler.policies import catalogue
from qkd_scheduler.simulation.outcome import Outcome
from qkd_scheduler.simulation.run import simulate as run
from qkd_scheduler.simulation.scenario import (
    Bob,
    Bursts,
    Scenario,
    Transfers,
    rate_and_set_up,
)

_HOUR_S: Final = 3600.0
_LAB_KM: Final = "5,15,25"


app = typer.Typer()


@app.command()
def simulate(
    distances_km: Annotated[
        str, typer.Option("--km", help="a Bob for each distance in km, by commas")
    ] = "",
    lines: Annotated[
        str,
        typer.Option("--lines", help="or rate:set-up of each Bob in b/s and s, by commas"),
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, help="so many Bobs of each")] = 1,
    alices: Annotated[int, typer.Option(min=1)] = 1,
    policy: Annotated[
        str, typer.Option(help=f"{', '.join(catalogue.NAMES)}; or all, to compare them")
    ] = catalogue.DEFAULT,
    slot_s: Annotated[float, typer.Option(min=1, help="slot of sequential")] = 7200.0,
    demand_bps: Annotated[
        float | None, typer.Option(min=0, help="per Bob; default: 90 % of the bound")
    ] = None,
    buffer_h: Annotated[
        float, typer.Option(min=0.01, help="store of each Bob, in hours of the demand")
    ] = 12.0,
    days: Annotated[float, typer.Option(min=0.01)] = 15.0,
    warm_up_days: Annotated[float, typer.Option(min=0, help="not counted")] = 1.0,
    transfer_bits: Annotated[
        float | None,
        typer.Option(min=1, help="demand comes in single transfers of so many bits (Poisson)"),
    ] = None,
    pad_bits: Annotated[
        float | None, typer.Option(min=1, help="one-time-pad requests with deadlines on top")
    ] = None,
    pad_due_h: Annotated[float, typer.Option(min=0.01)] = 12.0,
    pad_every_h: Annotated[float, typer.Option(min=0.01, help="on average, per Bob")] = 24.0,
    key_lifetime_h: Annotated[float | None, typer.Option(min=0.01)] = None,
    failure: Annotated[
        float, typer.Option(min=0, max=0.99, help="probability that an initialisation fails")
    ] = 0.0,
    paper_initialisation: Annotated[
        bool, typer.Option(help="initialisation by the paper's curve, not by the line's physics")
    ] = False,
    alice_price: Annotated[float | None, typer.Option(min=0)] = None,
    bob_price: Annotated[float | None, typer.Option(min=0)] = None,
    port_price: Annotated[float, typer.Option(min=0, help="per switch port")] = 0.0,
    seed: int = 0,
    plots: Annotated[Path | None, typer.Option(help="folder for levels.png and gantt.png")] = None,
    plot_hours: Annotated[float, typer.Option(min=0.1)] = 72.0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Simulate Alice's turns over days: who runs dry, what set-ups cost, how many Alices it takes.

    Without --km or --lines, the lab's three Bobs at 5, 15 and 25 km.
    """
    physics = InitialisationModel.PAPER if paper_initialisation else InitialisationModel.PHYSICAL
    shapes = _shapes(distances_km, lines, physics) * repeat
    bobs = _bobs(shapes, demand_bps, buffer_h, alices)
    lots = [bob.lot() for bob in bobs]
    names = catalogue.NAMES if policy == "all" else (policy,)
    bursts = Bursts(pad_bits, pad_due_h * _HOUR_S, pad_every_h * _HOUR_S) if pad_bits else None
    prices = None
    if alice_price is not None and bob_price is not None:
        prices = Prices(alice_price, bob_price, port_price)
    outcomes: dict[str, Outcome] = {}
    for name in names:
        catalogue.named(name)
        outcomes[name] = run(
            Scenario(
                bobs,
                partial(catalogue.named, name, slot_s=slot_s),
                alices=alices,
                days=days,
                warm_up_days=min(warm_up_days, days / 2),
                transfers=Transfers(transfer_bits) if transfer_bits else None,
                bursts=bursts,
                key_lifetime_s=key_lifetime_h * _HOUR_S if key_lifetime_h else None,
                initialisation_failure=failure,
                seed=seed,
                record=plots is not None,
            )
        )
    economy = compare(lots, prices)
    document = _document(lots, alices, outcomes, economy)
    if plots is not None:
        # Only now: matplotlib takes longer to load than a simulation to run.
        try:
            from qkd_scheduler.simulation.plots import save
        except ModuleNotFoundError as error:
            raise PlotsMissingError(
                f"Pictures need a library that is not installed ({error.name}).",
                next_step="Install it: pip install 'qnfv[plots]'.",
            ) from error

        for name, outcome in outcomes.items():
            folder = plots / name if len(outcomes) > 1 else plots
            written = save(outcome, folder, hours=min(plot_hours, days * 24))
            document.setdefault("plots", []).extend(str(path) for path in written)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(Console(), document, outcomes, economy)


def _shapes(
    distances_km: str, lines: str, physics: InitialisationModel
) -> list[tuple[str, float, float]]:
    """Name, rate and set-up of each Bob that was named."""
    shapes: list[tuple[str, float, float]] = []
    for text in _parts(distances_km or ("" if lines else _LAB_KM)):
        distance_km = _number(text)
        shapes.append(
            (f"{distance_km:g} km", *rate_and_set_up(distance_km, initialisation=physics))
        )
    for text in _parts(lines):
        rate, _, set_up = text.partition(":")
        shapes.append((f"{text} line", _number(rate), _number(set_up)))
    return shapes


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DemandError(
            f"{text!r} is no number", next_step="For example: --km 5,15,25, or --lines 2454:452."
        ) from None


def _bobs(
    shapes: Sequence[tuple[str, float, float]],
    demand_bps: float | None,
    buffer_h: float,
    alices: int,
) -> tuple[Bob, ...]:
    rates_bps = [rate_bps for _, rate_bps, _ in shapes]
    # However many Alices there are, a Bob has one line.
    unhindered_bps = min(alices * without_set_ups_bps(rates_bps), *rates_bps)
    # Stores are sized by what could be served without set-ups, unless a demand is given.
    capacity_bit = buffer_h * _HOUR_S * (demand_bps or unhindered_bps)
    if demand_bps is None:
        lots = [Lot(unhindered_bps, rate, s, capacity_bit) for _, rate, s in shapes]
        demand_bps = 0.9 * unhindered_bps * min(1.0, largest_factor(lots) * alices)
    return tuple(
        Bob(f"Bob {n} ({name})", rate_bps, set_up_s, capacity_bit, demand_bps)
        for n, (name, rate_bps, set_up_s) in enumerate(shapes, 1)
    )


def _document(
    lots: Sequence[Lot], alices: int, outcomes: dict[str, Outcome], economy: Economy
) -> dict[str, Any]:
    return {
        "alices": alices,
        "load": load(lots) / alices,
        "factor_to_bound": alices * largest_factor(lots),
        "economy": {
            **asdict(economy),
            "shared_devices": economy.shared_devices,
            "own_devices": economy.own_devices,
            "saved_share": economy.saved_share,
        },
        "policies": {name: outcome.document() for name, outcome in outcomes.items()},
    }


def _print(
    console: Console, document: dict[str, Any], outcomes: dict[str, Outcome], economy: Economy
) -> None:
    for name, outcome in outcomes.items():
        table = Table(title=name)
        for heading in ("Bob", "key rate", "set-up", "demand", "turns", "lowest", "short", "wait"):
            table.add_column(heading, justify="left" if heading == "Bob" else "right")
        for bob, entry in zip(outcome.bobs, document["policies"][name]["bobs"], strict=True):
            wait = entry.get("mean_wait_s")
            table.add_row(
                bob.name,
                f"{bob.rate_bps:.0f} b/s",
                f"{bob.set_up_s:.0f} s",
                f"{bob.demand_bps:.1f} b/s",
                str(bob.turns),
                f"{bob.least_bit / 1e3:.0f} kbit",
                f"{bob.shortfall:.2%}",
                f"{wait:.0f} s" if wait is not None else "-",
            )
        console.print(table)
        line = (
            f"set-ups {outcome.set_up_share:.1%} of Alice's time, generating "
            f"{outcome.generating_share:.1%}; {outcome.failed_turns} failed set-ups"
        )
        if outcome.pledges:
            promises = document["policies"][name]["promises"]
            kept = f"{outcome.kept_share:.1%}" if outcome.kept_share is not None else "none due"
            line += (
                f"; pads: {promises['asked']} asked, {promises['admitted']} promised, kept {kept}"
            )
        console.print(line)
    console.print(
        f"Least load of an Alice: {document['load']:.1%} (100 % is the bound). Shared, this demand "
        f"needs {economy.alices} Alice(s): {economy.shared_devices} devices, against "
        f"{economy.own_devices} with an Alice for each Bob."
    )
    if economy.saved_share is not None:
        console.print(
            f"Costs: {economy.shared_cost:,.0f} shared, {economy.own_cost:,.0f} with an Alice "
            f"each; {economy.saved_share:.1%} saved."
        )
    for path in document.get("plots", []):
        console.print(f"Written: {path}")
