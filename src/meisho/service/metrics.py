"""Metrics: where the time of a request goes, for the answer itself, for people and for Prometheus."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE_LATEST
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

STAGES = ("wait", "decode", "describe", "search", "verify", "draw")
"""Waiting for a thread; decoding; describing; finding and folding; looking at local features, and all else
that a chain does; drawing pictures."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
_RECENT = 2_000
"""Requests whose times are kept for the quantiles."""


class Stopwatch:
    """Times of one request, s, by stage; a stage within another counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []

    def add(self, stage: str, seconds: float) -> None:
        """Add time to a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time inside for a stage."""
        self._within.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.add(stage, seconds - self._within.pop())
            if self._within:
                self._within[-1] += seconds

    def move(self, stage: str, seconds: float) -> None:
        """Count so much of the time of the stage that runs for another one: another process measured it."""
        self.add(stage, seconds)
        self._within[-1] += seconds

    def milliseconds(self) -> dict[str, float]:
        """Return the times in ms, of the stages that an answer tells of."""
        return {stage: round(1000 * self.seconds.get(stage, 0.0), 2) for stage in STAGES[:5]}


_running: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Count the time inside for a stage of the request that is being answered here."""
    watch = _running.get()
    if watch is None:
        yield
        return
    with watch.at(name):
        yield


def count_within(name: str, seconds: float) -> None:
    """Count time that another process measured for a stage, inside `timed`, which counts the rest."""
    if (watch := _running.get()) is not None:
        watch.move(name, seconds)


def times_so_far() -> dict[str, float]:
    """Return the times of the request that is being answered here, ms by stage."""
    return (_running.get() or Stopwatch()).milliseconds()


class Metrics:
    """Counts requests and times stages; any number of threads may tell it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "meisho_stage_seconds",
            "Time of a request in a stage",
            ["stage"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._requests = Counter(
            "meisho_requests", "Requests that were answered", ["method", "status"], registry=self._registry
        )
        self._gauges: dict[str, Gauge] = {}
        self._recent: dict[str, deque[float]] = {name: deque(maxlen=_RECENT) for name in STAGES}
        self._counts = dict.fromkeys(STAGES, 0)
        self._sums = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()
        for name in STAGES:
            self._stages.labels(name)

    @contextmanager
    def watch(self) -> Iterator[Stopwatch]:
        """Time a request: `timed` inside counts for it."""
        watch = Stopwatch()
        before = _running.set(watch)
        try:
            yield watch
        finally:
            _running.reset(before)
            self._observe(watch)

    def count_request(self, method: str, status: int) -> None:
        """Count an answer."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
        self._requests.labels(known, str(status)).inc()

    def gauge(self, name: str, help_text: str, value: float) -> None:
        """Say how much there is of something now."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, help_text, registry=self._registry)
        self._gauges[name].set(value)

    def expose(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self._registry)

    def timings(self) -> dict[str, dict[str, float]]:
        """Return for each stage how often it was, and its mean, p50 and p99 in ms of the latest requests."""
        with self._lock:
            recent = {name: np.array(values) for name, values in self._recent.items()}
            counts, sums = dict(self._counts), dict(self._sums)
        return {
            name: {
                "count": counts[name],
                "mean_ms": _ms(sums[name] / max(counts[name], 1)),
                "p50_ms": _ms(float(np.quantile(values, 0.5)) if len(values) else 0.0),
                "p99_ms": _ms(float(np.quantile(values, 0.99)) if len(values) else 0.0),
            }
            for name, values in recent.items()
        }

    def _observe(self, watch: Stopwatch) -> None:
        for name, seconds in watch.seconds.items():
            self._stages.labels(name).observe(seconds)
            with self._lock:
                self._recent[name].append(seconds)
                self._counts[name] += 1
                self._sums[name] += seconds


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
