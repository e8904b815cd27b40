"""Turns: as many questions compute at once as there are cores, and those that come to search do it together.

A question that waits for a decoder lends its turn to another. One that is described gives it up where others
wait to be described: a search reads all vectors of a collection, and reads them once for several questions.
Those that were searched for by another then end one by one, beside the turns, and with turns that nobody else
waits for: at once, they would hold all of them, and the processes that describe would have nothing to do.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.errors import MeishoError
from meisho.index.base import Searcher
from meisho.index.following import FollowingIndex
from meisho.service.metrics import timed

MOST_TOGETHER = 16
"""Questions that are searched together: more of them cost each other's time more than they save."""


@dataclass(eq=False)
class _Asked:
    """A search that waits for others.

    Attributes:
        index: What is searched.
        queries: (Q, D).
        top: How many rows each gets.
        woken: Set when the question may go on: to search for all, or with what was found for it.
        led: The searches that it is to do, its own among them; none where another did it.
        found: Rows (Q, K) and their scores; None where it failed, or is not done.
        is_beside: Whether it goes on with the turn beside the others.
    """

    index: Searcher
    queries: Float32Array
    top: int
    woken: threading.Event = field(default_factory=threading.Event)
    led: "Sequence[_Asked]" = ()
    found: tuple[Int64Array, Float32Array] | None = None
    is_beside: bool = False


class Turns:
    """Turns to compute, for any number of threads; who has none waits.

    Args:
        number: Questions that compute at once, beside one for which another has searched.
    """

    def __init__(self, number: int) -> None:
        self._free = number  # none is free while anybody waits, asks or could end
        self._lock = threading.Lock()
        self._waiting = deque[threading.Event]()
        self._asking: list[_Asked] = []
        self._ending = deque[_Asked]()  # for which others have searched
        self._one_ends = False  # beside the turns

    @property
    def num_waiting(self) -> int:
        """Questions that wait for a turn."""
        return len(self._waiting)

    @property
    def num_free(self) -> int:
        """Turns that nobody has."""
        return self._free

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have a turn inside; `lent` and `TogetherIndex` know of it."""
        turn = _Turn(self)
        turn.take()
        before = _running.set(turn)
        try:
            yield
        finally:
            _running.reset(before)
            turn.give()

    def take(self) -> None:
        """Wait for a turn."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            woken = threading.Event()
            self._waiting.append(woken)
        with timed("wait"):
            woken.wait()

    def give(self, *, is_beside: bool = False) -> None:
        """Let another have a turn, or the one beside the others."""
        with self._lock:
            if is_beside:
                self._one_ends = False
                self._end_others()
            elif self._waiting:
                self._waiting.popleft().set()
            elif self._asking:  # nobody else would
                first = self._asking[0]
                first.led, self._asking = self._asking, []
                first.woken.set()
            else:
                self._free += 1
                self._end_others()

    def join(self, asked: _Asked) -> bool:
        """Let a question search with others; says whether it must give up its turn, and wait for them."""
        with self._lock:
            self._asking.append(asked)
            if self._waiting and len(self._asking) < MOST_TOGETHER:
                return True
            asked.led, self._asking = self._asking, []
            return False

    def end(self, found: Iterable[_Asked]) -> None:
        """Let those that others have searched for go on: one, and as many more as there are free turns."""
        with self._lock:
            self._ending.extend(found)
            self._end_others()

    def _end_others(self) -> None:
        while self._ending and (self._free or not self._one_ends):
            asked = self._ending.popleft()
            if self._free:
                self._free -= 1
            else:
                self._one_ends = asked.is_beside = True
            asked.woken.set()


@dataclass(eq=False)
class _Turn:
    """The turn of one question.

    Attributes:
        turns: Where it comes from.
        is_beside: Whether it is the one beside the number, of those which end one by one.
    """

    turns: Turns
    is_beside: bool = False

    def take(self) -> None:
        self.turns.take()
        self.is_beside = False

    def give(self) -> None:
        self.turns.give(is_beside=self.is_beside)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let others have this turn inside."""
        self.give()
        try:
            yield
        finally:
            self.take()

    def search(self, index: Searcher, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Search as `index` does, together with others that come to it while something else is to do."""
        asked = _Asked(index, queries, top)
        if self.turns.join(asked):
            self.give()
            with timed("wait"):
                asked.woken.wait()
            self.is_beside = asked.is_beside
        if asked.led:
            try:
                _search_together(asked.led)
            finally:
                self.turns.end(other for other in asked.led if other is not asked)
        return index.search(queries, top) if asked.found is None else asked.found


def _search_together(several: Sequence[_Asked]) -> None:
    """Do searches, those of the same index to the same depth at once; those that fail are left undone."""
    groups: dict[tuple[int, int], list[_Asked]] = {}
    for asked in several:
        groups.setdefault((id(asked.index), asked.top), []).append(asked)
    for group in groups.values():
        try:
            queries = np.concatenate([asked.queries for asked in group])
            rows, scores = group[0].index.search(queries, group[0].top)
        except (MeishoError, ValueError):  # one of them cannot be asked; each is told when it tries alone
            continue
        ends = np.cumsum([len(asked.queries) for asked in group])[:-1]
        for asked, own_rows, own_scores in zip(
            group, np.split(rows, ends), np.split(scores, ends), strict=True
        ):
            asked.found = own_rows, own_scores


_running: ContextVar[_Turn | None] = ContextVar("turn", default=None)


@contextmanager
def lent() -> Iterator[None]:
    """Let another question compute while the one that is being answered here waits for something."""
    turn = _running.get()
    if turn is None:
        yield
        return
    with turn.lent():
        yield


@dataclass(frozen=True, eq=False)
class TogetherIndex:
    """An index that questions of a service search together where it looks at every row.

    Attributes:
        index: The index of a collection.
    """

    index: FollowingIndex

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best rows of each of (Q, D) queries; see `Searcher.search`."""
        turn = _running.get()
        if turn is None or not self.index.is_exact:
            return self.index.search(queries, top)
        return turn.search(self.index, queries, top)
