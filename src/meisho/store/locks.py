"""Locks for the writer and the readers of a collection; the operating system frees them after a kill."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from meisho.buckets import BucketPath
from meisho.documents import one_line, read_json
from meisho.errors import CollectionError, LockedError
from meisho.files import write_text
from meisho.store.leases import hold_lease, wait_until_free
from meisho.store.places import OWNER_FILE
from meisho.store.tables import FileLock, Timeout, plain_errors

try:
    import fcntl
except ImportError:  # Windows
    HAVE_FLOCK = False
else:
    HAVE_FLOCK = True

LOCK_FILE = "writer.lock"
READERS_FILE = "readers.lock"
_LOOK_SECONDS = 0.5


@contextmanager
def hold_lock(directory: Path) -> Iterator[Callable[[], None]]:
    """Hold a collection's write lock; the operating system frees it however the process ends.

    Of a collection in a bucket it is a lease, see `meisho.store.leases`.

    Yields:
        What makes sure that it is still held, and raises where it is not.

    Raises:
        LockedError: Another process or thread holds it.
    """
    if isinstance(directory, BucketPath):
        with hold_lease(directory) as lease:
            yield lease.check
        return
    lock = FileLock(directory / LOCK_FILE, timeout=0, thread_local=False)
    with plain_errors(directory, "lock it for writing"):
        try:
            lock.acquire()
        except Timeout as error:
            raise LockedError(
                f"{directory}: {_read_owner(directory)} is writing to it; wait for it to end, or stop it"
            ) from error
    try:
        with plain_errors(directory, "write to it"):
            _write_owner(directory)
        yield _is_held
    finally:
        (directory / OWNER_FILE).unlink(missing_ok=True)
        lock.release()


def _is_held() -> None:
    """A lock of the operating system stays with its process."""


def wait_for_writer(directory: Path) -> None:
    """Wait until nobody writes to a collection; who writes next is not said."""
    if isinstance(directory, BucketPath):
        wait_until_free(directory, _LOOK_SECONDS)
        return
    lock = FileLock(directory / LOCK_FILE, thread_local=False)
    with plain_errors(directory, "look whether somebody writes to it"):
        lock.acquire(poll_interval=_LOOK_SECONDS)
        lock.release()


def _write_owner(directory: Path) -> None:
    write_text(directory / OWNER_FILE, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))


def _read_owner(directory: Path) -> str:
    try:
        owner = read_json(directory / OWNER_FILE, error=CollectionError, most_bytes=10_000)
        return f"process {owner.integer('pid')} on {one_line(owner.text('host'), 80)}"
    except CollectionError:
        return "another process"  # it has only just started, or is about to end


@contextmanager
def announce_reading(directory: Path) -> Iterator[None]:
    """Announce that this process is reading, so that no file it needs is deleted.

    Waits while files are being deleted. Where this is impossible (no lock file, Windows, a bucket), reading
    goes on anyway; deletion then spares recent versions.
    """
    with _open_readers_file(directory) as file:
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def hold_off_readers(directory: Path) -> Iterator[bool]:
    """Keep new readers waiting; yield whether nobody is reading now."""
    with _open_readers_file(directory) as file:
        yield file is not None and _try_lock(file)


@contextmanager
def _open_readers_file(directory: Path) -> Iterator[int | None]:
    can_lock = HAVE_FLOCK and not isinstance(directory, BucketPath)
    try:
        file = os.open(directory / READERS_FILE, os.O_RDONLY) if can_lock else None
    except OSError:
        file = None
    try:
        yield file
    finally:
        if file is not None:
            os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
