"""The page of settings names every setting of every service."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from idq3p.unit_agent.settings import UnitAgentSettings
from key_management.kme.settings import KmeSettings
from nfv_stack.settings import SlaveSettings
from nfv_stack.vim.openstack.options import OpenStackOptions
from orchestrator.settings import OrchestratorSettings
from sdn_client.drivers.opendaylight.options import OpenDaylightOptions
from sdn_client.drivers.openflow import OpenFlowOptions, Tl1Options
from sdn_client.drivers.polatis_tree import PolatisOptions
from sdn_client.optical_agent.settings import OpticalAgentSettings

ROOT = Path(__file__).parents[3]


def names(model: type[BaseModel]) -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= names(kind)
    return found


@pytest.mark.parametrize(
    "model",
    [
        *(
            OrchestratorSettings,
            SlaveSettings,
            UnitAgentSettings,
            KmeSettings,
            OpticalAgentSettings,
        ),
        *(OpenFlowOptions, Tl1Options, PolatisOptions, OpenDaylightOptions),
        OpenStackOptions,
    ],
)
def test_every_setting_is_on_the_page(model: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert {name for name in names(model) if f"`{name}`" not in page} == set()
