"""Names: one text of each row, such as its id, read from a file of all of them when it is asked for."""

from collections.abc import Sequence
from typing import overload

from meisho.arrays import Int64Array


class Names(Sequence[str]):
    """N texts, of which none is in memory before it is asked for.

    Args:
        texts: All of them in one piece, UTF-8.
        starts: (N,) where each begins.
        ends: (N,) where each ends.
    """

    def __init__(self, texts: memoryview, starts: Int64Array, ends: Int64Array) -> None:
        self._texts, self._starts, self._ends = texts, starts, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[str, ...]: ...
    def __getitem__(self, key: int | slice) -> str | tuple[str, ...]:
        if isinstance(key, slice):
            return tuple(self[row] for row in range(*key.indices(len(self))))
        return bytes(self._texts[self._starts[key] : self._ends[key]]).decode("utf-8", "surrogatepass")
