"""Folding: answers count contents, so that copies of one photo take one place, the others below it."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.ranking import NO_ROW, Ranking

NEAR_BITS = 8
"""Perceptual hashes of two answers that differ in at most so many of their 64 bits are of near copies.

Measured by benchmarks/bench_near.py on 800 real photos (`validation`), 27 kinds of copies: 88 % are folded,
and of 319,599 pairs of different photos none. With 10 bits (distances are even) 92 % are, and the first false
fold comes: one cathedral by day and at dusk, from the same spot. What 8 bits miss are cuts of 5 % (30 %
folded), lines of text at the edge (55 %) and borders (20 %).
"""

NEAR_SIMILARITY = 0.6
"""Cosine similarity of descriptors below which two photos are not compared: they are no near copies.

It guards large collections against hashes that agree by chance: nine of ten pairs of two landmarks are below.
Measured as above, it loses 0.6 % of the copies; 0.9 would lose 14 %, photos saved at half their width or with
a watermark among them (their cosine is 0.60 to 0.95).
"""

NEAR_DEPTH = 30
"""Near copies are looked for among at least so many contents, however few answers are asked for.

So what stands below an answer does not depend on `--top`, up to this number. At most so many files are read.
"""


@dataclass(frozen=True, eq=False)
class Contents:
    """Which rows of the database hold the same photo.

    Attributes:
        firsts: (N,) int64; the content of each row, named by the first row that has it.
        num_left_out: Contents that do not count.
    """

    firsts: Int64Array
    num_left_out: int = 0
    _rows: Mapping[int, tuple[int, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for row in np.flatnonzero(self.firsts != np.arange(len(self.firsts))).tolist():
            rows[int(self.firsts[row])].append(row)
        object.__setattr__(self, "_rows", {first: (first, *more) for first, more in rows.items()})

    @property
    def number(self) -> int:
        """Number of different contents."""
        return len(self.firsts) - sum(len(rows) - 1 for rows in self._rows.values()) - self.num_left_out

    def among(self, rows: Int64Array) -> "Contents":
        """Return the contents of some ascending rows alone; the others are copies of nothing."""
        firsts = np.arange(len(self.firsts))
        _, first, content = np.unique(self.firsts[rows], return_index=True, return_inverse=True)
        firsts[rows] = rows[first[content]]
        return Contents(firsts, len(firsts) - len(rows))

    def rows_like(self, row: int) -> tuple[int, ...]:
        """Return all rows that hold the same as `row`, itself too, ascending."""
        return self._rows.get(int(self.firsts[row]), (row,))

    def fold(self, ranking: Ranking) -> Ranking:
        """Name each content once in every list, by its first row; the lists keep their length."""
        if not self._rows:
            return ranking
        places = [_first_places(self.firsts, ranks) for ranks in ranking.ranks]
        folded = keep_places(ranking, places)
        ranks = np.where(folded.ranks == NO_ROW, NO_ROW, self.firsts[folded.ranks])
        return replace(folded, ranks=ranks)

    def copies_below(self, row: int, more: Iterable[int] = ()) -> tuple[int, ...]:
        """Return the rows that stand below an answer: its copies, and `more` rows with theirs, ascending."""
        rows = {copy for each in (row, *more) for copy in self.rows_like(each)}
        return tuple(sorted(rows - {row}))


def _first_places(firsts: Int64Array, ranks: Int64Array) -> Int64Array:
    """Return the places in (K,) ranks at which a content comes for the first time, ascending."""
    present = ranks[ranks != NO_ROW]
    return np.sort(np.unique(firsts[present], return_index=True)[1])


def keep_places(ranking: Ranking, places: Sequence[Int64Array]) -> Ranking:
    """Leave only the given places of each list, in order; the lists keep their length, filled at the end."""
    ranks = np.full_like(ranking.ranks, NO_ROW)
    scores = np.full_like(ranking.scores, -np.inf)
    for row, kept in enumerate(places):
        ranks[row, : len(kept)] = ranking.ranks[row, kept]
        scores[row, : len(kept)] = ranking.scores[row, kept]
    return replace(ranking, ranks=ranks, scores=scores)


def shortest(ranking: Ranking) -> int:
    """Return the number of answers of the query that has the fewest."""
    return int((ranking.ranks != NO_ROW).sum(axis=1).min(initial=ranking.depth))


def search_contents(search: Callable[[int], Ranking], contents: Contents, wanted: int) -> Ranking:
    """Search ever deeper until each query has `wanted` different contents, or all that there are.

    Args:
        search: Ranks the database to a depth.
        contents: Which rows are copies.
        wanted: How many contents.
    """
    depth, enough = wanted, min(wanted, contents.number)
    while True:
        ranking = contents.fold(search(depth))
        if shortest(ranking) >= enough or depth >= len(contents.firsts):
            return ranking.top(wanted)
        depth = min(2 * depth, len(contents.firsts))


def fold_near(
    ranking: Ranking, vectors: Float32Array, hash_of: Callable[[int], int | None]
) -> tuple[Ranking, list[dict[int, list[int]]]]:
    """Leave the first of near copies in every list; what follows looks like an answer before it.

    Two photos are compared where their descriptors are alike (`NEAR_SIMILARITY`), and are near copies where
    their perceptual hashes are too (`NEAR_BITS`). So only few files are read.

    Args:
        ranking: Lists of different contents.
        vectors: (N, D) descriptors of the database, of unit length.
        hash_of: Perceptual hash of the photo of a row; None where its file cannot be read.

    Returns:
        The ranking, and for each query the rows that were left out, by the answer below which they stand.
    """
    places, below = [], []
    for ranks in ranking.ranks:
        heads, left_out = _find_heads(ranks[ranks != NO_ROW], vectors, hash_of)
        places.append(heads)
        below.append(left_out)
    return keep_places(ranking, places), below


def _find_heads(
    ranks: Int64Array, vectors: Float32Array, hash_of: Callable[[int], int | None]
) -> tuple[Int64Array, dict[int, list[int]]]:
    heads: list[int] = []
    left_out: defaultdict[int, list[int]] = defaultdict(list)
    rows, listed = ranks.tolist(), vectors[ranks]
    products = np.einsum("id,jd->ij", listed, listed)  # too small to wake other threads for
    alike = (products >= NEAR_SIMILARITY).tolist()
    known = functools.cache(hash_of)
    for place, row in enumerate(rows):
        candidates = [head for head in heads if alike[place][head]]
        head = next((h for h in candidates if are_near(known(row), known(rows[h]))), None)
        if head is None:
            heads.append(place)
        else:
            left_out[rows[head]].append(row)
    return np.array(heads, np.int64), left_out


def are_near(one: int | None, other: int | None) -> bool:
    """Say whether two perceptual hashes are of near copies; None is that of a photo that cannot be read."""
    return one is not None and other is not None and (one ^ other).bit_count() <= NEAR_BITS
