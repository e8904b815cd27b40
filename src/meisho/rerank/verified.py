"""Verified pairs: what geometric verification found, so that no pair is verified twice."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import BoolArray, Float32Array, Float64Array
from meisho.geometry.ransac import Model, Verification
from meisho.matches import Matches
from meisho.recent import Recent


@dataclass(frozen=True, eq=False)
class VerifiedPair:
    """A query and a database photo whose matches were verified.

    Attributes:
        matches: M matches between their local features.
        verification: The model that the most matches agree on, and which those are.
    """

    matches: Matches
    verification: Verification

    @property
    def num_inliers(self) -> int:
        """Number of matches that agree."""
        return self.verification.num_inliers


class VerifiedPairs:
    """Pairs that were verified: the number of inliers of all, and the geometry of the latest.

    A pair is named by how it was verified (anything hashable, such as matcher and options), its row among
    the queries and its row in the database.

    Args:
        max_bytes: Memory for matches and models; 300 matches take about 5 kB.
    """

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self._num_inliers: dict[tuple[Hashable, int, int], int] = {}
        self._geometry = Recent[tuple[Hashable, int, int], _Packed](max_bytes, _Packed.count_bytes)

    def __len__(self) -> int:
        return len(self._num_inliers)

    def put(
        self, how: Hashable, query_row: int, row: int, pair: VerifiedPair, *, lasting: bool = True
    ) -> None:
        """Keep a pair; one that is not `lasting` may turn out otherwise the next time it is asked for."""
        self._num_inliers[how, query_row, row] = pair.num_inliers
        self._geometry.put((how, query_row, row), _Packed.pack(pair))

    def num_inliers(self, how: Hashable, query_row: int, row: int) -> int | None:
        """Return the number of inliers of a pair; None where it was not verified in this way."""
        return self._num_inliers.get((how, query_row, row))

    def get(self, how: Hashable, query_row: int, row: int) -> VerifiedPair | None:
        """Return a pair with its geometry; None where that is not kept, or the pair was not verified."""
        packed = self._geometry.get((how, query_row, row))
        return None if packed is None else packed.unpack()

    def find_verified(self, least_inliers: int) -> set[tuple[int, int]]:
        """Return the (query row, database row) of pairs with enough inliers, however verified."""
        return {
            (query, row) for (_, query, row), number in self._num_inliers.items() if number >= least_inliers
        }


class _Packed(NamedTuple):
    """A pair in 13 bytes for each match."""

    rows: NDArray[np.int32]
    similarities: Float32Array
    inliers: BoolArray
    model: Model
    query_to_database: Float64Array | None

    @classmethod
    def pack(cls, pair: VerifiedPair) -> "_Packed":
        matches, verification = pair.matches, pair.verification
        return cls(
            matches.rows.astype(np.int32),
            matches.similarities.copy(),
            verification.inliers.copy(),
            verification.model,
            verification.query_to_database,
        )

    def unpack(self) -> VerifiedPair:
        rows = self.rows.astype(np.int64)
        return VerifiedPair(
            Matches(rows, self.similarities), Verification(self.model, self.query_to_database, self.inliers)
        )

    def count_bytes(self) -> int:
        return self.rows.nbytes + self.similarities.nbytes + self.inliers.nbytes + 9 * 8


class RememberedPairs(VerifiedPairs):
    """Pairs of one question that remember those of earlier questions, whatever rows they had there.

    Args:
        memory: What is remembered, bounded in bytes; shared by all questions, from any thread.
        queries: What tells each query's local features from others, by its row.
        photos: (N,) uint64 keys of the database photos, by their rows.
    """

    def __init__(self, memory: "PairMemory", queries: Sequence[str], photos: NDArray[np.uint64]) -> None:
        super().__init__()
        self._memory, self._queries, self._photos = memory, queries, photos

    def put(
        self, how: Hashable, query_row: int, row: int, pair: VerifiedPair, *, lasting: bool = True
    ) -> None:
        """Keep a pair, and remember it if it is `lasting`."""
        super().put(how, query_row, row, pair)
        if lasting:
            self._memory.put((how, self._queries[query_row], int(self._photos[row])), _Packed.pack(pair))

    def num_inliers(self, how: Hashable, query_row: int, row: int) -> int | None:
        """Return the number of inliers of a pair; None where it was not verified in this way."""
        known = super().num_inliers(how, query_row, row)
        if known is None and (pair := self.get(how, query_row, row)) is not None:
            super().put(how, query_row, row, pair)  # counts as verified by this question too
            return pair.verification.num_inliers
        return known

    def get(self, how: Hashable, query_row: int, row: int) -> VerifiedPair | None:
        """Return a pair with its geometry; None where that is not kept, or the pair was not verified."""
        pair = super().get(how, query_row, row)
        if pair is not None:
            return pair
        packed = self._memory.get((how, self._queries[query_row], int(self._photos[row])))
        return None if packed is None else packed.unpack()


PairMemory = Recent[tuple[Hashable, str, int], _Packed]
"""Pairs by how they were verified, the query's features and the photo's key."""


def make_pair_memory(max_bytes: int) -> PairMemory:
    """Return an empty memory of pairs that takes so many bytes at the most."""
    return PairMemory(max_bytes, _Packed.count_bytes)
