"""Decoding: many photos -> loaded images, in order, in this process or in worker processes.

A worker is a bare Python process that imports only `meisho.images`, and what it is asked for. It starts in
0.1 s, never runs the caller's script again (so no `if __name__ == "__main__"` is needed), and ends when its
standard input closes, even if this process is killed. One thread here waits for each worker, so we always
know which photo it was decoding. If a worker dies (a decoder crash, the out-of-memory killer), that photo is
tried once more, then reported as an error, and the run goes on.

Memory is bounded: a worker that is about to decode a large photo asks for as much as it will take, and waits
until the others have given back enough (`meisho.memory`). A photo that takes more than all of it is named and
not tried. So is time: a worker that has computed on one photo for `MOST_SECONDS` is ended by the system.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from queue import LifoQueue
from typing import IO, Self, TypeVar, cast

from meisho.cores import count_cores
from meisho.errors import ConfigError, ImageError, MeishoError
from meisho.images import Header, ImageOptions, LoadedImage, load_sized_image, make_thumbnail, read_header
from meisho.memory import SMALL_BYTES, Admit, MemoryBudget, default_decoding_bytes, refuse_cost
from meisho.photos import Photo

SMALL_JOB = 8
"""Up to this many photos are decoded in this process: starting workers would take as long."""

MAX_WORKERS = 16
"""Maximum number of worker processes, unless more are asked for."""

MOST_SECONDS = 60
"""Processor time for one photo in a worker; the slowest sound photo of 300 megapixels takes about 15 s."""

_PIPE_BYTES = 2**20  # the most that Linux lets anybody have

T = TypeVar("T")

_WORKER = "import sys; sys.path[:] = sys.argv[1:]; from meisho.decoding import serve_photos; serve_photos()"


def load_images(
    photos: Iterable[Photo],
    options: ImageOptions,
    *,
    num_workers: int | None = None,
    max_waiting: int = 64,
    memory_bytes: int | None = None,
) -> Generator[tuple[Photo, LoadedImage | ImageError]]:
    """Load photos ahead of their use; yield each photo with its image, or with the error that prevented one.

    Args:
        photos: Any number of photos; the caller's thread takes them from here as they are needed.
        options: How the photos are loaded.
        num_workers: Number of worker processes; 0 decodes in this process. Default: one per core (at most
            `MAX_WORKERS`), or 0 for up to `SMALL_JOB` photos.
        max_waiting: Maximum number of photos loaded ahead; this bounds the memory.
        memory_bytes: What photos may take while they are decoded, all together. None: a quarter of the
            machine's memory.

    Raises:
        ConfigError: `num_workers` is negative.
        MeishoError: A worker process cannot be started.
    """
    check_num_workers(num_workers)
    photos = iter(photos)
    budget = MemoryBudget(memory_bytes or default_decoding_bytes())
    if num_workers is None:
        first = tuple(islice(photos, SMALL_JOB + 1))
        photos = chain(first, photos)
        num_workers = 0 if len(first) <= SMALL_JOB else min(count_cores(), MAX_WORKERS)
    if num_workers == 0:
        admit = partial(refuse_cost, most_bytes=budget.total_bytes)
        return ((photo, _load_here(photo, options, admit)) for photo in photos)
    return _load_in_workers(photos, _WorkerPool(num_workers, options, budget), max_waiting)


def check_num_workers(num_workers: int | None) -> None:
    """Check a number of worker processes.

    Raises:
        ConfigError: It is negative.
    """
    if num_workers is not None and num_workers < 0:
        raise ConfigError(
            f"num_workers is {num_workers}; give 0 to decode in this process, or a number of processes"
        )


@dataclass(frozen=True)
class _Cost:
    """What a worker is about to take, for which it waits."""

    num_bytes: int


def serve_photos() -> None:
    """Run as a worker: read limits, then requests, from standard input; reply to each with a value or error.

    A request is a function that reads a photo, the photo, and further arguments of the function. Before the
    first one comes what is to be prepared, a function that is called without waiting for requests.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole process group; the parent stops us
    requests = sys.stdin.buffer
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keep a decoder's prints out of the replies
        most_seconds, most_bytes, prepare = pickle.load(requests)
        _send(replies, "ready")
        if prepare is not None:
            with contextlib.suppress(MeishoError):  # who asks for it is told
                prepare()

        def admit(path: Path, cost_bytes: int) -> None:
            refuse_cost(path, cost_bytes, most_bytes=most_bytes)
            if cost_bytes > SMALL_BYTES:
                _send(replies, _Cost(cost_bytes))
                pickle.load(requests)  # comes once there is room

        while True:
            try:
                read, photo, arguments = pickle.load(requests)
            except EOFError:
                return
            _limit_time(most_seconds)
            _send(replies, _read(read, photo, arguments, admit))
            _limit_time(0)


