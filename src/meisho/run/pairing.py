"""Pairing: photos of a collection that may show one place, verified pair by pair, each once."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import BoolArray, Int64Array, UInt64Array, cut_rows, find_rows
from meisho.certainty import PairEvidence
from meisho.geometry.base import LocalMatcher
from meisho.geometry.matching import MutualMatcher
from meisho.geometry.overlap import measure_overlap
from meisho.geometry.ransac import RansacOptions
from meisho.index.neighborhoods import find_lists
from meisho.local_features import LocalFeatures
from meisho.progress import Progress, silent
from meisho.rerank.geometric import RETRIEVAL_RANSAC, verify_photos
from meisho.rerank.verified import VerifiedPair
from meisho.run.folding import NEAR_SIMILARITY, are_near
from meisho.run.judging import measure_gaps, name_verification
from meisho.run.pair_file import PAIR, PairFile
from meisho.run.reranking import stored_features
from meisho.run.state import State
from meisho.stored_features import StoredFeatures

PAIRS_FILE = Path("groups") / "verified.pairs"
"""Where a collection keeps its verified pairs."""

Record = tuple[int, int, int, int, float, float, float, int]
"""The values of a `PAIR`."""

_STAGE = "verify"
_PHOTOS_AT_ONCE = 32
_MOST_DEAD_SHARE = 0.5


@dataclass(frozen=True)
class PairOptions:
    """Which pairs are verified, and how.

    Attributes:
        k: Nearest others of each photo.
        matcher: What matches local features.
        ransac: How matches are verified.
    """

    k: int = 12
    matcher: LocalMatcher = field(default_factory=MutualMatcher)
    ransac: RansacOptions = RETRIEVAL_RANSAC


@dataclass(frozen=True, eq=False)
class Pairs:
    """P verified pairs of photos.

    Attributes:
        rows: (P, 2) int64 rows of the database.
        evidence: P times what is known of them.
        near: (P,) whether they are near copies.
    """

    rows: Int64Array
    evidence: tuple[PairEvidence, ...]
    near: BoolArray


def verify_pairs(state: State, options: PairOptions | None = None, *, progress: Progress = silent) -> Pairs:
    """Verify each photo of a collection with its nearest others; of photos with one content, the first.

    A pair that was verified before is not verified again, and a photo that was asked before is not asked
    again: what is found is written to the collection's folder as it comes, so that an interrupted run goes on
    where it was.

    Args:
        state: The collection.
        options: Which pairs, and how.
        progress: Called as photos are done.

    Raises:
        CollectionError: The collection holds no local features, or is damaged.
    """
    options = PairOptions() if options is None else options
    features = stored_features(
        state.path, state.metadata, state.snapshot.descriptors.ids, state.snapshot.keys
    )
    assert state.metadata.local_provenance is not None
    how = name_verification(state.metadata.local_provenance, options.matcher, options.ransac)
    file = PairFile(state.path / PAIRS_FILE, how)
    known = _drop_dead(file, file.read(), state.snapshot.keys)
    asking = _Asking(state, options, features, known)
    waiting = asking.find_waiting()
    for block in cut_rows(len(waiting), _PHOTOS_AT_ONCE):
        progress(_STAGE, block.start, len(waiting))
        file.append(asking.ask(waiting[block]))
    progress(_STAGE, len(waiting), len(waiting))
    return read_pairs(state, np.concatenate([known, *asking.found]), options.ransac.model)


def read_pairs(state: State, records: NDArray[np.void], model: str) -> Pairs:
    """Return what records say of the present photos, together with how alike these are."""
    keys = state.snapshot.keys
    rows = np.column_stack([find_rows(records["a"], keys), find_rows(records["b"], keys)])
    whole = (rows >= 0).all(axis=1) & (rows[:, 0] != rows[:, 1])
    rows, records = rows[whole], records[whole]
    evidence = tuple(
        replace(evidence, similarity=float(similarity), gap=float(gap))
        for evidence, (similarity, gap) in zip(
            (to_evidence(record, model) for record in records), _compare(state, rows), strict=True
        )
    )
    return Pairs(rows, evidence, records["near"] > 0)


def _compare(state: State, rows: Int64Array) -> Iterator[tuple[float, float]]:
    """Yield for each of (P, 2) pairs the similarity, and the gap: the mean of those that both photos see."""
    vectors, background = state.snapshot.descriptors.vectors, state.background
    for block in cut_rows(len(rows), 1024):
        one, other = vectors[rows[block, 0]], vectors[rows[block, 1]]
        similarities = np.einsum("bd,bd->b", one, other)
        gaps = [measure_gaps(similarities, each @ background.T) for each in (one, other)]
        yield from zip(similarities.tolist(), np.mean(gaps, axis=0).tolist(), strict=True)


def _drop_dead(file: PairFile, records: NDArray[np.void], keys: UInt64Array) -> NDArray[np.void]:
    """Return the records of photos that are there; where many are not, the file is written anew."""
    alive = (find_rows(records["a"], keys) >= 0) & (find_rows(records["b"], keys) >= 0)
    if np.count_nonzero(~alive) > _MOST_DEAD_SHARE * len(records):
        file.replace(records[alive])
    living: NDArray[np.void] = records[alive]
    return living


class _Asking:
    """Photos that ask for their neighbours, and the pairs that this brings."""

    def __init__(
        self, state: State, options: PairOptions, features: StoredFeatures, known: NDArray[np.void]
    ) -> None:
        self._state, self._options, self._features = state, options, features
        self._known = {*zip(known["a"].tolist(), known["b"].tolist(), strict=True)}
        marks = known[known["a"] == known["b"]]
        self._asked = {int(mark["a"]) for mark in marks if mark["matches"] >= options.k}
        self.found: list[NDArray[np.void]] = []

    def find_waiting(self) -> Int64Array:
        """Return the rows that were not asked, one of each content."""
        firsts = self._state.contents.firsts
        keys = self._state.snapshot.keys.tolist()
        rows = np.flatnonzero(firsts == np.arange(len(firsts)))
        return np.array([row for row in rows.tolist() if keys[row] not in self._asked], np.int64)

    def ask(self, rows: Int64Array) -> NDArray[np.void]:
        """Verify photos (R,) with their nearest others; return the records of what was not known."""
        records: list[Record] = []
        for row, found in zip(rows.tolist(), self._find_lists(rows), strict=True):
            others = self._leave_out(row, found)
            (features,), theirs = self._features.read(np.array([row])), self._features.read(others)
            records += self._verify(row, features, others, theirs)
            if len(features):  # a photo without any may get them later
                key = int(self._state.snapshot.keys[row])
                records.append((key, key, self._options.k, 0, np.nan, np.nan, np.nan, 0))
        self.found.append(np.array(records, PAIR))
        return self.found[-1]

    def _find_lists(self, rows: Int64Array) -> Int64Array:
        """Return the nearest others (R, k) of each row, -1 at the end."""
        graph, k = self._state.graph, self._options.k
        if graph is not None:
            found, _, whole = graph.find(rows, k)
            if whole.all():
                return found
        vectors = self._state.snapshot.descriptors.vectors
        return find_lists(self._state.index, vectors, rows, k)[0].astype(np.int64)

    def _leave_out(self, row: int, others: Int64Array) -> Int64Array:
        """Return others of other contents, but those that a row was verified with."""
        firsts, keys = self._state.contents.firsts, self._state.snapshot.keys
        others = np.unique(firsts[others[others >= 0]])
        new = [
            other for other in others.tolist() if other != row and _order(keys, row, other) not in self._known
        ]
        return np.array(new, np.int64)

    def _verify(
        self, row: int, features: LocalFeatures, others: Int64Array, theirs: list[LocalFeatures]
    ) -> Iterator[Record]:
        options, keys = self._options, self._state.snapshot.keys
        pairs = verify_photos(features, theirs, matcher=options.matcher, ransac=options.ransac)
        near = self._find_near(row, others)
        for other, their, pair, is_near in zip(others.tolist(), theirs, pairs, near, strict=True):
            if not (len(features) and len(their)):
                continue
            self._known.add(_order(keys, row, other))
            record = make_record(_order(keys, row, other), features, their, pair, near=is_near)
            yield record if record[0] == keys[row] else _turn(record)

    def _find_near(self, row: int, others: Int64Array) -> list[bool]:
        state = self._state
        vectors = state.snapshot.descriptors.vectors
        alike = vectors[others] @ vectors[np.array([row])][0] >= NEAR_SIMILARITY
        return [
            bool(same) and are_near(state.hash_of(row), state.hash_of(other))
            for other, same in zip(others.tolist(), alike, strict=True)
        ]


def _order(keys: UInt64Array, row: int, other: int) -> tuple[int, int]:
    one, another = int(keys[row]), int(keys[other])
    return min(one, another), max(one, another)


def make_record(
    keys: tuple[int, int],
    ours: LocalFeatures,
    theirs: LocalFeatures,
    pair: VerifiedPair,
    *,
    near: bool = False,
) -> Record:
    """Return the record of a verified pair."""
    frames = (0, 0, *ours.size_px), (0, 0, *theirs.size_px)
    points = ours.keypoints[pair.matches.rows[:, 0]]
    overlap = measure_overlap(pair.verification, points, *frames)
    of_ours, of_theirs, slant = (np.nan, np.nan, np.nan) if overlap is None else overlap
    return (*keys, len(pair.matches), pair.num_inliers, of_ours, of_theirs, slant, int(near))


def _turn(record: Record) -> Record:
    """Return the record of a pair that was verified the other way round."""
    one, other, matches, inliers, of_one, of_other, slant, near = record
    return one, other, matches, inliers, of_other, of_one, slant, near


def to_evidence(record: np.void, model: str) -> PairEvidence:
    """Return what a record says of its pair, whose geometry is a `model`."""
    of_a, of_b, slant = (
        None if np.isnan(record[name]) else float(record[name]) for name in ("of_a", "of_b", "slant")
    )
    return PairEvidence(
        num_matches=int(record["matches"]),
        num_inliers=int(record["inliers"]),
        model=model,
        overlap_query=of_a,
        overlap_photo=of_b,
        slant=slant,
    )
