"""An agent over the fake driver in a thread of this process, and a controller for it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from agent_bench import AgentBench
from scripted_controller import Controller

from sdn_client.drivers.fake import FakeCircuitDriver
from sdn_client.optical_agent.agent import OpticalAgent
from sdn_client.optical_agent.presented import present
from sdn_client.optical_agent.settings import ControllerTable
from sdn_client.topology import Topology, parse_topology
from timekeeping import SystemClock

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


@pytest.fixture
def lab() -> Topology:
    """The laboratory, its virtual switches with datapath ids 0x101, 0x102, ..."""
    text = re.sub(
        r'name = "vs-(\d)"',
        lambda m: f'{m[0]}\ndatapath_id = "00:00:00:00:00:00:01:0{m[1]}"',
        LAB.read_text(),
    )
    return parse_topology(text)


@pytest.fixture
def start_bench(lab: Topology) -> Iterator[Callable[..., AgentBench]]:
    """Starts an agent over `device` (default: a fake) that presents `virtual_switch` or all."""
    started: list[Callable[[], None]] = []

    def start(
        device: FakeCircuitDriver | None = None,
        virtual_switch: str | None = None,
        idle_s: float = 20.0,
    ) -> AgentBench:
        device = device or FakeCircuitDriver(lab)
        controller = Controller()
        to = ControllerTable(port=controller.port, reconnect_s=0.02, idle_s=idle_s)
        presented = present(lab, "polatis-1", virtual_switch)
        agent = OpticalAgent(device, lab, presented, to, SystemClock())
        loop = asyncio.new_event_loop()
        task = loop.create_task(agent.run())

        def live() -> None:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)

        thread = threading.Thread(target=live)
        thread.start()

        def stop() -> None:
            loop.call_soon_threadsafe(task.cancel)
            thread.join(20)
            loop.close()
            controller.close()
            device.close()

        started.append(stop)
        return AgentBench(device, controller)

    yield start
    for stop in started:
        stop()


@pytest.fixture
def bench(start_bench: Callable[..., AgentBench]) -> AgentBench:
    return start_bench()
