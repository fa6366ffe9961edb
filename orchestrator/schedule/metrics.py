"""What Prometheus is told of the schedule, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.schedule.service import ScheduleService


class ScheduleCollector(Collector):
    """Promises, alarms, pools and who leads."""

    def __init__(self, schedule: ScheduleService) -> None:
        self._schedule = schedule

    def collect(self) -> Iterator[Metric]:
        leads = GaugeMetricFamily("qnfv_schedule_leads", "1 while this process schedules Alice")
        leads.add_metric([], float(self._schedule.leads))
        yield leads
        promises = GaugeMetricFamily(
            "qnfv_schedule_promises", "Promises of keys that ended, by outcome", labels=["outcome"]
        )
        for outcome, count in self._schedule.promise_counts().items():
            promises.add_metric([outcome.value], count)
        yield promises
        share = GaugeMetricFamily(
            "qnfv_schedule_promises_kept_share", "Kept promises over kept and broken ones"
        )
        kept = self._schedule.kept_share()
        if kept is not None:
            share.add_metric([], kept)
        yield share
        alarms = GaugeMetricFamily(
            "qnfv_alarms", "Alarms that nobody has acknowledged, by kind", labels=["kind"]
        )
        for kind, count in self._schedule.alarm_counts().items():
            alarms.add_metric([kind], count)
        yield alarms
        yield from self._pools()

    def _pools(self) -> Iterator[Metric]:
        demand = GaugeMetricFamily(
            "qnfv_link_demand_bps", "Estimated demand in bit per QKD second", labels=["link"]
        )
        rate = GaugeMetricFamily(
            "qnfv_link_key_rate_bps", "Secret key rate in bit per QKD second", labels=["link"]
        )
        excluded = GaugeMetricFamily(
            "qnfv_link_excluded", "1 while a person excludes this Bob", labels=["link"]
        )
        for pool in self._schedule.pools():
            demand.add_metric([pool.link], pool.demand_bps)
            rate.add_metric([pool.link], pool.line.rate_bps)
            excluded.add_metric([pool.link], float(pool.orders.excluded))
        yield from (demand, rate, excluded)
