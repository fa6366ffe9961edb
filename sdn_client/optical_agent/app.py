"""Wires an optical agent together; nothing else does."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from pydantic import ValidationError

from observability import configure_logs
from sdn_client.drivers.port import CircuitDriver
from sdn_client.optical_agent.agent import OpticalAgent
from sdn_client.optical_agent.presented import present
from sdn_client.optical_agent.settings import OpticalAgentSettings
from sdn_client.topology import load_topology
from service_settings import SettingsError, find_driver
from timekeeping import SystemClock

_DEVICES = "sdn_client.optical_agent.devices"


def build_agent(settings: OpticalAgentSettings) -> tuple[OpticalAgent, CircuitDriver]:
    """The agent and its open device; close the device after the agent ended.

    Raises SettingsError, TopologyError, UnknownName, or what the device's driver raises.
    """
    topology = load_topology(settings.topology_file)
    presented = present(topology, settings.chassis, settings.virtual_switch)
    open_device = find_driver(_DEVICES, settings.device.driver)
    try:
        device: CircuitDriver = open_device(settings.device.options, topology)
    except ValidationError as error:
        raise SettingsError(
            f"The options of the device {settings.device.driver!r}: {error}",
            next_step="Correct the table device.options of the settings.",
        ) from error
    agent = OpticalAgent(
        device,
        topology,
        presented,
        settings.controller,
        SystemClock(),
        quiet_s=settings.quiet_ms / 1000,
    )
    return agent, device


async def _run_until_told(agent: OpticalAgent) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    work = asyncio.create_task(agent.run())
    end = asyncio.create_task(told.wait())
    await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, end):
        task.cancel()
    for result in await asyncio.gather(work, end, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def serve(settings_file: Path) -> None:
    """Run the agent until SIGTERM or SIGINT."""
    settings = OpticalAgentSettings.load(settings_file)
    configure_logs(f"optical-agent {settings.name}", form=settings.log_form)
    agent, device = build_agent(settings)
    try:
        asyncio.run(_run_until_told(agent))
    finally:
        device.close()