def _limit_time(seconds: float) -> None:
    """Let the system end this process after so many seconds of processor time; 0 takes the limit away."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _read(
    read: Callable[..., T], photo: Photo, arguments: tuple[object, ...], admit: Admit
) -> T | MeishoError:
    try:
        return read(photo, *arguments, admit=admit)
    except MeishoError as error:
        return error


def _load_here(photo: Photo, options: ImageOptions, admit: Admit) -> LoadedImage | ImageError:
    try:
        return load_sized_image(photo, options, admit=admit)
    except ImageError as error:
        return error


def _send(pipe: IO[bytes], value: object) -> None:
    """Write a value, bypassing the pipe's buffer, whose contents would fail at close if the reader died."""
    data = memoryview(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
    while data:
        data = data[os.write(pipe.fileno(), data) :]


def _load_in_workers(
    photos: Iterator[Photo], pool: "_WorkerPool", max_waiting: int
) -> Generator[tuple[Photo, LoadedImage | ImageError]]:
    waiting: deque[tuple[Photo, Future[LoadedImage | ImageError]]] = deque()
    with pool:
        for photo in photos:
            waiting.append((photo, pool.submit(photo)))
            if len(waiting) >= max_waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


_OUT_OF_TIME = getattr(signal, "SIGPROF", 0)


class _Crew:
    """Worker processes, any of which may be asked, by as many threads as like; the rest of them wait.

    Who was busy last is asked next, so that no more of them load what they need than are needed at once.
    """

    def __init__(self, workers: Iterable["_Worker"]) -> None:
        self.workers = list(workers)
        self.idle: LifoQueue[_Worker] = LifoQueue()
        for worker in reversed(self.workers):
            self.idle.put(worker)

    def ask(self, read: Callable[..., T], photo: Photo, *arguments: object) -> T | ImageError:
        worker = self.idle.get()
        try:
            return worker.ask(read, photo, *arguments)
        finally:
            self.idle.put(worker)


class _WorkerPool:
    """Worker processes, with one thread per process to talk to it."""

    def __init__(self, num_workers: int, options: ImageOptions, budget: MemoryBudget) -> None:
        self._options = options
        self._crew = _Crew(_Worker(budget, MOST_SECONDS) for _ in range(num_workers))
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="meisho-decoding")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._crew.workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._crew.workers:
            worker.close()

    def submit(self, photo: Photo) -> "Future[LoadedImage | ImageError]":
        return self._threads.submit(self._crew.ask, load_sized_image, photo, self._options)


