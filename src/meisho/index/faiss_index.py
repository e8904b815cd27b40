"""Approximate search with FAISS: a small structure proposes candidates, exact scores decide.

Two structures, both of which keep compressed vectors only; the exact scores of the candidates are computed
from the caller's own vectors, so that neither memory nor the saved file holds the vectors twice. They are
read a block at a time, and need not fit into memory.

Sources: inverted file and product quantiser, Jégou et al. 2011, "Product quantization for nearest neighbor
search"; 4-bit codes scanned in registers, André et al. 2015, "Cache locality is not enough"; principal
directions, turned at random so that each code bears as much as any other, Jégou et al. 2010, "Aggregating
local descriptors into a compact image representation", section 3; graph, Malkov
and Yashunin 2018, arXiv 1603.09320; the code is FAISS, Douze et al. 2024, arXiv 2401.08281. Vectors of
unequal length get one more coordinate that makes them equally long, so that the largest dot product is the
nearest vector: Bachrach et al. 2014, "Speeding up the Xbox recommender system using a Euclidean
transformation for inner-product spaces".
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array, cut_rows, row_lengths
from meisho.errors import CollectionError, MissingDependencyError
from meisho.index.exact import ExactIndex
from meisho.index.files import read_checked, write_checked
from meisho.index.scoring import check_queries, check_vectors, score_pairs, sort_pairs
from meisho.stored_vectors import Vectors

_Faiss = Any  # the module, and what it makes: it has no types

_MIN_ROWS = 1000  # below, there is too little to train on and nothing to gain
_CANDIDATES_PER_ANSWER = 5
_MIN_CANDIDATES = 200
_LEVEL = 0.04
"""Candidates are too few where the last one's approximate score is less than this share below the k-th's.

