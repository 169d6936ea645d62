"""Prometheus exposition of one front: a custom collector over its counters, so that requests pay nothing."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from contract import metrics as names
from contract.messages import Report
from proxy.counters import BUCKETS_S, FrontCounters


class FrontCollector(Collector):
    """`report`, `connections`: read anew at each scrape."""

    def __init__(self, counters: FrontCounters) -> None:
        self._counters = counters
        self.report: Report
        self.connections = 0

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(_base(names.EDGE_REQUESTS), "Requests", labels=["outcome", "reason"])
        for (outcome, reason), count in self._counters.by_outcome_and_reason.items():
            requests.add_metric([outcome, reason], count)
        yield requests
        yield self._histogram()
        hits = CounterMetricFamily(_base(names.EDGE_RULE_HITS), "Requests that a rule matched", labels=["rule"])
        for rule, count in self._counters.hits_by_rule.items():
            hits.add_metric([rule], count)
        yield hits
        report = self.report
        yield GaugeMetricFamily(names.EDGE_IN_FLIGHT, "Requests being served", report.in_flight)
        yield GaugeMetricFamily(names.EDGE_CONNECTIONS, "Open client connections", self.connections)
        yield GaugeMetricFamily(names.EDGE_LOOP_LAG_SECONDS, "Worst recent loop delay", report.loop_lag_s)
        yield GaugeMetricFamily(names.EDGE_KILL_SWITCH, "1: inspection is skipped", float(report.kill_switch))
        if report.active is not None:
            info = InfoMetricFamily(names.EDGE_RULE_SET.removesuffix("_info"), "The active rule set")
            info.add_metric([], {"digest": report.active.digest, "version": report.active.label})
            yield info
        yield CounterMetricFamily(
            _base(names.INSPECTOR_CPU_SECONDS), "CPU of all inspectors", report.inspector_cpu_s
        )
        yield GaugeMetricFamily(names.INSPECTOR_CPU_QUOTA, "Cores they may use together", report.cpu_quota)
        queue = GaugeMetricFamily(names.INSPECTOR_QUEUE, "Requests waiting for an inspector", labels=["pool"])
        for pool, waiting in {inspector.pool: inspector.queued for inspector in report.inspectors}.items():
            queue.add_metric([pool], waiting)
        yield queue

    def _histogram(self) -> Metric:
        cumulative, buckets = 0, []
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        for bound, count in zip(bounds, self._counters.histogram, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        return HistogramMetricFamily(
            names.EDGE_REQUEST_SECONDS, "Age of a request at its end", buckets, self._counters.seconds_sum
        )


def exposition(collector: FrontCollector) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(collector))
    return generate_latest(registry)


class _Once(Collector):
    """Registering asks a collector for its names; this one answers only scrapes."""

    def __init__(self, collector: FrontCollector) -> None:
        self._collector = collector

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        return self._collector.collect()


def _base(counter: str) -> str:
    return counter.removesuffix("_total")
