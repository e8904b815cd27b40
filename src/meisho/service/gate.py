"""Gate: one writer of a collection at a time within a service, and changes that are committed together."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from meisho.errors import LockedError

Item = TypeVar("Item")
Result = TypeVar("Result")

_NUM_NAMES = 64


class Gate:
    """Lets one writer at a time through; who is quick waits, who would wait for a job is told so.

    Args:
        collection: The collection's directory, for messages.
    """

    def __init__(self, collection: Path) -> None:
        self._collection = collection
        self._changed = threading.Condition()
        self._holder: str | None = None
        self._is_job = False
        self._names = [threading.Lock() for _ in range(_NUM_NAMES)]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the gate for a change that takes moments.

        Raises:
            LockedError: A job holds it.
        """
        with self._changed:
            while self._holder is not None:
                if self._is_job:
                    raise LockedError(
                        f"{self._collection}: {self._holder} is writing to it; wait for its end, or cancel it"
                    )
                self._changed.wait()
            self._holder, self._is_job = "a change", False
        try:
            yield
        finally:
            self._open()

    @contextmanager
    def job(self, name: str, is_cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Wait for the gate, then hold it; yields False at once where the job was cancelled before."""
        with self._changed:
            self._changed.wait_for(lambda: self._holder is None or is_cancelled())
            if let_in := not is_cancelled():
                self._holder, self._is_job = name, True
        try:
            yield let_in
        finally:
            if let_in:
                self._open()

    def wake(self) -> None:
        """Let who waits look whether it was cancelled."""
        with self._changed:
            self._changed.notify_all()

    def of(self, path: Path) -> threading.Lock:
        """Return the lock of a name, so that one change at a time is made to it."""
        return self._names[hash(path) % _NUM_NAMES]

    def _open(self) -> None:
        with self._changed:
            self._holder = None
            self._changed.notify_all()


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    result: Result | None = None
    error: BaseException | None = None
    is_done: bool = False


class Together(Generic[Item, Result]):
    """Calls a function with all that came while it was busy: a commit of ten costs little more than of one.

    Args:
        do: Takes items and returns as many results, in order.
    """

    def __init__(self, do: Callable[[list[Item]], Iterable[Result]]) -> None:
        self._do = do
        self._lock, self._busy = threading.Lock(), threading.Lock()
        self._waiting: list[_Waiting[Item, Result]] = []

    def __call__(self, item: Item) -> Result:
        """Return the result of an item; raises what the function raised."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            self._waiting.append(mine)
        with self._busy:
            if not mine.is_done:
                self._run()
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]

    def _run(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            for each, result in zip(batch, self._do([each.item for each in batch]), strict=True):
                each.result = result
        except BaseException as error:
            for each in batch:
                each.error = error
        for each in batch:
            each.is_done = True
