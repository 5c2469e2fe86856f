"""Metrics of the server: a Prometheus registry, fed by the task cache, the routes and the keeper."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ips_flows.core.errors import ApiError, NewerFormatError, UnavailableError
from ips_flows.core.metrics import families
from ips_flows.core.metrics.counter import EventCounter, Sample, UnreadResults
from ips_flows.core.metrics.families import MetricFamily
from ips_flows.core.rest.task_store import COLLECTIONS
from ips_flows.core.results import stored_results
from ips_flows.core.results.results import Chunk
from ips_flows.jsonlog import warning
from ips_flows.kube.client import Kube, core
from ips_flows.kube.list_watch import Event, Replaced, Updated, WatchError

# `_created` series double the scrape and repeat process_start_time_seconds.
disable_created_metrics()  # type: ignore[no-untyped-call]

_PAUSES = (1.0, 5.0, 20.0, 60.0)  # seconds between attempts to read stored results

Route = tuple[str, str, int]  # method, template of the route, code


class KeeperStatus(Protocol):
    """Keeper state that the metrics show."""

    @property
    def finish_jobs(self) -> int:
        """Number of finish Jobs that it has started."""
        ...

    @property
    def holds_lease(self) -> bool:
        """Whether it holds the Lease now."""
        ...


class Metrics:
    """Metrics of one server: `handle` takes cache events, `request` counts responses, `exposition` serves a scrape.

    Between `start` and `stop` a thread reads each new results ConfigMap once, for the durations of pulls and
    batches.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        keeper: KeeperStatus | None = None,
        *,
        pauses: tuple[float, ...] = _PAUSES,
        monotonic: Callable[[], float] = time.monotonic,
        process: bool = True,
    ) -> None:
        self._kube, self._namespace, self._keeper = kube, namespace, keeper
        self._pauses, self._monotonic = pauses, monotonic
        self._counter, self._lock = EventCounter(), threading.Lock()
        self._heard = dict.fromkeys(COLLECTIONS, monotonic())
        self._troubled = dict.fromkeys(COLLECTIONS, False)
        self._listed: set[str] = set()
        self._routes: set[tuple[str, str]] = set()
        self._registry = CollectorRegistry()
        self._instruments = {
            family.name: _instrument(family, self._registry)
            for family in families.FAMILIES
            if family not in _SCRAPED_FAMILIES
        }
        self._registry.register(_ScrapeCollector(self._values_at_scrape))
        if process:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)
        self._unread: queue.SimpleQueue[UnreadResults | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read_results, name="results", daemon=True)

    def expect(self, routes: Iterable[Route]) -> None:
        """Create the series of possible responses. Other routes are counted as `other`."""
        for method, route, code in routes:
            self._routes.add((method, route))
            for family in (families.API_REQUESTS, families.API_SECONDS):
                self._instruments[family.name].labels(method, route, str(code))

    def start(self) -> None:
        """Start to read results."""
        self._reader.start()

    def stop(self) -> None:
        """Stop after the current read; wait up to 10 s for it."""
        self._stop.set()
        self._unread.put(None)
        self._reader.join(10)

    def handle(self, collection: str, event: Event) -> None:
        """Count an event of the task cache. Ignores other collections."""
        if collection not in self._heard:
            return
        samples: list[Sample] = []
        self._troubled[collection] = isinstance(event, WatchError) or (
            # A list does not show that a broken watch works again; a change or a Synced event does.
            isinstance(event, Replaced) and self._troubled[collection]
        )
        if not isinstance(event, WatchError):
            self._heard[collection] = self._monotonic()
        with self._lock:
            if isinstance(event, Replaced):
                self._listed.add(collection)
                samples = self._counter.listed(collection, event.items)
                samples.append(Sample(families.LISTS, (collection,)))
            elif isinstance(event, Updated):
                samples = self._counter.changed(collection, event.item, gone=event.gone)
            unread = self._counter.unread()
        self._record(samples)
        for one in unread:
            self._unread.put(one)

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count a response. `route` is the template, such as `/api/v1/tasks/{id}`."""
        known = (method, route) in self._routes
        labels = (
            method if method in families.METHODS else families.OTHER,
            route if known else families.OTHER,
            str(code),
        )
        self._record([Sample(families.API_REQUESTS, labels), Sample(families.API_SECONDS, labels, seconds)])

    def exposition(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and text of all metrics; OpenMetrics if the `Accept` header prefers it."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def _record(self, samples: Iterable[Sample]) -> None:
        for one in samples:
            instrument = self._instruments[one.family.name]
            child = instrument.labels(*one.labels) if one.labels else instrument
            if isinstance(child, Counter):
                child.inc(one.value)
            else:
                child.observe(one.value)

    def _values_at_scrape(self) -> Iterator[tuple[MetricFamily, tuple[str, ...], float]]:
        """Yield the values that are computed at scrape time."""
        with self._lock:
            active, pending = self._counter.active, self._counter.pending
        yield families.ACTIVE, (), active
        yield families.PENDING, (), pending
        for collection in COLLECTIONS:
            whole = collection in self._listed and not self._troubled[collection]
            yield families.IN_STEP, (collection,), whole
            yield families.SILENCE, (collection,), max(0.0, self._monotonic() - self._heard[collection])
        yield families.LEASE, (), self._keeper.holds_lease if self._keeper else False
        yield families.FINISH_JOBS, (), self._keeper.finish_jobs if self._keeper else 0
        yield families.BUILD, families.BUILD.labels["version"], 1

    # -- results

    def _read_results(self) -> None:
        while (one := self._unread.get()) is not None and not self._stop.is_set():
            try:
                chunk = self._fetch(one)
                with self._lock:
                    samples = self._counter.read(one, chunk) if chunk else []
            except (ApiError, NewerFormatError) as error:
                outcome, samples = "failed", []
                warning("stored results can't be read for the metrics", name=one.name, error=error.message)
            except stored_results.NOT_OURS as error:
                outcome, samples = "failed", []
                warning("stored results can't be read for the metrics", name=one.name, error=repr(error))
            else:
                outcome = "read" if chunk else "gone"
            self._record([*samples, Sample(families.READS, (outcome,))])

    def _fetch(self, one: UnreadResults) -> Chunk | None:
        """Return stored results, or None if they are deleted. Retries while the API server is unavailable."""
        for pause in self._pauses:
            try:
                return self._stored(one)
            except UnavailableError:
                if self._stop.wait(pause):
                    raise
        return self._stored(one)

    def _stored(self, one: UnreadResults) -> Chunk | None:
        # A list and not a get: the role of the server already allows `list`.
        found = self._kube.list(core(self._namespace, "configmaps"), fields=f"metadata.name={one.name}")
        for item in found:
            if item["metadata"]["uid"] == one.uid:
                return stored_results.decode(item["binaryData"])
        return None


_SCRAPED_FAMILIES = (
    families.ACTIVE,
    families.PENDING,
    families.IN_STEP,
    families.SILENCE,
    families.LEASE,
    families.FINISH_JOBS,
    families.BUILD,
)


class _ScrapeCollector(Collector):
    """Collector of the values that are computed at scrape time."""

    def __init__(self, now: Callable[[], Iterable[tuple[MetricFamily, tuple[str, ...], float]]]) -> None:
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that the registry rejects duplicate names."""
        return [_family(family) for family in _SCRAPED_FAMILIES]

    def collect(self) -> Iterable[Metric]:
        """Return the families with their current values."""
        collected = {family.name: _family(family) for family in _SCRAPED_FAMILIES}
        for family, labels, value in self._now():
            collected[family.name].add_metric(labels, float(value))
        return collected.values()


def _family(family: MetricFamily) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    return kind(family.name, family.help, labels=tuple(family.labels))


def _instrument(family: MetricFamily, registry: CollectorRegistry) -> Counter | Histogram:
    """Return a counter or histogram with every series that is known in advance."""
    labels = tuple(family.labels)
    made: Counter | Histogram
    if family.kind == "counter":
        made = Counter(family.name, family.help, labels, registry=registry)
    else:
        made = Histogram(family.name, family.help, labels, registry=registry, buckets=family.buckets)
    if labels:
        for values in itertools.product(*family.labels.values()):
            made.labels(*values)
    return made
