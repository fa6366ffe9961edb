"""`qnfv kme`: run a key management entity, and look into its books."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

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
    table = Table("link", "made", *(state.value.lower() for state in KeyState))
    for link in loaded.links:
        account = ledger.check_account(link.name)
        counts = (str(account.counts[state]) for state in KeyState)
        table.add_row(link.name, str(account.made), *counts)
    console = Console()
    console.print(table)
    delivered = Deliveries(engine, clock).counts()
    console.print(
        "Keys of applications: "
        + ", ".join(f"{count} {state.value.lower()}" for state, count in delivered.items())
    )
    engine.dispose()
