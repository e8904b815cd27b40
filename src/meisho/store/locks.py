"""Who writes to a collection, and whether anyone reads it: locks that the system frees on a kill."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from meisho.errors import LockedError
from meisho.files import write_text
from meisho.store.tables import plain_errors

try:
    import fcntl
except ImportError:  # Windows
    HAVE_FLOCK = False
else:
    HAVE_FLOCK = True

LOCK_FILE = "writer.lock"
OWNER_FILE = "writer.json"
READERS_FILE = "readers.lock"


@contextmanager
def hold_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a collection; the operating system frees it when the process ends, however it ends.

    Raises:
        LockedError: Another process or thread holds it.
    """
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
        yield
    finally:
        (directory / OWNER_FILE).unlink(missing_ok=True)
        lock.release()


def _write_owner(directory: Path) -> None:
    write_text(directory / OWNER_FILE, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))


def _read_owner(directory: Path) -> str:
    try:
        owner = json.loads((directory / OWNER_FILE).read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has only just begun, or is ending


@contextmanager
def announce_reading(directory: Path) -> Iterator[None]:
    """Say that this process reads, so that no file is deleted under it; waits while files are being deleted.

    Where that cannot be said (no such file, Windows) reading goes on: deletion then spares young versions.
    """
    with _open_readers_file(directory) as file:
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def hold_off_readers(directory: Path) -> Iterator[bool]:
    """Keep readers from beginning, and give whether there is none now."""
    with _open_readers_file(directory) as file:
        yield file is not None and _try_lock(file)


@contextmanager
def _open_readers_file(directory: Path) -> Iterator[int | None]:
    try:
        file = os.open(directory / READERS_FILE, os.O_RDONLY) if HAVE_FLOCK else None
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
