"""What Prometheus may ask: counts and times of the whole collector. No label names a person or a device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schoolkeeper_collector.ingest.writer import WriterCounts
from schoolkeeper_collector.store.expiry import ExpiryCounts


class Streams(Protocol):
    @property
    def open_streams(self) -> int: ...

    @property
    def in_flight_bytes(self) -> int: ...


class Ledger(Protocol):
    @property
    def size(self) -> int: ...

    @property
    def generation(self) -> int: ...


class Lag(Protocol):
    @property
    def lag(self) -> int | None: ...


class _Ingest(Collector):
    def __init__(
        self, counts: WriterCounts, expired: ExpiryCounts, streams: Streams, ledger: Ledger, detection: Lag
    ) -> None:
        self._detection = detection
        self._counts = counts
        self._expired = expired
        self._streams = streams
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        for name, value, words in (
            ("events", counts.events, "Events stored"),
            ("batches", counts.batches, "Batches decided on"),
            ("commits", counts.commits, "Group commits"),
            ("commit_failures", counts.failures, "Group commits that failed and were rolled back"),
            ("facts", counts.facts, "Facts written for the detection"),
            (
                "events_without_key",
                counts.without_key,
                "Events asked for again because their ingest key is not here",
            ),
        ):
            yield CounterMetricFamily(f"schoolkeeper_{name}", words, value=value)
        stages = CounterMetricFamily(
            "schoolkeeper_stage_seconds", "Time of the writer by stage", labels=["stage"]
        )
        for stage in ("place", "flush", "prove", "commit", "follow"):
            stages.add_metric([stage], getattr(counts, f"{stage}_seconds"))
        yield stages
        fates = CounterMetricFamily(
            "schoolkeeper_dispositions", "Events by what became of them", labels=["disposition"]
        )
        for word, number in sorted(counts.dispositions.items()):
            fates.add_metric([word], number)
        yield fates
        yield from self._expiries()
        for name, gauge, words in (
            ("open_streams", self._streams.open_streams, "Streams that are open"),
            ("in_flight_bytes", self._streams.in_flight_bytes, "Bytes of batches not yet answered"),
            ("ledger_entries", self._ledger.size, "Entries of the ledger"),
            ("ledger_generation", self._ledger.generation, "Generation of the ledger"),
        ):
            yield GaugeMetricFamily(f"schoolkeeper_{name}", words, value=gauge)
        if (lag := self._detection.lag) is not None:  # unknown is no zero
            words = "Stored events that detection has not passed yet"
            yield GaugeMetricFamily("schoolkeeper_detection_lag_events", words, value=lag)

    def _expiries(self) -> Iterator[Metric]:
        for name, numbers, words in (
            ("expired_events", self._expired.events, "Events deleted because their time was over"),
            ("expired_blobs", self._expired.blobs, "Blobs deleted because their time was over"),
        ):
            family = CounterMetricFamily(f"schoolkeeper_{name}", words, labels=["retention"])
            for retention, number in numbers.items():
                family.add_metric([retention.value], number)
            yield family
        words = "Keys of expired events deleted"
        yield CounterMetricFamily("schoolkeeper_expired_keys", words, value=self._expired.keys)


def render(
    counts: WriterCounts, expired: ExpiryCounts, streams: Streams, ledger: Ledger, detection: Lag
) -> bytes:
    """The text format, of this moment."""
    registry = CollectorRegistry()
    registry.register(_Ingest(counts, expired, streams, ledger, detection))
    return generate_latest(registry)
