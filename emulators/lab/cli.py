"""`qnfv lab`: start and stop the laboratory."""

from __future__ import annotations

import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emulators.fibre_plant.stand_in import Observer
from emulators.lab import configuration_bundle
from emulators.lab.docker_engine import count_containers, find_engine
from emulators.lab.errors import LabError
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.layout import MOST_REPLICAS
from emulators.lab.plans import plan_named
from emulators.lab.web_vnf import build, find_static_busybox
from nfv_stack.vim.docker import LABEL_DATA_CENTRE
from orchestrator.cli.show import console
from problem_details import ProblemError
from sdn_client.topology import load_topology

app = typer.Typer(help="A laboratory of the paper's four nodes on this machine.")

StateDir = Annotated[Path, typer.Option(help="the laboratory's folder")]
TimeScale = Annotated[float, typer.Option(min=0.001, help="seconds of QKD time in a real second")]


class VimName(StrEnum):
    AUTO = "auto"
    DOCKER = "docker"
    EMULATED = "emulated"


VimChoice = Annotated[VimName, typer.Option(help="auto: docker where an engine answers")]
PlanName = Annotated[str, typer.Option(help="paper: four nodes; relay: a chain of trusted nodes")]
ControllerName = Annotated[
    str | None,
    typer.Option(help="embedded, or opendaylight: the real one; default: what it had before"),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_REPLICAS, help="orchestrators that share --database-url and a Redis"
    ),
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="an empty MySQL or MariaDB for the orchestrator; default: SQLite")
]
WithKme = Annotated[bool, typer.Option("--kme", help="a KME at each end of each link (ETSI 014)")]
DEFAULT_STATE_DIR = Path(".lab")
_LOOK_EVERY_S = 1.0


def choose_vim(choice: str) -> str:
    """`docker` where an engine answers (or can be made to), else `emulated`; says which."""
    if choice == "emulated":
        return choice
    finding = find_engine(console.print)
    console.print(
        f"VIM: [bold]{'docker' if finding.answers else 'emulated'}[/bold] ({finding.note})"
    )
    if choice == "docker" and not finding.answers:
        raise LabError(finding.note, next_step="Start an engine, or use --vim auto.")
    return "docker" if finding.answers else "emulated"


def announce(lab: Lab) -> None:
    """What is not real here, said before anything else."""
    console.print(
        f"[yellow]Laboratory:[/yellow] QKD units, fibres and the Polatis switch are emulated; "
        f"QKD time runs [bold]{lab.options.time_scale:g}x[/bold]; keys are emulated, no photon "
        f"made them. [bold]{lab.controller.note}[/bold]"
    )


@app.command()
def up(
    state_dir: StateDir = DEFAULT_STATE_DIR,
    time_scale: TimeScale = 1000.0,
    vim: VimChoice = VimName.AUTO,
    plan: PlanName = "paper",
    kme: WithKme = False,
    controller: ControllerName = None,
    replicas: Replicas = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Start every process and keep them running until Ctrl-C."""
    options = LabOptions(
        time_scale=time_scale,
        vim=choose_vim(vim),
        key_capacity=4096,
        kme=kme,
        controller=controller,
        replicas=replicas,
        database_url=database_url,
    )
    lab = Lab(state_dir, options, plan_named(plan))
    announce(lab)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())

    def ready(name: str) -> None:
        console.print(f"  [green]✔[/green] {name}")
        if stop.is_set():
            raise typer.Exit(130)

    lab.supervise()
    try:
        lab.up(ready)
        for replica in range(1, lab.replicas + 1):
            console.print(f"Web pages at {lab.layout.rest_url_of(replica)}/")
        secret = lab.layout.folder / "orchestrator" / "first-administrator"
        if secret.exists():
            console.print(f"  sign in as administrator; the one-time password is in {secret}")
        console.print(f"REST at {lab.layout.rest_url}/api/v1, token in {lab.layout.token_file}")
        _make_images(lab)
        console.print("Now, in another terminal here: [bold]qnfv dc list[/bold]. Ctrl-C ends it.")
        while not stop.wait(_LOOK_EVERY_S):
            _restart_the_dead(lab)
    finally:
        lab.down()
        console.print("The laboratory is down.")
        _name_what_still_runs()


@app.command()
def down(state_dir: StateDir = DEFAULT_STATE_DIR) -> None:
    """Stop whatever runs from this folder."""
    lab = Lab(state_dir)
    running = [name for name, process in lab.processes.items() if process.pid is not None]
    lab.down()
    console.print(f"Stopped: {', '.join(running)}." if running else "Nothing ran from there.")
    _name_what_still_runs()


@app.command()
def status(state_dir: StateDir = DEFAULT_STATE_DIR) -> None:
    """List the laboratory's processes."""
    for name, process in Lab(state_dir).processes.items():
        console.print(f"{name:14} {process.pid or '-'}")


@app.command()
def cut(
    fibre: Annotated[str, typer.Argument(help="its name; `qnfv network show` lists them")],
    state_dir: StateDir = DEFAULT_STATE_DIR,
) -> None:
    """Cut a fibre of the running laboratory, to see what happens."""
    _tell_plant(state_dir, fibre, is_cut=True)
    console.print(f"{fibre} is cut. `qnfv lab mend {fibre}` mends it.")


@app.command()
def mend(
    fibre: Annotated[str, typer.Argument(help="its name")],
    state_dir: StateDir = DEFAULT_STATE_DIR,
) -> None:
    """Mend a fibre that was cut."""
    _tell_plant(state_dir, fibre, is_cut=False)
    console.print(f"{fibre} is whole again.")


def _tell_plant(state_dir: Path, fibre: str, *, is_cut: bool) -> None:
    """Raises LabError where no laboratory runs, or it has no such fibre."""
    lab = Lab(state_dir)
    own = lab.topology_file
    topology = load_topology(own if own.exists() else lab.plan.topology_file)
    names = [one.name for one in topology.fibres]
    if fibre not in names:
        raise LabError(
            f"The laboratory has no fibre {fibre}.", next_step=f"It has {', '.join(names)}."
        )
    try:
        with Observer(("127.0.0.1", lab.layout.ports["plant"])) as plant:
            (plant.cut if is_cut else plant.repair)(fibre)
            plant.until(lambda state: (fibre in state["cut"]) is is_cut)
    except OSError as error:
        raise LabError(
            f"The fibre plant does not answer: {error}.",
            next_step="Start the laboratory: `qnfv lab up`.",
        ) from error


def _name_what_still_runs() -> None:
    """VNFs outlive the stack that started them, as they should; say so."""
    count = count_containers(LABEL_DATA_CENTRE)
    if count:
        console.print(
            f"{count} VNF container(s) of laboratories still run. "
            f"`docker rm -f $(docker ps -aq --filter label={LABEL_DATA_CENTRE})` removes them."
        )


def _make_images(lab: Lab) -> None:
    """Put the demo's images where a person can add them."""
    folder = lab.layout.folder
    configuration_bundle.build(folder / "bundle.tar")
    try:
        build(folder / "web-vnf.tar", busybox=find_static_busybox(folder / "cache"))
    except ProblemError as error:
        console.print(f"[yellow]No web VNF:[/yellow] {error.detail} {error.next_step}")
    else:
        console.print(f"Example image: {folder / 'web-vnf.tar'}")
    console.print(f"Small enough for a one-time pad: {folder / 'bundle.tar'}")


def _restart_the_dead(lab: Lab) -> None:
    for name, process in lab.processes.items():
        if process.pid is None:
            console.print(f"[yellow]{name} ended; starting it again.[/yellow]")
            lab.restart(name)
