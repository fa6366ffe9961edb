"""What stands on every page, so that nobody takes a laboratory for the real thing."""

from __future__ import annotations

from orchestrator.settings import OrchestratorSettings


def notices_of(settings: OrchestratorSettings) -> list[str]:
    notices = []
    if any(table.source_options.get("emulated") for table in settings.all_alices):
        notices.append("Keys are emulated: no photon made them")
    if settings.time_scale != 1:
        notices.append(f"QKD time runs {settings.time_scale:g} times as fast")
    return notices
