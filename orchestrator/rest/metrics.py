"""`/metrics` in Prometheus' text form, read from the database at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.datacentres.registry import DataCentres
from orchestrator.keys.service import KeyService
from orchestrator.workflow.journal import OperationJournal
from sdn_client.circuits import CircuitService


class HouseCollector(Collector):
    """What the house holds now."""

    def __init__(
        self,
        data_centres: DataCentres,
        keys: KeyService,
        circuits: CircuitService,
        journal: OperationJournal,
    ) -> None:
        self._data_centres = data_centres
        self._keys = keys
        self._circuits = circuits
        self._journal = journal

    def collect(self) -> Iterator[Metric]:
        keys = GaugeMetricFamily(
            "qnfv_keys", "Keys of 256 bits by link and state", labels=["link", "state"]
        )
        for link in self._data_centres.links:
            for state, count in self._keys.counts(link).items():
                keys.add_metric([link, state.value], count)
        yield keys
        operations = GaugeMetricFamily("qnfv_operations", "Operations by state", labels=["state"])
        for name, count in self._journal.counts().items():
            operations.add_metric([name], count)
        yield operations
        circuits = GaugeMetricFamily(
            "qnfv_circuits", "Optical circuits by purpose and state", labels=["purpose", "state"]
        )
        found = Counter((c.purpose.value, c.state.value) for c in self._circuits.circuits())
        for labels, count in found.items():
            circuits.add_metric(list(labels), count)
        yield circuits


def metrics_router(*collectors: Collector) -> APIRouter:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
