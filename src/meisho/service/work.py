"""Work: what takes long is done in threads, and only so much of it may wait for one."""

import asyncio
import contextvars
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import ParamSpec, TypeVar

from meisho.service.metrics import Metrics
from meisho.service.problems import RefusedError
from meisho.service.turns import MOST_TOGETHER, Turns
from meisho.texts import count

P = ParamSpec("P")
T = TypeVar("T")

_MOST_RETRY_SECONDS = 30


class Work:
    """Threads that answer, and a bounded number of questions that wait for one.

    Args:
        num_threads: Questions that are answered at once.
        most_waiting: Questions that may wait.
        metrics: Told how long each waited.
        name: What the threads are called.
        takes_turns: Whether they take turns: more are under way then, of which some wait for decoders, or for
            others that search with them.
    """

    def __init__(
        self,
        num_threads: int,
        most_waiting: int,
        metrics: Metrics,
        *,
        name: str,
        takes_turns: bool = False,
    ) -> None:
        self._turns = Turns(num_threads) if takes_turns else None
        self._under_way = num_threads + (2 * MOST_TOGETHER if takes_turns else 0)
        self._threads = ThreadPoolExecutor(self._under_way, thread_name_prefix=f"meisho-{name}")
        self._most = num_threads + most_waiting
        self._metrics = metrics
        self._inside, self._mean_seconds = 0, 0.1
        self._lock = threading.Lock()

    @property
    def num_inside(self) -> int:
        """Questions that are being answered or wait."""
        return self._inside

    async def run(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call a function in one of the threads and return what it does.

        Raises:
            RefusedError: Too many wait already ("busy").
        """
        return await asyncio.wrap_future(self.submit(function, *args, **options))

    def submit(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> "Future[T]":
        """Begin to call a function in one of the threads.

        Raises:
            RefusedError: Too many wait already ("busy").
        """
        self._enter()
        context, asked = contextvars.copy_context(), time.perf_counter()

        def call() -> T:
            begun = time.perf_counter()
            try:
                with self._metrics.watch() as watch, self._turns.taken() if self._turns else nullcontext():
                    watch.add("wait", begun - asked)
                    return function(*args, **options)
            finally:
                self._leave(time.perf_counter() - begun)

        try:
            future = self._threads.submit(context.run, call)
        except RuntimeError as error:  # it was closed
            self._leave(0.0)
            raise RefusedError("stopping", "the service stops; ask again in a while") from error
        future.add_done_callback(self._forget_cancelled)
        return future

    def close(self) -> None:
        """Let what is under way end, and begin nothing else."""
        self._threads.shutdown(cancel_futures=True)

    def _enter(self) -> None:
        with self._lock:
            if self._inside >= self._most:
                wait = math.ceil(self._inside * self._mean_seconds / self._under_way)
                wait = min(max(wait, 1), _MOST_RETRY_SECONDS)
                raise RefusedError(
                    "busy",
                    f"{count(self._inside, 'question')} wait already",
                    remedy=f"ask again in {wait} s",
                    headers={"Retry-After": str(wait)},
                )
            self._inside += 1

    def _forget_cancelled(self, future: "Future[T]") -> None:
        if future.cancelled():  # who asked went away before it began
            self._leave(0.0)

    def _leave(self, seconds: float) -> None:
        with self._lock:
            self._inside -= 1
            self._mean_seconds += (seconds - self._mean_seconds) / 16
