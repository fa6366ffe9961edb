"""The projects that something new may belong to, where there is a choice."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.gui.rooms import Rooms
from orchestrator.projects.tables import DEFAULT


@dataclass(frozen=True)
class OwnProjects:
    """Of who asks; administrators may choose any."""

    names: list[str]

    @property
    def is_choice(self) -> bool:
        return len(self.names) > 1

    @property
    def likeliest(self) -> str:
        return DEFAULT if DEFAULT in self.names else next(iter(self.names), "")


def own_projects(rooms: Rooms) -> OwnProjects:
    return OwnProjects([project.name for project in rooms.projects.all()])
