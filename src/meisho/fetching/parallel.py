"""A few files at once, in threads that an interrupt, or an error that concerns all, stops in good order."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from meisho.errors import MeishoError
from meisho.fetching.download import StoppedError

T = TypeVar("T")

_GRACE_SECONDS = 5.0


def run_parallel(
    function: Callable[[T], None], items: Sequence[T], parallel: int, stop: threading.Event
) -> list[MeishoError]:
    """Call the function for each item, and return the errors that concern single items.

    Every other error (a full disk, say) sets `stop`, ends all of it, and is raised. So does an interrupt:
    threads that wait for a silent server are left to end with the process.
    """
    work: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        work.put(item)
    errors: list[MeishoError] = []
    fatal: list[BaseException] = []

    def run() -> None:
        while not stop.is_set():
            try:
                function(work.get_nowait())
            except (queue.Empty, StoppedError):
                return
            except MeishoError as error:
                errors.append(error)
            except BaseException as error:
                fatal.append(error)
                stop.set()

    threads = [
        threading.Thread(target=run, daemon=True, name=f"meisho-fetching-{number}")
        for number in range(min(parallel, len(items)))
    ]
    _run_threads(threads, stop)
    if fatal:
        raise fatal[0]
    return errors


def _run_threads(threads: Sequence[threading.Thread], stop: threading.Event) -> None:
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:  # an interrupt
        stop.set()
        end = time.monotonic() + _GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        raise
