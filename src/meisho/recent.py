"""Recent: what was used last stays in memory, up to so many bytes."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_OBJECT_BYTES = 1_000
"""What Python takes around the numbers of a value."""


class Recent(Generic[K, V]):
    """Keeps the values that were used last; any number of threads may ask at once.

    Args:
        max_bytes: How much is kept at the most; a value that is larger is not kept at all.
        size_of: The bytes of a value's numbers.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self._max_bytes, self._size_of = max_bytes, size_of
        self._kept: dict[K, V] = {}  # the one used longest ago comes first
        self._num_bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """The bytes of all that is kept."""
        return self._num_bytes

    def get(self, key: K) -> V | None:
        """Return the value of a key, which counts as used now; None where it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            value = self._kept[key] = self._kept.pop(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Keep a value in place of what was used longest ago."""
        size = self._size(value)
        with self._lock:
            if key in self._kept:
                self._num_bytes -= self._size(self._kept.pop(key))
            if size > self._max_bytes:
                return
            self._kept[key] = value
            self._num_bytes += size
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._size(self._kept.pop(next(iter(self._kept))))

    def _size(self, value: V) -> int:
        return self._size_of(value) + _OBJECT_BYTES

    def get_many(self, keys: Sequence[K], load: Callable[[list[K]], Iterable[V]]) -> list[V]:
        """Return the values of keys in that order.

        Args:
            keys: Any, also twice.
            load: Called once with the different keys that are not kept; gives their values in that order.
        """
        found = {key: value for key in dict.fromkeys(keys) if (value := self.get(key)) is not None}
        new = [key for key in dict.fromkeys(keys) if key not in found]
        for key, value in zip(new, load(new) if new else (), strict=True):
            found[key] = value
            self.put(key, value)
        return [found[key] for key in keys]
