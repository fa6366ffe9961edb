"""People who deploy, change and remove, whatever is killed meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID

from chaos_house import DATA_CENTRES, ON_DOCKER, ChaosHouse
from story import Story

from orchestrator.cli.client import RefusedError, UnreachableError

_PATIENCE_S = 150.0
"""An operation that is not at rest by then is stuck."""
_LOOK_S = 0.1
_WAIT_FOR_KEY_S = 40.0
_REMOVALS = 20
_AT_REST = ("COMPLETED", "ROLLED_BACK", "FAILED", "FAILED_TEMP")


class StuckError(Exception):
    """An operation did not come to rest; the story has it."""


class Person(threading.Thread):
    """Lives of deployments, one after the other, until `over` is set."""

    def __init__(self, number: int, house: ChaosHouse, story: Story, over: threading.Event) -> None:
        super().__init__(name=f"person-{number}", daemon=True)
        self._number = number
        self._house = house
        self._story = story
        self._over = over
        self._random = Random(f"{story.seed}/{number}")
        self.did: Counter[str] = Counter()

    def run(self) -> None:
        life = 0
        while not self._over.is_set():
            life += 1
            try:
                self._live(f"person-{self._number}-{life}")
            except StuckError as stuck:
                self._story.fault(str(stuck))
                return
            except Exception as error:
                self._story.fault(f"person-{self._number} gave up: {error!r}")
                raise

    # --- one life

    def _live(self, name: str) -> None:
        deployment_id = str(UUID(int=self._random.getrandbits(128), version=4))
        operation = self._deploy(name, deployment_id)
        if operation is None:
            return
        if self._random.random() < 0.2:
            self._over.wait(self._random.uniform(0.0, 1.5))  # any moment: time is the input
            self._ask(operation["operation_id"], "cancel")
        self._to_its_end(operation["operation_id"])
        for _ in range(self._random.choice([0, 0, 1, 1, 2])):
            state = self._house.get(f"/api/v1/deployments/{deployment_id}")["state"]
            if state not in ("RUNNING", "STOPPED"):
                break
            self._change(deployment_id)
        self._remove(deployment_id)

    def _deploy(self, name: str, deployment_id: str) -> dict[str, Any] | None:
        pick = self._random
        image = pick.choice(self._house.images)
        wish = {
            "name": name,
            "deployment_id": deployment_id,
            "image": image.digest,
            "data_centre": pick.choice([ON_DOCKER, *DATA_CENTRES]),
            "cipher": "one-time-pad" if image.fits_a_pad and pick.random() < 0.6 else "aes-256-gcm",
            "on_failure": pick.choice(["rollback", "hold"]),
            "wait_s": _WAIT_FOR_KEY_S,
        }
        while True:
            try:
                made: dict[str, Any] = self._house.client.post("/api/v1/deployments", wish)
                break
            except UnreachableError:
                # It may have been taken: with its id, the same wish is no second one.
                time.sleep(_LOOK_S)
            except RefusedError as error:
                self._refused("deploy", error)
                return None
        self.did[f"deploy {wish['cipher']}, {wish['on_failure']}"] += 1
        return made

    def _to_its_end(self, operation_id: str) -> str:
        """Wait; decide about a held one as a person would. Its last state."""
        for decision in range(6):
            state = self._at_rest(operation_id)["state"]
            if state != "FAILED_TEMP":
                return str(state)
            action = "retry" if decision < 3 and self._random.random() < 0.6 else "rollback"
            self._ask(operation_id, action)
        return str(self._at_rest(operation_id)["state"])

    def _at_rest(self, operation_id: str) -> dict[str, Any]:
        document: dict[str, Any] = {}

        def rests() -> bool:
            document.update(self._house.get(f"/api/v1/operations/{operation_id}"))
            return document["state"] in _AT_REST

        if not self._house.until(rests, _PATIENCE_S):
            steps = {step["name"]: (step["state"], step["error"]) for step in document["steps"]}
            raise StuckError(
                f"{document['kind']} {operation_id} is {document['state']} after {_PATIENCE_S:g} s:"
                f" {steps}, {document['error']}"
            )
        return document

    def _change(self, deployment_id: str) -> None:
        if self._random.random() < 0.3:
            self._lose_image(deployment_id)
        wish, path, document = self._random.choice(
            [
                ("stop", "operate", {"change_to": "STOPPED"}),
                ("start", "operate", {"change_to": "STARTED"}),
                ("heal", "heal", {"wait_s": _WAIT_FOR_KEY_S}),
            ]
        )
        before = self._operation_of(deployment_id)
        with suppress(UnreachableError):  # taken or not: what the deployment says decides
            try:
                self._house.client.post(f"/api/v1/deployments/{deployment_id}/{path}", document)
            except RefusedError as error:
                self._refused(wish, error)
                return
        operation_id = self._operation_of(deployment_id)
        if operation_id != before:
            self.did[wish] += 1
            self._to_its_end(operation_id)

    def _lose_image(self, deployment_id: str) -> None:
        """Then a healing sends it again."""
        deployment = self._house.get(f"/api/v1/deployments/{deployment_id}")
        if deployment["data_centre"] != ON_DOCKER:
            (image,) = (i for i in self._house.images if i.digest == deployment["image_digest"])
            self._house.lose_image(deployment["data_centre"], image)
            self.did["image lost"] += 1

    def _remove(self, deployment_id: str) -> None:
        path = f"/api/v1/deployments/{deployment_id}"
        for _ in range(_REMOVALS):
            before = self._operation_of(deployment_id)
            with suppress(UnreachableError):
                try:
                    self._house.client.delete(path)
                except RefusedError as error:
                    self._refused("remove", error)
            operation_id = self._operation_of(deployment_id)
            if operation_id != before:
                self._to_its_end(operation_id)
            if self._house.get(path)["state"] == "REMOVED":
                self.did["remove"] += 1
                return
            time.sleep(_LOOK_S)
        raise StuckError(f"{deployment_id} could not be removed: {self._house.get(path)}")

    # --- asking

    def _operation_of(self, deployment_id: str) -> str:
        return str(self._house.get(f"/api/v1/deployments/{deployment_id}")["operation_id"])

    def _ask(self, operation_id: str, action: str) -> None:
        """Once it is known to have arrived, or to come too late."""
        while True:
            try:
                self._house.client.post(f"/api/v1/operations/{operation_id}/{action}", {})
            except UnreachableError:
                time.sleep(_LOOK_S)
                continue
            except RefusedError as error:
                self._refused(action, error)
            else:
                self.did[action] += 1
            return

    def _refused(self, what: str, error: RefusedError) -> None:
        self.did[f"{what} refused: {error.problem.slug}"] += 1
        if error.problem.status == 500:
            self._story.fault(f"{what} was answered by an internal error: {error.problem}")
