"""The laboratory's optical network under a real OpenDaylight, with processes that are killed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from glass_watch import GlassWatch

from emulators.lab.lab import Lab
from orchestrator.cli.client import ClientError, OrchestratorClient, RefusedError

_READY_S = 240.0
_SETTLE_S = 60.0
_LOOK_S = 0.05
BOBS = ("bob-1", "bob-2", "bob-3")
DATA_CENTRES = ("dc-1", "dc-2", "dc-3")


class NetworkHouse:
    """Switches Alice from Bob to Bob while somebody kills; counts what happened."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.random = random.Random(seed)
        self._names = lab.network_processes
        self.kills: dict[str, int] = {}
        self.refused = 0
        self.told: list[str] = []

    def up(self) -> None:
        self.lab.prepare()
        for name in self._names:
            self.lab.processes[name].start()
        for name in self._names:
            self.lab.processes[name].wait_ready(_READY_S)
        self.glass = GlassWatch(("127.0.0.1", self.lab.layout.ports["plant"]))
        token = self.lab.layout.token_file.read_text().strip()
        self.client = OrchestratorClient(self.lab.layout.rest_url, token)

    def down(self) -> None:
        if hasattr(self, "glass"):
            self.glass.close()
        for name in reversed(self._names):
            self.lab.processes[name].terminate()
        for name in reversed(self._names):
            self.lab.processes[name].await_end()

    # --- one switch-over

    def switch_over(self, bob: str, data_centre: str | None) -> None:
        """Alice to `bob`, perhaps with a classical circuit beside; then both away again."""
        wishes = [("alice", bob, "quantum-turn")]
        if data_centre is not None:
            wishes.append(("node-1", data_centre, "image-transfer"))
        made: list[dict[str, Any]] = []
        for wish in wishes:
            circuit = self._connect(*wish)
            if circuit is None:
                made = []  # all was released
                break
            made.append(circuit)
        self.check({x for circuit in made for x in circuit["cross_connects"]})
        for circuit in made:
            self._disconnect(circuit["circuit_id"])

    def _connect(self, from_: str, to: str, purpose: str) -> dict[str, Any] | None:
        """None when it was not to be had just now; then no circuit at all is left."""
        wish = {"from_end_point": from_, "to_end_point": to, "purpose": purpose}
        try:
            circuit: dict[str, Any] = self.client.post("/api/v1/circuits", wish)
        except ClientError as error:
            # The orchestrator may have died after it was done: whoever asks again looks first.
            self._note(error)
            self._eventually(self._disconnect_all, "what is left is released")
            return None
        return circuit

    def _disconnect(self, circuit_id: str) -> None:
        def gone() -> bool:
            with suppress(ClientError):
                self.client.delete(f"/api/v1/circuits/{circuit_id}")
            return all(c["circuit_id"] != circuit_id for c in self._circuits())

        self._eventually(gone, f"circuit {circuit_id} is released")

    def _disconnect_all(self) -> bool:
        for circuit in self._circuits():
            with suppress(ClientError):
                self.client.delete(f"/api/v1/circuits/{circuit['circuit_id']}")
        return self._circuits() == []

    def _circuits(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self.client.get("/api/v1/circuits")["circuits"]
        except ClientError as error:
            self._note(error)
            raise
        return found

    def _note(self, error: ClientError) -> None:
        self.refused += 1
        self.told.append(error.problem.slug if isinstance(error, RefusedError) else error.slug)

    # --- killing

    def kill_during(self, name: str, after_s: float, work: Callable[[], None]) -> None:
        """`kill -9` in the middle of `work`, then start it again; `work` goes on meanwhile."""
        failure: list[BaseException] = []

        def killer() -> None:
            try:
                threading.Event().wait(after_s)  # any moment: here time itself is the input
                self.lab.processes[name].kill()
                self.kills[name] = self.kills.get(name, 0) + 1
                self.lab.processes[name].start()
                self.lab.processes[name].wait_ready(_READY_S)
            except BaseException as error:
                failure.append(error)
                raise

        thread = threading.Thread(target=killer)
        thread.start()
        work()
        thread.join()
        if failure:
            raise failure[0]

    # --- what must hold

    def check(self, wanted: set[str]) -> None:
        """The light is what the circuits say, and the switch's own table is too."""
        self.await_in_step()
        circuits: list[dict[str, Any]] = []

        def told() -> bool:  # the orchestrator may be killed in this very moment
            circuits[:] = self._circuits()
            return True

        self._eventually(told, "the circuits are told")
        known = {x for c in circuits if c["state"] == "up" for x in c["cross_connects"]}
        assert wanted <= known, f"{wanted - known} is not up; told: {self.told[-5:]}"
        assert self.glass.await_lit(frozenset(known), _SETTLE_S), (
            f"lit: {sorted(self.glass.lit())}, circuits: {sorted(known)}"
        )
        assert self.glass.violations == []

    def await_in_step(self) -> None:
        def in_step() -> bool:
            drift = self.client.get("/api/v1/network/drift")
            return all(one["in_step"] for one in drift) and all(
                circuit["state"] == "up" for circuit in self._circuits()
            )

        self._eventually(in_step, "the switch's table is what is owned")

    def _eventually(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + _READY_S
        pause = threading.Event()
        while True:
            with suppress(ClientError):
                if condition():
                    return
            assert time.monotonic() < deadline_s, f"{what}: not within {_READY_S:g} s"
            pause.wait(_LOOK_S)
