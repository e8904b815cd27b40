"""Evidence: what is known about the photos of a ranking beside the ranking itself."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from meisho.arrays import Float32Array, Int64Array, read_only
from meisho.descriptors import Descriptors, normalize_rows
from meisho.errors import InputError
from meisho.index.base import Searcher
from meisho.index.graph import NeighborGraph
from meisho.local_features import LocalFeatures
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.verified import VerifiedPairs
from meisho.stored_vectors import StoredVectors
from meisho.texts import count

Kept = TypeVar("Kept")

CHECKED = "checked"
"""Where `Evidence.of_database` keeps the database that was found sound: as given, and frozen."""


class LocalFeatureSource(Protocol):
    """Local features of queries and database photos: in memory, or read from a collection."""

    def query(self, query_row: int) -> LocalFeatures:
        """Return those of one query, of its box alone where it has one."""
        ...

    def database(self, rows: Int64Array) -> Sequence[LocalFeatures]:
        """Return those of (B,) database rows in that order, read in one batch."""
        ...


@dataclass(frozen=True, eq=False)
class LocalFeaturesInMemory:
    """A `LocalFeatureSource` of two sequences: features of Q queries, and of N database photos."""

    of_queries: Sequence[LocalFeatures]
    of_database: Sequence[LocalFeatures]

    def query(self, query_row: int) -> LocalFeatures:
        """Return those of one query."""
        return self.of_queries[query_row]

    def database(self, rows: Int64Array) -> list[LocalFeatures]:
        """Return those of (B,) database rows."""
        return [self.of_database[row] for row in rows]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a reranker may look at; each says which part it needs.

    Attributes:
        queries: (Q, D) float32, read-only; global descriptors, one row per query of the ranking.
        database: (N, D) float32, read-only; one row per photo of `Ranking.database_ids`. Both are scaled to
            unit length when the value is built, without a copy where they have it already.
        local: Local features of the same photos.
        verified: Pairs that were verified so far, kept when the vectors are replaced: a later step of a chain
            need not verify them again, and neither need who draws their matches.
        of_database: What was computed from `database` alone, such as its graph of neighbours, by what it is.
            Give it again with further queries over the same vectors:
            `Evidence(more, evidence.database, of_database=evidence.of_database)`.
        index: An approximate index bound to `database`, through which rerankers search it then; None: they
            search exactly. Not looked at where the database had to be scaled.
        graph: The neighbours of the photos of `database`, by row, which rerankers then look up; likewise.
        fill: Computes rows of `database` that are not there before they are asked for, see `read`; the rows
            that `index` finds are.
        among: (R,) int64, ascending: the rows that may be answers; None: all. Neighbours are looked for among
            all photos nevertheless.
        answers: Finds these rows sooner than `index` would; None: they are found through it.

    Raises:
        InputError: Only one of the two matrices is given, the shapes do not fit, or a number is not finite.
    """

    queries: Float32Array | None = None
    database: Float32Array | None = None
    local: LocalFeatureSource | None = None
    verified: VerifiedPairs = field(default_factory=VerifiedPairs, repr=False)
    of_database: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    index: Searcher | None = field(default=None, repr=False)
    graph: NeighborGraph | None = field(default=None, repr=False)
    fill: Callable[[Int64Array], None] | None = field(default=None, repr=False)
    among: Int64Array | None = field(default=None, repr=False)
    answers: Searcher | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.queries is None and self.database is None:
            return
        if self.queries is None or self.database is None:
            raise InputError("evidence: give descriptors of both the queries and the database, or of none")
        queries = _unit_rows(self.queries, "queries")
        database = self._unit_database(self.database)
        if queries.shape[1] != database.shape[1]:
            raise InputError(
                f"evidence: the queries have {queries.shape[1]} dimensions, the database "
                f"{database.shape[1]}; describe both by the same model"
            )
        if self.graph is not None and len(self.graph) != len(database):
            raise InputError(
                f"evidence: a graph of {count(len(self.graph), 'photo')} for {count(len(database), 'photo')} "
                "of the database; give NeighborGraph.follow(keys of these photos)"
            )
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "database", database)

    def _unit_database(self, given: Float32Array) -> Float32Array:
        """Return the database at unit length; one that was looked at for other queries is not again."""
        known, checked = self.of_database.get(CHECKED, (None, None))
        if checked is not None and (given is known or given is checked):
            frozen: Float32Array = checked
            return frozen
        database = _unit_rows(given, "database")
        if database is given:
            return database
        scaled = not np.may_share_memory(database, given)
        if scaled:  # index and graph are bound to vectors of other lengths
            object.__setattr__(self, "index", None)
            object.__setattr__(self, "graph", None)
        self.of_database[CHECKED] = None if scaled else given, database
        return database

    def __repr__(self) -> str:
        shapes = [
            f"{name} {vectors.shape}"
            for name, vectors in (("queries", self.queries), ("database", self.database))
            if vectors is not None
        ]
        local = [] if self.local is None else ["local features"]
        pairs = [count(len(self.verified), "verified pair")] if self.verified else []
        return f"Evidence({', '.join([*shapes, *local, *pairs]) or 'nothing'})"

    def vectors_for(self, reranker: str, ranking: Ranking) -> tuple[Float32Array, Float32Array]:
        """Return (Q, D) queries and (N, D) database for a reranker that needs them.

        Raises:
            InputError: There are none, or they are not those of the ranking.
        """
        if self.queries is None or self.database is None:
            raise InputError(f"{reranker} needs global descriptors; give Evidence(queries=..., database=...)")
        shape = len(self.queries), len(self.database)
        if shape != (len(ranking.query_ids), len(ranking.database_ids)):
            raise InputError(
                f"{reranker}: evidence of {count(shape[0], 'query')} and {count(shape[1], 'photo')} for a "
                f"ranking of {count(len(ranking.query_ids), 'query')} over "
                f"{count(len(ranking.database_ids), 'photo')}; "
                "give the descriptors of the same photos, in the same order"
            )
        return self.queries, self.database

    def read(self, rows: Int64Array) -> Float32Array:
        """Return the vectors (B, D) of database rows (B,)."""
        assert self.database is not None
        if self.fill is not None:
            self.fill(rows)
        vectors: Float32Array = self.database[rows]
        return vectors

    def keep(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what `make` computes of the database alone; it is kept under a key."""
        assert self.database is not None
        database, kept = self.of_database.get(key, (None, None))
        if database is None or not _is_same_array(database, self.database):
            database, kept = self.of_database[key] = self.database, make()
        return cast("Kept", kept)

    def local_for(self, reranker: str) -> LocalFeatureSource:
        """Return the local features for a reranker that needs them.

        Raises:
            InputError: There are none.
        """
        if self.local is None:
            raise InputError(
                f"{reranker} needs local features; make the collection with --local sift (or xfeat, aliked), "
                "or give Evidence(local=meisho.LocalFeaturesInMemory(of_queries, of_database))"
            )
        return self.local

    def with_vectors(self, queries: Float32Array, database: Float32Array) -> "Evidence":
        """Return the same evidence with other global descriptors."""
        if database is self.database:
            return replace(self, queries=queries)
        return replace(
            self,
            queries=queries,
            database=database,
            of_database={},
            index=None,
            graph=None,
            fill=None,
            answers=None,
        )


def _is_same_array(one: Any, other: Any) -> bool:
    """Return whether two arrays are the same memory; both must be alive, and C-contiguous."""
    if one is other:
        return True
    if isinstance(one, StoredVectors) or isinstance(other, StoredVectors):
        return False
    return bool(one.shape == other.shape and one.ctypes.data == other.ctypes.data)


def evidence_of_lists(
    query_vectors: Float32Array,
    ids: Sequence[Sequence[str]],
    vectors: Sequence[Float32Array],
    *,
    query_ids: Sequence[str] | None = None,
) -> tuple[Ranking, Evidence]:
    """Turn the answers of a vector database into what rerankers take.

    The database is then the union of the answers, in the order in which they are first named.

    Args:
        query_vectors: (Q, D) float32.
        ids: Q lists of ids, best first.
        vectors: Q arrays (K_q, D) of the vectors of those ids; of an id that is answered twice the first
            counts.
        query_ids: Q ids; "0", "1", ... when not given.

    Returns:
        The ranking, in the order given, and its evidence.

    Raises:
        InputError: The numbers of queries, ids and vectors do not fit, the vectors differ in dimensions or
            are not finite, or an id stands twice in one list.
    """
    if not len(query_vectors) == len(ids) == len(vectors):
        raise InputError(
            f"evidence: {count(len(query_vectors), 'query vector')}, {count(len(ids), 'list')} of ids and "
            f"{count(len(vectors), 'array')} of vectors; give one of each per query"
        )
    row_of: dict[str, int] = {}
    rows: list[Float32Array] = []
    for query_row, (names, array) in enumerate(zip(ids, vectors, strict=True)):
        if len(names) != len(array) or len(set(names)) != len(names):
            raise InputError(
                f"evidence: query {query_row} has {count(len(names), 'id')}, {len(set(names))} of them "
                f"different, and {count(len(array), 'vector')}; give each id once with its vector"
            )
        for name, vector in zip(names, array, strict=True):
            if row_of.setdefault(name, len(row_of)) == len(rows):
                rows.append(vector)
    evidence = Evidence(query_vectors, _stack(rows, np.shape(query_vectors)))
    ranking = _rank_lists(evidence, [[row_of[name] for name in names] for names in ids], row_of, query_ids)
    return ranking, evidence


def _stack(rows: list[Float32Array], queries_shape: tuple[int, ...]) -> Float32Array:
    shapes = {np.shape(row) for row in rows}
    if len(queries_shape) != 2 or len(shapes) > 1:
        raise InputError(
            f"evidence: query vectors must be (Q, D) and all others (K, D), got {queries_shape} and "
            f"vectors of {', '.join(map(str, sorted(shapes)))}"
        )
    return np.stack(rows) if rows else np.empty((0, queries_shape[1]), np.float32)


def _rank_lists(
    evidence: Evidence, lists: list[list[int]], row_of: dict[str, int], query_ids: Sequence[str] | None
) -> Ranking:
    assert evidence.queries is not None and evidence.database is not None
    depth = max(map(len, lists), default=0)
    ranks = np.full((len(lists), depth), NO_ROW, np.int64)
    scores = np.full((len(lists), depth), -np.inf, np.float32)
    for query_row, rows in enumerate(lists):
        ranks[query_row, : len(rows)] = rows
        similarities = evidence.database[rows] @ evidence.queries[query_row]
        scores[query_row, : len(rows)] = np.minimum.accumulate(similarities)  # the order given is kept
    names = tuple(map(str, range(len(lists)))) if query_ids is None else tuple(query_ids)
    return Ranking(names, tuple(row_of), ranks, scores)


def _unit_rows(vectors: Any, what: str) -> Float32Array:
    if isinstance(vectors, Descriptors):
        raise InputError(f"evidence: {what} is of the type Descriptors; give its vectors: {what}.vectors")
    if isinstance(vectors, StoredVectors):
        return cast(Float32Array, vectors)  # looked at before it was written
    array = np.asarray(vectors)
    if array.dtype.kind not in "buif":
        raise InputError(
            f"evidence: {what} is of the type {type(vectors).__name__}; give an array (rows, dimensions) of "
            "numbers"
        )
    frozen: Float32Array = read_only(array, np.float32)
    if frozen.ndim != 2:
        raise InputError(f"evidence: descriptors of the {what} must be a matrix, got shape {frozen.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("nd,nd->n", frozen, frozen)
    bad = ~np.isfinite(squares)
    if bad.any():
        raise InputError(
            f"evidence: {int(bad.sum())} of {len(frozen)} descriptors of the {what} hold NaN, infinity or "
            f"huge values (first: row {int(np.argmax(bad))}); extract them again"
        )
    if np.all((np.abs(squares - 1) < 1e-5) | (squares == 0)):
        return frozen
    scaled: Float32Array = read_only(normalize_rows(frozen), np.float32)
    return scaled
