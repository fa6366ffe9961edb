"""`qnfv kme`: run a key management entity, and look into its books."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from database import open_engine
from key_management.kme.deliveries import Deliveries
from key_management.kme.settings import KmeSettings
from key_management.kme.tables import migrate_kme
from key_management.ledger import KeyLedger
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from timekeeping import SystemClock

Settings = Annotated[Path, typer.Option(help="the KME's TOML file")]
app = typer.Typer(help="A key management entity: ETSI GS QKD 014 for applications.")


@app.command()
def serve(settings: Settings) -> None:
    """Run a KME in the foreground."""
    from key_management.kme import app as service  # FastAPI is not needed for the other commands

    service.serve(settings)


@app.command()
def accounts(settings: Settings) -> None:
    """What became of every key of each link; an error if it does not add up."""
    loaded = KmeSettings.load(settings)
    engine = open_engine(loaded.database_url)
    migrate_keys(engine)
    migrate_kme(engine)
    clock = SystemClock()
    ledger = KeyLedger(engine, WrappingKeys(loaded.state_dir / "wrapping"), clock)
    for link in loaded.links:
        account = ledger.check_account(link.name)
        states = " + ".join(f"{account.counts[state]} {state.lower()}" for state in KeyState)
        typer.echo(f"{link.name}: {account.made} made = {states}")
    delivered = Deliveries(engine, clock).counts()
    states = ", ".join(f"{count} {state.lower()}" for state, count in delivered.items())
    typer.echo(f"Keys of applications: {states}")
    engine.dispose()
