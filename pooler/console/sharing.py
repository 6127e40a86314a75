"""What is counted of shared answers, in Prometheus's words: whose calls they have spared, what they take, what made
them wrong. Everything is read at the scrape: nothing is counted twice."""

from collections.abc import Iterator
from dataclasses import asdict

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pooler.runtime.reuse.room import SOURCES, Answers


class Shared(Collector):
    """A pooler's answers as they are at each scrape."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def collect(self) -> Iterator[Metric]:
        """Every metric; those of operations with a sample for each that shares its answers."""
        yield from self._operations()
        yield from self._cache()

    def _operations(self) -> Iterator[Metric]:
        labels = ["backend", "operation"]
        answers = CounterMetricFamily(
            "penstock_answers",
            "Calls of operations whose answers are shared, by where theirs came from.",
            labels=[*labels, "from"],
        )
        renewals = CounterMetricFamily(
            "penstock_answer_renewals", "Answers that were fetched ahead of time, for nobody yet.", labels=labels
        )
        for name, reading in sorted(self._answers.readings.items()):
            place, counts = [reading.driver.name, name], asdict(reading.counts)
            renewals.add_metric(place, counts.pop("renewals"))
            for source, count in counts.items():
                answers.add_metric([*place, source], count)
        yield from (answers, renewals)

    def _cache(self) -> Iterator[Metric]:
        cache = self._answers.cache
        yield GaugeMetricFamily("penstock_cache_answers", "Answers that are kept.", value=len(cache))
        yield GaugeMetricFamily("penstock_cache_bytes", "What they take.", value=cache.bytes)
        yield GaugeMetricFamily("penstock_cache_bytes_max", "What they may take.", value=cache.bytes_max)
        yield CounterMetricFamily(
            "penstock_cache_evictions", "Answers that gave way to others.", value=cache.evictions_total
        )
        invalidations = CounterMetricFamily(
            "penstock_invalidations", "How often answers were made wrong, by what.", labels=["by"]
        )
        for source in SOURCES:
            invalidations.add_metric([source], self._answers.invalidations[source])
        yield invalidations
