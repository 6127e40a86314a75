"""What the pools count, in Prometheus's words. Everything is read at the scrape: nothing is counted twice."""

from collections.abc import Iterator, Mapping
from math import inf

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pooler.console.sharing import Shared
from pooler.core.states import ConnectionState
from pooler.runtime.driver import Driver
from pooler.runtime.reuse.room import Answers
from pooler.runtime.tally import Histogram

STATES = [state for state in ConnectionState if state is not ConnectionState.GONE]


class Pools(Collector):
    """The drivers as they are at each scrape; the mapping is the app's own, so a reload shows."""

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self._drivers = drivers

    def collect(self) -> Iterator[Metric]:
        """Every metric, each with a sample for each backend."""
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator[Metric]:
        connections = _gauge("connections", "Connections that the backend may see, by state.", "state")
        cap = _gauge("cap", "The most connections that the backend may ever see.")
        queued = _gauge("queue_length", "Calls that wait for a connection.")
        oldest = _gauge("queue_oldest_seconds", "How long the oldest of them has waited.")
        serving = _gauge("serving", "1 while calls can be served, as far as anybody knows.")
        for name, driver in sorted(self._drivers.items()):
            pool, first = driver.pool, driver.pool.queue.oldest()
            for state in STATES:
                connections.add_metric([name, state.value], pool.count(state))
            cap.add_metric([name], pool.rules.cap)
            queued.add_metric([name], len(pool.queue))
            oldest.add_metric([name], driver.now - first.asked_at if first else 0.0)
            serving.add_metric([name], pool.serving)
        yield from (connections, cap, queued, oldest, serving)

    def _counters(self) -> Iterator[Metric]:
        calls = _counter("calls", "Calls that asked for a connection.")
        starts = _counter("starts", "Starts of a connection that were begun.")
        failures = _counter("start_failures", "Starts that failed.")
        unconfirmed = _counter(
            "unconfirmed_deaths", "Slots let go though nobody could say that the connection was dead."
        )
        misfits = _counter("misfits", "Calls that shared a connection and were slow, or larger than a page.")
        demotions = _counter("demotions", "How often an operation was given connections for itself because of them.")
        for name, driver in sorted(self._drivers.items()):
            calls.add_metric([name], driver.calls_total)
            misfits.add_metric([name], driver.pool.sharing.misfits_total)
            demotions.add_metric([name], driver.pool.sharing.demotions_total)
            starts.add_metric([name], driver.pool.starts.total)
            failures.add_metric([name], driver.pool.starts.failed_total)
            unconfirmed.add_metric([name], driver.unconfirmed_total)
        yield from (calls, starts, failures, unconfirmed, misfits, demotions)

    def _histograms(self) -> Iterator[Metric]:
        waits = _histogram(
            "wait_seconds", "From asking for a connection to the end of waiting, however it ended.", "outcome"
        )
        starts = _histogram("start_wait_seconds", "The part of a wait in which the connection was starting.")
        resets = _histogram("reset_wait_seconds", "The part of a wait in which the connection was being reset.")
        work = _histogram("work_seconds", "The backend's own work.")
        for name, driver in sorted(self._drivers.items()):
            for outcome, histogram in driver.tally.waits.items():
                _add(waits, [name, outcome], histogram)
            _add(starts, [name], driver.tally.starts)
            _add(resets, [name], driver.tally.resets)
            _add(work, [name], driver.tally.work)
        yield from (waits, starts, resets, work)


def registry(drivers: Mapping[str, Driver], answers: Answers) -> CollectorRegistry:
    """What a scrape reads."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Pools(drivers))
    made.register(Shared(answers))
    return made


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"penstock_{name}", what, labels=["backend", *labels])


def _counter(name: str, what: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"penstock_{name}", what, labels=["backend", *labels])


def _histogram(name: str, what: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"penstock_{name}", what, labels=["backend", *labels])


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    buckets = [("+Inf" if bound == inf else str(bound), count) for bound, count in histogram.cumulative()]
    family.add_metric(labels, buckets, histogram.sum)
