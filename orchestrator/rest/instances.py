"""`/api/v1/deployments/{deployment_id}/instance` and `/console`; metrics of instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nfv_stack.contract.schemas import InstanceState, InstanceView
from orchestrator.vnf_lcm.instances import Instances
from orchestrator.vnf_lcm.schemas import ConsoleView
from orchestrator.vnf_lcm.watch import InstanceWatch


def instances_router(instances: Instances) -> APIRouter:
    router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"])

    @router.get("/instance")
    def instance(deployment_id: UUID) -> InstanceView:
        """As the data centre's VIM says at this moment."""
        return instances.view(deployment_id)

    @router.get("/console")
    def console(
        deployment_id: UUID, lines: Annotated[int, Query(ge=1, le=10_000)] = 200
    ) -> ConsoleView:
        """The last lines of its console or log."""
        return ConsoleView(
            deployment_id=deployment_id, text=instances.console(deployment_id, lines)
        )

    return router


class InstanceCollector(Collector):
    """What the watch saw last; nothing is asked for a scrape."""

    def __init__(self, watch: InstanceWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        labels = ["deployment", "name", "data_centre"]
        up = GaugeMetricFamily(
            "qnfv_instance_up", "Whether the VIM says that it runs and is healthy", labels=labels
        )
        drift = GaugeMetricFamily(
            "qnfv_instance_drift", "Whether the VIM says other than we do", labels=labels
        )
        started = GaugeMetricFamily(
            "qnfv_instance_start_time_seconds", "When it started", labels=labels
        )
        cpu = CounterMetricFamily(
            "qnfv_instance_cpu_seconds", "Processor time since it started", labels=labels
        )
        memory = GaugeMetricFamily(
            "qnfv_instance_memory_bytes", "Memory that it takes", labels=labels
        )
        for seen in self._watch.sightings():
            row, instance = seen.deployment, seen.instance
            who = [str(row.deployment_id), row.name, row.data_centre]
            drift.add_metric(who, float(seen.drift is not None))
            if instance is None:
                up.add_metric(who, 0.0)
                continue
            up.add_metric(who, float(instance.state is InstanceState.RUNNING and instance.healthy))
            if instance.started_at is not None:
                started.add_metric(who, instance.started_at.timestamp())
            if instance.usage is None:
                continue
            if instance.usage.cpu_time_s is not None:
                cpu.add_metric(who, instance.usage.cpu_time_s)
            if instance.usage.memory_bytes is not None:
                memory.add_metric(who, instance.usage.memory_bytes)
        yield from (up, drift, started, cpu, memory)
        centres = GaugeMetricFamily(
            "qnfv_data_centre_up", "Whether its slave stack answers", labels=["data_centre"]
        )
        for name, centre in self._watch.centres().items():
            centres.add_metric([name], float(not centre.away))
        yield centres
