"""Progress: how far a run is, and what it waits for, told to whoever wants to show it."""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

Progress = Callable[[str, int, int], None]
"""Called with the stage ("describe"), how much of it is done, and how much there is; 0: not known."""

READING, DECODING, DESCRIBING = "reading", "decoding", "describing"
SAVING, BUILDING = "saving", "building the index"

Item = TypeVar("Item")


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""


class Stages:
    """What the thread that leads a run spends its time on; the stage with the most of it is the bottleneck.

    The thread works in some stages itself, and waits in others for what threads and processes do ahead of it:
    where they keep up with it, it does not wait. Each moment belongs to one stage, the innermost.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stage = ""
        self._since = clock()

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count what happens inside to a stage, but for what happens in stages within it."""
        outer = self._enter(stage)
        try:
            yield
        finally:
            self._enter(outer)

    def waiting(self, stage: str, items: Iterable[Item]) -> Generator[Item]:
        """Yield items; what each takes to come counts to a stage."""
        iterator = iter(items)
        while True:
            with self.at(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage so far; any thread may ask."""
        return {stage: seconds for stage, seconds in self._seconds.copy().items() if stage}

    def _enter(self, stage: str) -> str:
        now = self._clock()
        self._seconds[self._stage] += now - self._since
        outer, self._stage, self._since = self._stage, stage, now
        return outer


def find_bottleneck(seconds: Mapping[str, float], *, least_seconds: float = 0.0) -> str | None:
    """Return the stage that takes more than half of the time of all, if one does.

    Args:
        seconds: Time of each stage.
        least_seconds: Time that all must have taken together before anything can be told.
    """
    total = sum(seconds.values())
    stage = max(seconds, key=lambda each: seconds[each], default=None)
    return stage if stage is not None and 2 * seconds[stage] > total >= least_seconds else None
