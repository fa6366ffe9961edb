"""One at a time among processes that share a server."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from database import Exclusive, open_engine

pytestmark = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)

HOLD = """
import sys
from database import Exclusive, open_engine
with Exclusive(open_engine(sys.argv[1]), "circuits").held():
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def engines(database_url: str) -> Iterator[tuple[Engine, Engine]]:
    made = open_engine(database_url), open_engine(database_url)
    yield made
    for engine in made:
        engine.dispose()


def test_the_other_waits_until_it_is_left(engines: tuple[Engine, Engine]) -> None:
    order: list[str] = []
    asked = threading.Event()

    def enter() -> None:
        asked.set()
        with Exclusive(engines[1], "circuits").held():
            order.append("second")

    with Exclusive(engines[0], "circuits").held():
        thread = threading.Thread(target=enter)
        thread.start()
        assert asked.wait(10)
        thread.join(0.3)  # long enough to enter, were it open
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_another_name_is_another_lock(engines: tuple[Engine, Engine]) -> None:
    with (
        Exclusive(engines[0], "circuits").held(),
        Exclusive(engines[1], "migrations").held(),
    ):
        pass


def test_who_raises_inside_leaves_it(engines: tuple[Engine, Engine]) -> None:
    with pytest.raises(ZeroDivisionError), Exclusive(engines[0], "circuits").held():
        raise ZeroDivisionError
    entered = threading.Event()
    threading.Thread(target=_enter, args=(engines[1], entered), daemon=True).start()
    assert entered.wait(20)


def test_a_process_that_dies_inside_leaves_it(
    engines: tuple[Engine, Engine], database_url: str
) -> None:
    process = subprocess.Popen(
        [*("setpriv", "--pdeathsig", "KILL"), sys.executable, "-c", HOLD, database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.kill()
    process.wait(10)
    entered = threading.Event()
    threading.Thread(target=_enter, args=(engines[0], entered), daemon=True).start()
    assert entered.wait(20)


def _enter(engine: Engine, entered: threading.Event) -> None:
    with Exclusive(engine, "circuits").held():
        entered.set()


def test_one_whose_lock_ended_inside_keeps_its_result(
    engines: tuple[Engine, Engine], database_url: str
) -> None:
    """As one that was stopped for longer than the server keeps a silent connection."""
    short = open_engine(database_url, idle_limit_s=1)
    results = []
    with Exclusive(short, "circuits").held():
        with Exclusive(engines[1], "circuits").held():
            pass  # entered once the server ended the first one's connection
        results.append("done")
    assert results == ["done"]
    with Exclusive(short, "circuits").held(), short.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    short.dispose()
