"""The deployer's Prometheus metrics, made from its state when somebody asks."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from contract.metrics import DEPLOYER_EPOCH, DEPLOYER_NODES, DEPLOYER_ROLLOUTS
from contract.vocabulary import RolloutState
from deployer.driver import Driver


class _FromState(Collector):
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def collect(self) -> Iterator[Metric]:
        nodes = self._driver.fleet.nodes.values()
        connected = sum(node.stream is not None for node in nodes)
        yield GaugeMetricFamily(DEPLOYER_NODES, "Nodes with an open control stream.", value=connected)
        yield GaugeMetricFamily(DEPLOYER_EPOCH, "Epoch of the newest order.", value=self._driver.plan.epoch)
        rollouts = CounterMetricFamily(DEPLOYER_ROLLOUTS, "Rollouts that entered a state.", labels=["state"])
        for state in RolloutState:
            rollouts.add_metric([state.value], self._driver.rollouts_by_state.get(state.value, 0))
        yield rollouts


def render(driver: Driver) -> tuple[bytes, str]:
    """The exposition and its content type."""
    registry = CollectorRegistry()
    registry.register(_FromState(driver))
    return generate_latest(registry), CONTENT_TYPE_LATEST
