"""Hashing: photos -> what their descriptors belong to, in their order, ahead of its use, in threads.

Whoever writes a collection must know a content before it can tell whether it is new, and would otherwise
wait for the disk photo by photo. The file is read once more when it is decoded, out of the disk's cache.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import CancelledError, Future
from itertools import islice
from queue import SimpleQueue

from meisho.errors import ImageError
from meisho.photos import Photo
from meisho.planning import name_content

NUM_THREADS = 2
"""One reads while the other computes; a rotating disk would have to seek between more files at once."""

MAX_WAITING = 64
"""Photos hashed ahead: about what is decoded and described at the same time."""


def name_contents(
    photos: Iterable[Photo], *, num_threads: int = NUM_THREADS, max_waiting: int = MAX_WAITING
) -> Generator[str | ImageError]:
    """Yield what each photo's descriptor belongs to, see `name_content`, or why its file cannot be read.

    Args:
        photos: Any number of photos; the caller's thread takes them from here as they are needed.
        num_threads: Files read at once.
        max_waiting: Maximum number of photos hashed ahead.
    """
    photos, hashing = iter(photos), _Hashing()
    waiting = deque(hashing.submit(photo) for photo in islice(photos, max_waiting))
    hashing.start(min(num_threads, len(waiting)))
    try:
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(hashing.submit(photo) for photo in islice(photos, 1))
    finally:
        hashing.stop()


class _Hashing:
    """Threads that hash files.

    They are daemons, and nobody waits for their end: where a drive that has gone does not answer, Ctrl-C must
    still end the program, which a `ThreadPoolExecutor` would not let it.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Photo, Future[str | ImageError]] | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._num_threads = 0

    def start(self, num_threads: int) -> None:
        self._num_threads = num_threads
        for number in range(num_threads):
            threading.Thread(target=self._work, name=f"meisho-hashing-{number}", daemon=True).start()

    def submit(self, photo: Photo) -> "Future[str | ImageError]":
        future: Future[str | ImageError] = Future()
        self._jobs.put((photo, future))
        return future

    def stop(self) -> None:
        """Let the threads end, in the midst of a file too: it may be large and its drive slow."""
        self._stopped.set()
        for _ in range(self._num_threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopped.is_set():
            photo, future = job
            try:
                future.set_result(name_content(photo, check=self._check))
            except ImageError as error:
                future.set_result(error)
            except BaseException as error:  # raised where the result is asked for
                future.set_exception(error)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise CancelledError