Rows that are nearly alike have the same code, so the structure cannot tell which of them are the best.
"""
_EXACT_FROM_SHARE = 1 / 8  # of the rows as candidates: exact search is then no slower
_SCANNED_SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)
"""Of the lists, that are looked at for a query: the first of these that finds enough."""
_LEAST_RECALL = 0.99
"""Share of the 10 nearest others of `_TUNED_BY` rows that must be found."""
_TUNED_BY = 200
_TUNED_TOP = 11  # a row, and the 10 nearest others
_MIN_SCANNED = 4096  # codes that are looked at in any case, about 0.03 ms
_MOST_CODES = 256  # for each vector, of 4 bits
_BLOCK_ROWS = 16_384
_ROWS_FOR_THREADS = 20_000  # below, threads wait for each other longer than they work
_TRAINED_PER_LIST = 64
_TURNED_BY = 65_536  # vectors that the principal directions are found from
_EVEN = 1e-3  # lengths that differ by less are equal
_FEW_QUERIES = 2  # for which threads wait for each other longer than they work
_SEED = 20_180_601


class _FaissIndex:
    """What both structures share; a subclass says how to make one and how far to look in it."""

    kind: ClassVar[str]
    _by_one_thread: ClassVar[bool] = False
    """Whether one thread takes all vectors in."""

    def __init__(self, structure: _Faiss, vectors: Vectors, rows: Int64Array) -> None:
        self._structure = structure  # None where there were too few vectors for one
        self._vectors = vectors
        self._rows = rows
        self._present = rows >= 0
        self._size = int(self._present.sum())

    @classmethod
    def build(cls, vectors: Vectors, *, at_first: int | None = None) -> Self:
        """Build over (N, D) float32 vectors, the same way every time; fewer than 1,000 are searched exactly.

        Vectors of unequal length are taken in as a whole, whatever `at_first` says, see `Index.build`.

        Raises:
            InputError: The vectors are not a matrix or not finite.
            MissingDependencyError: FAISS is not installed.
        """
        vectors = check_vectors(vectors)
        _import_faiss()
        if len(vectors) < _MIN_ROWS:
            return cls(None, vectors, np.arange(len(vectors)))
        lift = _Lift(vectors)
        structure, num_rows = cls._train(vectors, lift), len(vectors)
        if at_first is not None and lift.is_even:
            num_rows = min(at_first, num_rows)
        with cls._threads_for(num_rows):
            for block in cut_rows(num_rows, _BLOCK_ROWS):
                structure.add(lift.apply(vectors[block]))
        return cls(structure, vectors, np.arange(num_rows))

    @property
    def num_rows(self) -> int:
        """Number of vectors that it was built from."""
        return len(self._rows)

    def extend(self, vectors: Vectors, rows: Int64Array) -> bool:
        """Take in further rows (A,) of (N, D) vectors; see `Index.extend`.

        It cannot where it has no structure, and where vectors are not of unit length.
        """
        built = self._structure
        if built is None or built.d != vectors.shape[1]:
            return False
        blocks = [rows[block] for block in cut_rows(len(rows), _BLOCK_ROWS)]
        if any(np.abs(row_lengths(vectors[block]) - 1).max() > _EVEN for block in blocks):
            return False
        with self._threads_for(len(rows)):
            for block in blocks:
                built.add(vectors[block])
        return True

    def tune(self) -> None:
        """Do nothing: how far it looks lies with what is asked."""

    def bind(self, vectors: Vectors, rows: Int64Array) -> Self:
        """Return the same structure bound to other (N, D) vectors by `rows` (B,); see `Index`.

        Raises:
            CollectionError: It was built from another number of vectors, or of fewer dimensions.
        """
        vectors, rows = check_vectors(vectors), np.asarray(rows, np.int64)
        built = self._structure
        if built is not None and (built.ntotal != len(rows) or built.d < vectors.shape[1]):
            raise CollectionError(
                f"index {self.kind}: built from {built.ntotal} vectors of {built.d} dimensions, "
                f"but bound to {len(rows)} of {vectors.shape[1]}; build it again"
            )
        return type(self)(built, vectors, rows)

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best rows of each of (Q, D) queries; see `Index.search`.

        Where the candidates of a query score nearly alike, as those of a cluster of near-equal rows do, twice
        as many are taken, until they do not. A query for which an eighth of the rows score alike, or the
        structure proposes fewer than `top` rows, is answered exactly, and so is every query when `top` is
        more than a thirty-second of the rows.
        """
        queries = check_queries(queries, self._vectors.shape[1], top)
        top = min(top, self._size)
        count = max(_MIN_CANDIDATES, _CANDIDATES_PER_ANSWER * top)
        if self._structure is None or count > _EXACT_FROM_SHARE * self._size or not len(queries):
            return self._search_exactly(queries, top)
        rows, scores, level = self._search_among(queries, count, top)
        too_few = np.flatnonzero(level)
        while len(too_few) and (count := 2 * count) <= _EXACT_FROM_SHARE * self._size:
            rows[too_few], scores[too_few], level = self._search_among(queries[too_few], count, top)
            too_few = too_few[level]
        short: BoolArray = np.asarray((rows < 0).any(axis=1))
        short[too_few] = True
        if short.any():
            rows[short], scores[short] = self._search_exactly(queries[short], top)
        return rows, scores

    def _search_among(
        self, queries: Float32Array, count: int, top: int
    ) -> tuple[Int64Array, Float32Array, BoolArray]:
        """Return the `top` best of `count` candidates, and for which queries these are too few."""
        candidates, level = self._propose(queries, count, top)
        rows, scores = sort_pairs(candidates, score_pairs(queries, self._vectors, candidates), top)
        return rows, scores, level

    def save(self, path: Path) -> None:
        """Write the structure to one file, without the vectors."""
        faiss = _import_faiss()
        content = b"" if self._structure is None else faiss.serialize_index(self._structure).tobytes()
        write_checked(path, self.kind, content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; see `Index.load`."""
        content = read_checked(path, cls.kind)
        faiss = _import_faiss()
        structure = faiss.deserialize_index(np.frombuffer(content, np.uint8)) if content else None
        rows = np.full(0 if structure is None else structure.ntotal, -1)
        return cls(structure, np.empty((0, 0), np.float32), rows)

    @classmethod
    def _train(cls, vectors: Vectors, lift: "_Lift") -> _Faiss:
        """Return a structure for these vectors that holds none yet."""
        raise NotImplementedError

    @classmethod
    def _threads_for(cls, num_rows: int) -> AbstractContextManager[None]:
        return _threads(_import_faiss(), 1 if cls._by_one_thread or num_rows < _ROWS_FOR_THREADS else None)

    def _parameters(self, count: int, selector: _Faiss) -> _Faiss:
        raise NotImplementedError

    def _propose(self, queries: Float32Array, count: int, top: int) -> tuple[Int64Array, BoolArray]:
        """Return `count` present rows (Q, count) for (Q, D) queries, -1 where fewer were found.

        Also says for which queries (Q,) the last of them scores nearly as the `top`-th does, so that
        more must be looked at.
        """
        lifted = np.zeros((len(queries), self._structure.d), np.float32)
        lifted[:, : queries.shape[1]] = queries
        selector = None if self._present.all() else _select(self._present)
        parameters = self._parameters(count, selector)
        with _threads(_import_faiss(), 1 if len(queries) <= _FEW_QUERIES else None):
            scores, built = self._structure.search(lifted, count, params=parameters)
        candidates: Int64Array = np.where(built < 0, -1, self._rows[built])
        border, last = scores[:, max(top, 1) - 1], scores[:, -1]
        level: BoolArray = (built[:, -1] >= 0) & (border - last <= _LEVEL * np.abs(border))
        return candidates, level

    def _search_exactly(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        return ExactIndex(self._vectors, self._rows).search(queries, top)


class IVFPQIndex(_FaissIndex):
    """Inverted lists of product-quantised vectors; D / 4 bytes for each vector, and at most 128."""

    kind = "ivfpq"

    @classmethod
    def build(cls, vectors: Vectors, *, at_first: int | None = None) -> Self:
        """Build as all do, and choose how many lists are looked at, see `tune`."""
        index = super().build(vectors, at_first=at_first)
        index.tune()
        return index

    def tune(self) -> None:
        """Choose how many lists are looked at by measuring; see `_SCANNED_SHARES`."""
        if self._structure is None or not self._size:
            return
        lists = _import_faiss().downcast_index(self._structure.index)
        present = np.sort(self._rows[self._present])
        num_rows = len(present)
        rows = np.random.default_rng(_SEED).choice(present, min(num_rows, _TUNED_BY), replace=False)
        rows.sort()
        queries = self._vectors[rows]
        nearest, _ = self._search_exactly(queries, _TUNED_TOP)
        for share in _SCANNED_SHARES:
            lists.nprobe = min(lists.nlist, math.ceil(max(share, _MIN_SCANNED / num_rows) * lists.nlist))
            found, _ = self.search(queries, _TUNED_TOP)
            if _share_found(found, nearest, rows) >= _LEAST_RECALL:
                return

    @classmethod
    def _train(cls, vectors: Vectors, lift: "_Lift") -> _Faiss:
        faiss = _import_faiss()
        num_rows = len(vectors)
        num_lists = 2 ** round(math.log2(2 * math.sqrt(num_rows)))
        rows = np.random.default_rng(_SEED).permutation(num_rows)[: _TRAINED_PER_LIST * num_lists]
        sample = lift.apply(vectors[np.sort(rows)])
        turn = _fit_turn(sample, _choose_dim(lift.dim))
        lists = faiss.IndexIVFPQFastScan(
            faiss.IndexFlatIP(turn.d_out),
            turn.d_out,
            num_lists,
            turn.d_out // _per_code(turn.d_out),
            4,
            faiss.METRIC_INNER_PRODUCT,
        )
        for clustering in (lists.cp, lists.pq.cp):
            clustering.seed = _SEED
            clustering.min_points_per_centroid = 1  # else FAISS prints a warning
        structure = faiss.IndexPreTransform(turn, lists)
        with cls._threads_for(num_rows):
            structure.train(sample)
        return structure

    def _parameters(self, count: int, selector: _Faiss) -> _Faiss:
        faiss = _import_faiss()
        lists = faiss.downcast_index(self._structure.index)
        inner = faiss.SearchParametersIVF(nprobe=lists.nprobe, sel=selector)
        return faiss.SearchParametersPreTransform(index_params=inner)


def _share_found(found: Int64Array, nearest: Int64Array, rows: Int64Array) -> float:
    """Return which share of the nearest (Q, K) of (Q,) rows, but for themselves, is found."""
    others = nearest != rows[:, None]
    among = (nearest[:, :, None] == found[:, None, :]).any(axis=2)
    return float(among[others].mean())


def _per_code(dim: int) -> int:
    """Return how many dimensions share one 4-bit code."""
    return 2 if dim >= 128 else 1


def _choose_dim(dim: int) -> int:
    """Return how many dimensions are coded: what `_MOST_CODES` hold, a multiple of those of one code."""
    per_code = _per_code(dim)
    return min(_MOST_CODES * per_code, math.ceil(dim / per_code) * per_code)


def _fit_turn(sample: Float32Array, num_dims: int) -> _Faiss:
    """Return what turns (S, D) vectors into their first principal directions, and those at random.

    Nothing is subtracted, so that dot products stay what they were. Without the second turn, the codes of the
    first directions would bear nearly all the error.
    """
    faiss = _import_faiss()
    dim = sample.shape[1]
    directions = np.zeros((dim, num_dims))
    seen = sample[:_TURNED_BY]
    _, vectors = np.linalg.eigh((seen.T @ seen).astype(np.float64))
    directions[:, : min(dim, num_dims)] = vectors[:, ::-1][:, :num_dims]
    random = np.random.default_rng(_SEED).standard_normal((num_dims, num_dims))
    turn = faiss.LinearTransform(dim, num_dims, False)
    matrix = (directions @ np.linalg.qr(random)[0]).T
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix, np.float32).ravel(), turn.A)
    turn.is_trained = True
    return turn


class HNSWIndex(_FaissIndex):
    """A graph of near neighbours over 8-bit vectors; about D + 270 bytes for each vector."""

    kind = "hnsw"
    _by_one_thread = True  # several would link the graph in the order in which they get there

    @classmethod
    def _train(cls, vectors: Vectors, lift: "_Lift") -> _Faiss:
        faiss = _import_faiss()
        structure = faiss.IndexHNSWSQ(lift.dim, faiss.ScalarQuantizer.QT_8bit, 32, faiss.METRIC_INNER_PRODUCT)
        with cls._threads_for(len(vectors)):
            structure.train(lift.apply(vectors[:: max(1, len(vectors) // 65_536)]))
        return structure

    def _parameters(self, count: int, selector: _Faiss) -> _Faiss:
        return _import_faiss().SearchParametersHNSW(efSearch=max(64, count), sel=selector)


class _Lift:
    """Makes vectors equally long: scaled to at most 1, the missing length put into one more coordinate."""

    def __init__(self, vectors: Vectors) -> None:
        lengths = np.concatenate([row_lengths(block) for block in _blocks(vectors)])
        self._scale = np.float32(1 / max(float(lengths.max()), 1e-30))
        self.is_even = float(lengths.min()) * self._scale >= 1 - _EVEN
        self.dim = vectors.shape[1] + int(not self.is_even)

    def apply(self, vectors: Float32Array) -> Float32Array:
        """Return (N, dim) for (N, D)."""
        lifted = np.zeros((len(vectors), self.dim), np.float32)
        lifted[:, : vectors.shape[1]] = vectors * self._scale
        if not self.is_even:
            lifted[:, vectors.shape[1]] = np.sqrt(np.maximum(0, 1 - row_lengths(lifted) ** 2))
        return lifted


def _blocks(vectors: Vectors) -> Iterator[Float32Array]:
    return (vectors[block] for block in cut_rows(len(vectors), _BLOCK_ROWS))


def _select(present: BoolArray) -> _Faiss:
    return _import_faiss().IDSelectorBitmap(np.packbits(present, bitorder="little"))


@contextmanager
def _threads(faiss: _Faiss, count: int | None) -> Iterator[None]:
    """Let FAISS use `count` threads inside; None changes nothing."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def faiss_instructions() -> frozenset[str]:
    """Return the instructions of the processor that FAISS uses here, such as "AVX2" and "AVX512".

    Raises:
        MissingDependencyError: FAISS is not installed.
    """
    return frozenset(_import_faiss().get_compile_options().split())


def _import_faiss() -> _Faiss:
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "the indexes ivfpq and hnsw need FAISS: pip install faiss-cpu, or take the index 'exact'"
        ) from error
    return faiss