class _Worker:
    """One worker process, started when first needed and restarted if it dies."""

    def __init__(
        self, budget: MemoryBudget, most_seconds: float, prepare: Callable[[], object] | None = None
    ) -> None:
        self._budget, self._most_seconds, self._prepare = budget, most_seconds, prepare
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()  # no process may start after `end`

    def ask(self, read: Callable[..., T], photo: Photo, *arguments: object) -> T | ImageError:
        for _ in range(2):  # the first death may be caused by the memory use of others
            process = self._process or self._start()
            try:
                reply = _ask(process, (read, photo, arguments))
                if isinstance(reply, _Cost):
                    with self._budget.reserve(reply.num_bytes):
                        reply = _ask(process, "go")
                if isinstance(reply, MeishoError) and not isinstance(reply, ImageError):
                    raise reply
                return cast(T | ImageError, reply)  # all that `serve_photos` sends
            except (OSError, EOFError, pickle.UnpicklingError):  # it died before or during its reply
                status = self.close()
                if status == -_OUT_OF_TIME:
                    reason = f"decoding it takes more than {self._most_seconds:g} s of a processor"
                    return ImageError(photo.path, reason)
        return ImageError(photo.path, f"decoding it ended the worker process twice ({_describe(status)})")

    def start(self) -> None:
        """Start the process now, where it does not run."""
        if self._process is None:
            self._start()

    def end(self) -> None:
        """Kill the process for good; the thread waiting for its reply will notice."""
        with self._lock:
            self._ended = True
            if (process := self._process) is not None:
                process.kill()

    def close(self) -> int:
        """Clean up after the process and return its exit status, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()  # in case only its pipes broke
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise CancelledError
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _WORKER, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # where image libraries write warnings
            )
        _widen(self._process)
        try:
            _ask(self._process, (self._most_seconds, self._budget.total_bytes, self._prepare))
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            if self._ended:
                raise CancelledError from error
            raise MeishoError(
                f"a worker process to decode photos did not start ({_describe(self.close())}); "
                "use num_workers=0 to decode in this process"
            ) from error
        return self._process


class GuardedDecoder:
    """Worker processes that stay, for single photos that come at any time; any number of threads may ask.

    A photo that ends a worker is reported like any other that cannot be read, and another worker is started.

    Args:
        num_workers: Photos that are decoded at once.
        memory_bytes: What photos may take while they are decoded, all together. None: a quarter of the
            machine's memory.
        most_seconds: Processor time for one photo.
        prepare: What the worker that is asked first calls when it has started, so that a lone photo need not
            wait for it; a function that can be pickled.
    """

    def __init__(
        self,
        num_workers: int,
        *,
        memory_bytes: int | None = None,
        most_seconds: float = MOST_SECONDS,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        budget = MemoryBudget(memory_bytes or default_decoding_bytes())
        first = _Worker(budget, most_seconds, prepare)
        self._crew = _Crew([first, *(_Worker(budget, most_seconds) for _ in range(num_workers - 1))])

    def load(self, photo: Photo, options: ImageOptions) -> LoadedImage:
        """Read one photo as `meisho.images.load_sized_image` does.

        Raises:
            ImageError: It cannot be read, or ended two workers.
            CancelledError: The decoder was closed.
        """
        return self.ask(load_sized_image, photo, options)

    def draw(self, photo: Photo, max_side_px: int, quality: int) -> bytes:
        """Return a JPEG of the upright photo, see `meisho.images.make_thumbnail`; raises as `load`."""
        return self.ask(make_thumbnail, photo, max_side_px, quality)

    def read_header(self, photo: Photo) -> Header:
        """Return what the photo's header says, see `meisho.images.read_header`; raises as `load`."""
        return self.ask(read_header, photo)

    def ask(self, read: Callable[..., T], photo: Photo, *arguments: object) -> T:
        """Return what a function that can be pickled makes of a photo, in a worker.

        Args:
            read: Called with the photo, the arguments, and `admit`, see `meisho.memory`.
            photo: The photo.
            *arguments: Any that can be pickled.

        Raises:
            MeishoError: What the function raised.
            ImageError: The photo cannot be read, or ended two workers.
            CancelledError: The decoder was closed.
        """
        found = self._crew.ask(read, photo, *arguments)
        if isinstance(found, ImageError):
            raise found
        return found

    def start(self) -> None:
        """Start the workers now, so that the first photos need not wait for it."""
        for worker in self._crew.workers:
            worker.start()

    def close(self) -> None:
        """End the workers; photos that are being decoded are given up."""
        for worker in self._crew.workers:
            worker.end()
        for _ in self._crew.workers:  # each comes back when who waits for its reply has seen it end
            self._crew.idle.get().close()
        for worker in self._crew.workers:
            self._crew.idle.put(worker)


def _ask(process: subprocess.Popen[bytes], value: object) -> object:
    """Send a value to a worker and return its reply."""
    assert process.stdin is not None and process.stdout is not None  # both were requested from Popen
    _send(process.stdin, value)
    reply: object = pickle.load(process.stdout)
    return reply


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Let a photo and its pixels go through the pipes at once, not 64 kB at a time, where the system can."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl  # not on Windows

        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _describe(status: int) -> str:
    """Describe how a process ended."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status}, {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
