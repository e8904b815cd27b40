"""ASMK: a search of the whole database by local features, and a reranker of what was found by others."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.asmk.aggregation import aggregate_photos
from meisho.asmk.building import index_photos, learn_from_photos, load_or_build
from meisho.asmk.codebook import Codebook
from meisho.asmk.inverted_file import InvertedFile, Kernel
from meisho.errors import InputError
from meisho.ground_truth import Rows
from meisho.local_features import LocalFeatures
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.base import Reranker
from meisho.rerank.evidence import Evidence, LocalFeatureSource
from meisho.rerank.geometric import choose_first

Order = Literal["combined", "local"]


@dataclass(frozen=True)
class AsmkReranker(Reranker):
    """Compares local features by aggregated selective match kernels (ASMK), all photos at once.

    Tolias, Avrithis, Jégou, "Image Search with Selective Match Kernels: Aggregation Across Single and
    Multiple Images", IJCV 2016; used as in Tolias, Jenicek, Chum, arXiv:2007.13172 (HOW). Similarities
    were checked against the package `asmk` 0.1.1.

    An inverted file of the whole database is built at the first call and kept as long as the reranker and
    the local features are; with `file` also on the disk. For N photos of K features of D dimensions and W
    words, building takes 10 · 32 W² · D (codebook) + N · K · W · D operations, a query K · W · D, and the
    entries of its words, about K · `assignments` · N · K / W of them. Memory: up to N · K entries of
    4 + D / 8 bytes (4 + 4 D when not `binary`), and while building twice that; the codebook, 4 · W · D, and
    its sample, 128 · W · D bytes.

    Args:
        first: How many of each list are put in order; 0: the whole list. A search gives the whole database
            then, so that "local" with 0 is a search by local features alone.
        order: "combined": by first score + `weight` · similarity^(1 / `alpha`). "local": by similarity alone,
            ties by first score, then database row.
        weight: In the unit of the first scores, which are cosine similarities. The root undoes the kernel, so
            that one weight serves any `alpha`: 2 to 4 are as good, chosen with XFeat on photos of other
            landmarks than are reported on (docs/LOG.md).
        words: Visual words that are learned; fewer where there are fewer than 8 sampled features for each.
            2,048 are as good as 8,192 for a thousand photos; more make the search of many photos faster, and
            building slower: 65,536 in HOW.
        assignments: Words that each feature of a query is assigned to; 5 in HOW, and 1 in the database.
        alpha: Exponent of the kernel, see `Kernel`; 3 in both papers.
        threshold: The kernel's threshold; 0 in both papers.
        binary: Whether only signs of residuals are kept (ASMK*).
        idf: Whether rare words count more, by log(N / n)².
        seed: Chooses the features that words are learned from.
        codebook: A file with words to use, such as the `file` of another collection. When not given they are
            learned on the database itself, without its labels. HOW learns them on other photos, and figures
            that are compared with published ones must do the same.
        file: Where the inverted file is kept between runs; it is made again when photos, local features or
            options differ.

    Raises:
        InputError: An option is outside its range.
    """

    needs_local: ClassVar[bool] = True

    first: int = 0
    order: Order = "combined"
    weight: float = 3.0
    words: int = 2_048
    assignments: int = 5
    alpha: float = 3.0
    threshold: float = 0.0
    binary: bool = True
    idf: bool = True
    seed: int = 0
    codebook: Path | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.order not in ("combined", "local"):
            raise InputError(f"no order is called {self.order!r}; choose combined or local")
        if self.first < 0 or self.words < 1 or self.assignments < 1 or self.seed < 0:
            raise InputError(
                f"asmk: first {self.first} and seed {self.seed} must be 0 or more, words {self.words} and "
                f"assignments {self.assignments} 1 or more"
            )
        if not 0 <= self.weight < np.inf:
            raise InputError(f"asmk: weight {self.weight} must be 0 or more")
        Kernel(self.alpha, self.threshold)
        kept: WeakKeyDictionary[object, tuple[int, InvertedFile]] = WeakKeyDictionary()
        object.__setattr__(self, "_kept", kept)

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.first or 2**31 - 1

    @property
    def uses_skip(self) -> bool:
        """Whether there is a shortlist, from which junk can be kept out."""
        return self.first > 0

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Put the first of each list in order by local features; the rest keep theirs, behind.

        Args:
            ranking: (Q, K), scores never rising along a list.
            evidence: Local features of the queries and of the whole database.
            skip: Q arrays of database rows that take no place among the first; not looked at when the whole
                list is put in order.

        Raises:
            InputError: `skip` has another number of queries, or there are no local features.
        """
        source = evidence.local_for("asmk")
        shortlist = choose_first(ranking, self.depth, skip if self.uses_skip else None)
        ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
        inverted = self.index(source, len(ranking.database_ids)) if any(map(len, shortlist)) else None
        for query_row, rows in enumerate(shortlist):
            if inverted is None or not len(rows):
                continue
            similarities = self.compare(source.query(query_row), inverted)
            self._reorder(ranks[query_row], scores[query_row], rows, similarities)
        return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)

    def index(self, source: LocalFeatureSource, num_photos: int) -> InvertedFile:
        """Return the inverted file of the N photos of a source: the kept one, the saved one, or a new one.

        Raises:
            CollectionError: `file` or `codebook` is damaged or something else.
            InputError: `file` is given for local features that cannot say what they are of.
        """
        database = getattr(source, "photos", source)  # several questions to one database share its file
        kept = self._kept.get(database)  # type: ignore[attr-defined]
        if kept is None or kept[0] != num_photos:
            about = "" if self.file is None else self._about(source)
            built = load_or_build(self.file, about, lambda: self._build(source, num_photos))
            kept = self._kept[database] = num_photos, built  # type: ignore[attr-defined]
        inverted: InvertedFile = kept[1]
        return inverted

    def compare(self, query: LocalFeatures, inverted: InvertedFile) -> Float32Array:
        """Return the similarity (N,) of a query with each photo of an inverted file, 0 to 1 mostly."""
        aggregated = aggregate_photos(
            [query], inverted.codebook, assignments=self.assignments, binary=inverted.binary
        )
        return inverted.score(aggregated, Kernel(self.alpha, self.threshold))

    def _build(self, source: LocalFeatureSource, num_photos: int) -> InvertedFile:
        if self.codebook is None:
            generator = np.random.default_rng(self.seed)
            codebook = learn_from_photos(source.database, num_photos, self.words, generator)
        else:
            codebook = Codebook.load(self.codebook)
        return index_photos(source.database, num_photos, codebook, idf=self.idf, binary=self.binary)

    def _about(self, source: LocalFeatureSource) -> str:
        fingerprint = getattr(source, "fingerprint", None)
        if fingerprint is None:
            raise InputError(
                f"asmk: file {self.file} can be kept for the photos of a collection only, which can be told "
                "from others; leave file out, or use InvertedFile.save and load"
            )
        words = Codebook.load(self.codebook).centers.tobytes() if self.codebook else None
        learned = [self.words, self.seed] if words is None else sha256(words).hexdigest()
        return json.dumps([fingerprint, learned, self.idf, self.binary])

    def _reorder(
        self, ranks: Int64Array, scores: Float32Array, rows: Int64Array, similarities: Float32Array
    ) -> None:
        """Put one list (K,) in order, in place: its `rows` (S,) by `similarities` (N,), the rest behind."""
        places = np.flatnonzero(np.isin(ranks, rows))
        rest = np.setdiff1d(np.flatnonzero(ranks != NO_ROW), places)
        key = similarities[ranks[places]]
        if self.order == "combined":
            roots = (np.sign(key) * np.abs(key) ** min(1 / self.alpha, 1e30)).astype(np.float32)
            key = scores[places] + np.float32(self.weight) * roots
        best = np.lexsort((ranks[places], -scores[places], -key))
        order = np.concatenate([places[best], rest])
        behind = scores[rest]
        if self.order == "local":  # other numbers than similarities: only their differences are kept
            behind = behind + (key[best[-1]] - behind.max(initial=-np.inf))
        behind = np.minimum(behind, key[best[-1]])
        ranks[: len(order)], scores[: len(order)] = ranks[order], np.concatenate([key[best], behind])
