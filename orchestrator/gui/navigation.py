"""The pages that people find in the menu, in its order."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.accounts.identity import Identity, Role


@dataclass(frozen=True)
class Entry:
    """`path` is also the beginning of the paths of its sub-pages."""

    path: str
    title: str
    icon: str
    """A symbol of `templates/icons.html`."""
    role: Role = Role.VIEWER


ENTRIES: tuple[Entry, ...] = (
    Entry("/", "Overview", "overview"),
    Entry("/schedule", "Schedule", "schedule"),
    Entry("/keys", "Keys", "keys"),
    Entry("/network", "Network", "network"),
    Entry("/images", "Images", "images"),
    Entry("/deploy", "Deploy", "deploy"),
    Entry("/operations", "Operations", "operations"),
    Entry("/deployments", "Instances", "deployments"),
    Entry("/data-centres", "Data centres", "data-centres"),
    Entry("/audit", "Audit", "audit", Role.OPERATOR),
    Entry("/accounts", "Accounts", "accounts"),
)


def entries_for(identity: Identity | None) -> list[Entry]:
    if identity is None or identity.must_change_password:
        return []
    return [entry for entry in ENTRIES if identity.role.covers(entry.role)]


def is_here(entry: Entry, path: str) -> bool:
    """Whether `path` is this entry's page, or below it."""
    return path == entry.path or (entry.path != "/" and path.startswith(entry.path + "/"))
