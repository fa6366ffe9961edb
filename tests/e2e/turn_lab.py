"""A laboratory in which turns are the matter: its light is watched, its key stores compared."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from typing import Any

from e2e_house import House

from emulators.fibre_plant.stand_in import Observer
from emulators.lab.lab import Lab


class LightWatch:
    """Sees every change of the light, and notes an Alice who is lit towards two Bobs."""

    def __init__(self, lab: Lab) -> None:
        self._observer = Observer(("127.0.0.1", lab.layout.ports["plant"]))
        self._closing = threading.Event()
        self.violations: list[str] = []
        self.quantum_paths: list[tuple[str, ...]] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                state = self._observer.receive(0.5)
            except TimeoutError:
                continue
            except (ConnectionError, OSError):
                return
            # Light passes both ways, so a path is told in both directions.
            quantum = [p for p in state["paths"] if p["kind"] == "quantum"]
            paths = {frozenset((p["from"], p["to"])) for p in quantum}
            self.quantum_paths = sorted(tuple(sorted(path)) for path in paths)
            ends = Counter(end for path in paths for end in path)
            self.violations += [f"{end} is lit twice" for end, n in ends.items() if n > 1]

    def cut(self, fibre: str) -> None:
        self._observer.cut(fibre)

    def repair(self, fibre: str) -> None:
        self._observer.repair(fibre)

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)
        self._observer.close()


class TurnHouse(House):
    """A house whose schedule is looked at."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.light = LightWatch(lab)

    def turns(self, link: str) -> list[dict[str, Any]]:
        """The turns of one link, newest first."""
        document = self.get("/api/v1/schedule?limit=1000")
        return [turn for turn in document["turns"] if turn["link"] == link]

    def done(self, link: str, after: int = 0) -> list[dict[str, Any]]:
        """Turns of one link that brought it to its end, and have a number above `after`."""
        return [t for t in self.turns(link) if t["state"] == "done" and t["number"] > after]

    def last_number(self) -> int:
        turns = self.get("/api/v1/schedule?limit=1")["turns"]
        return int(turns[0]["number"]) if turns else 0

    def keys_now(self, link: str) -> None:
        self.client.post(f"/api/v1/schedule/bobs/{link}/keys-now", {})

    def alarms(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = self.get("/api/v1/alarms")
        return {(alarm["kind"], alarm["subject"]): alarm for alarm in found}

    def keys_at(self, place: str, link: str) -> dict[str, set[bytes]]:
        """The ids of this link's keys at the centre or in a data centre, by state."""
        file = "orchestrator.sqlite" if place == "orchestrator" else "slave.sqlite"
        database = self.lab.layout.folder / place / file
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
            rows = connection.execute(
                "SELECT state, key_id FROM key_ledger WHERE link = ?", (link,)
            ).fetchall()
        found: dict[str, set[bytes]] = {}
        for state, key_id in rows:
            found.setdefault(state, set()).add(key_id)
        return found
