"""Memory: how much of it decoding photos may take, and waiting for a part of it."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from meisho.errors import ConfigError, ImageError

DECODING_SHARE = 0.25
"""Of the machine's memory, what photos may take that are being decoded, unless another size is asked for."""
SMALL_BYTES = 2**26
"""A photo that takes less is not counted: a worker decodes it without asking."""

_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_FALLBACK_BYTES = 2**32
_M_ARENA_MAX = -8
"""Of glibc's malloc.h: how many heaps a process may have."""
_HEAPS = 2
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def count_memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or less where it runs in a container."""
    found = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _CGROUPS:
        with suppress(OSError, ValueError):  # not there, or "max"
            found.append(int(file.read_text()))
    return min((size for size in found if size > 0), default=_FALLBACK_BYTES)


@cache  # asked for each photo
def default_decoding_bytes() -> int:
    """Return what decoding may take unless another size is asked for; at least enough for small photos."""
    return max(SMALL_BYTES, int(DECODING_SHARE * count_memory_bytes()))


def share_heaps() -> None:
    """Let the threads of this process share two heaps, where the C library is glibc.

    glibc gives threads heaps of their own, up to eight for each core, and each keeps what its threads have
    freed: a service of eighty threads grows with work that is long done. For programs only, before they
    start threads; what the user has set (MALLOC_ARENA_MAX) stands.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError, TypeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def parse_bytes(text: str) -> int:
    """Read a size such as 2G, 500M or 1.5G.

    Raises:
        ConfigError: It is none, or not more than 0.
    """
    number, unit = text.strip().upper().removesuffix("B"), ""
    if number[-1:] in _UNITS and number:
        number, unit = number[:-1], number[-1:]
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise ConfigError(f"{text!r} is no size; give one such as 500M or 2G")
    return size


def show_bytes(size: int) -> str:
    """Return a size as people read it, such as 1.5 GB."""
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


Admit = Callable[[Path, int], None]
"""Called with a photo and the bytes that decoding it takes, before it is decoded; refuses it or waits."""


def refuse_cost(path: Path, cost_bytes: int, *, most_bytes: int | None = None) -> None:
    """Refuse a photo that takes more memory than all photos together may.

    Args:
        path: The photo.
        cost_bytes: What decoding it takes.
        most_bytes: What all together may take; None for the default.

    Raises:
        ImageError: It takes more.
    """
    most_bytes = most_bytes or default_decoding_bytes()
    if cost_bytes > most_bytes:
        raise ImageError(
            path,
            f"decoding it takes about {show_bytes(cost_bytes)} of memory, and photos may take "
            f"{show_bytes(most_bytes)}; allow more with --memory {-(-cost_bytes // 2**30)}G",
        )


class MemoryBudget:
    """Memory that several threads share; each waits until there is enough for it."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._left = total_bytes
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Wait for a part of it, and give it back at the end; more than all of it counts as all of it."""
        size = min(size_bytes, self.total_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()
