"""The walk of a contest entry: photos -> descriptors of one or more models -> ranking -> submission.

What a contest asks beside the walk of `meisho.run`: several models at once, photos that cannot be read are
passed over, since an entry with one photo less is better than none, and there is no collection where LanceDB
is not installed, as in a contest's notebook.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from meisho.contest.local_features import LocalFeaturesOnDemand
from meisho.datasets.contest import ContestPhotos
from meisho.datasets.gldv2 import RetrievalSolution
from meisho.describing import Describer
from meisho.descriptors import PLACES, Descriptors, Provenance, describe_faults, normalize_rows
from meisho.errors import ImageError, InputError
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.report import Report
from meisho.extractors.local_base import load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.photo_folder import PhotoFolder
from meisho.photos import Photo
from meisho.progress import Progress, silent
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.chain import Chain, build_chain
from meisho.rerank.evidence import Evidence
from meisho.searching import search
from meisho.submission import MOST_IDS

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Described:
    """Descriptors of the photos that could be read, and why the others could not.

    Attributes:
        descriptors: Descriptors of N photos.
        errors: The other photos, each with its error.
    """

    descriptors: Descriptors
    errors: tuple[ImageError, ...] = ()


class DescribePhotos(Protocol):
    """How photos are described by one model: in memory, or by way of a collection on disk."""

    def __call__(self, photos: Sequence[Photo], describer: Describer, *, stage: str) -> Described:
        """Describe photos; `stage` names what is done, for the progress."""
        ...


@dataclass(frozen=True, eq=False)
class Entry:
    """What is handed in, and what is known of it.

    Attributes:
        ranking: The ranked database photos of each query that could be read.
        query_ids: The rows of the submission, in order.
        errors: Photos that were passed over.
        provenance: Where the descriptors came from.
        warnings: Faults of the descriptors, in words.
        reranking: How it was reranked, "" where it was not.
    """

    ranking: Ranking
    query_ids: tuple[str, ...]
    errors: tuple[ImageError, ...]
    provenance: Provenance
    warnings: tuple[str, ...] = ()
    reranking: str = ""


@dataclass(frozen=True)
class Reranking:
    """How an entry is reranked.

    Attributes:
        chain: The rerankers.
        local: Finds local features of the photos that they look at, where they need some.

    Raises:
        InputError: The chain needs local features and there is no extractor of them.
    """

    chain: Chain
    local: LocalDescriber | None = None

    def __post_init__(self) -> None:
        if self.chain.needs_local and self.local is None:
            raise InputError(
                f"--rerank {self.chain.text}: needs local features; say --local xfeat, sift or aliked"
            )


def load_reranking(
    rerank: str | None, local: str | None, *, device: str = "auto", num_workers: int | None = None
) -> Reranking | None:
    """Load a chain's rerankers and local feature extractor; return None if there is no chain.

    Raises:
        InputError: A name or option is unknown, or the chain needs local features and `local` is None.
    """
    if rerank is None:
        return None
    chain = build_chain(rerank, source="--rerank", device=device)
    if local is None:
        return Reranking(chain)
    return Reranking(chain, LocalDescriber(load_local_extractor(local, device=device), num_workers))


def make_entry(
    photos: ContestPhotos,
    describers: Sequence[Describer],
    *,
    describe_database: DescribePhotos,
    describe_queries: DescribePhotos,
    reranking: Reranking | None = None,
    progress: Progress = silent,
) -> Entry:
    """Describe queries and database by every model, and rank the database for each query.

    Args:
        photos: The contest's photos.
        describers: One or more models; the similarities of several are averaged.
        describe_database: How the database is described.
        describe_queries: How the queries are described.
        reranking: How the first answers are put into a better order.
        progress: Called as work is done.

    Raises:
        InputError: There is no model, no photo can be read, or descriptors hold NaN.
    """
    if not describers:
        raise InputError("a submission needs at least one model")
    database = _describe_by_all(photos.database, describers, describe_database, "describe database")
    queries = _describe_by_all(photos.queries, describers, describe_queries, "describe queries")
    faults = [*describe_faults(database.descriptors)]
    faults += [f"queries: {fault}" for fault in describe_faults(queries.descriptors)]
    if not len(database.descriptors) or not len(queries.descriptors):
        raise InputError("no photo of the queries or of the database can be read; look at one of them")
    progress("search", 0, 1)
    depth = max(MOST_IDS, reranking.chain.depth if reranking else 0)
    ranking = search(queries.descriptors, database.descriptors, top=depth)
    progress("search", 1, 1)
    if reranking:
        ranking = _rerank(ranking, queries.descriptors, database.descriptors, photos, reranking, progress)
    errors = (*photos.errors, *database.errors, *queries.errors)
    return Entry(
        ranking.top(MOST_IDS),
        photos.query_ids,
        errors,
        database.descriptors.provenance,
        tuple(faults),
        reranking.chain.text if reranking else "",
    )


def _rerank(
    ranking: Ranking,
    queries: Descriptors,
    database: Descriptors,
    photos: ContestPhotos,
    reranking: Reranking,
    progress: Progress,
) -> Ranking:
    local, total = None, len(queries)
    progress("rerank", 0, total)
    if reranking.local and reranking.chain.needs_local:
        asked = {photo.id: photo for photo in photos.queries}
        searched = {photo.id: photo for photo in photos.database}
        local = LocalFeaturesOnDemand(
            [asked[photo_id] for photo_id in queries.ids],
            [searched[photo_id] for photo_id in database.ids],
            reranking.local,
            progress=progress,
        )
    reranked = reranking.chain.rerank(ranking, Evidence(queries.vectors, database.vectors, local))
    progress("rerank", total, total)
    return reranked


def _describe_by_all(
    photos: Sequence[Photo], describers: Sequence[Describer], describe: DescribePhotos, stage: str
) -> Described:
    """Describe photos by each model and join what they say; a photo that one cannot read is in none."""
    if len(describers) == 1:
        return describe(photos, describers[0], stage=stage)
    joined = JoinedDescriptors([photo.id for photo in photos], [describer.dim for describer in describers])
    errors: dict[Path, ImageError] = {}
    for number, describer in enumerate(describers):
        described = describe(photos, describer, stage=f"{stage}, model {number + 1}")
        joined.put(number, described.descriptors)
        errors |= {error.path: error for error in described.errors}
        del described  # before the next comes: one model's descriptors at a time beside the joined ones
    return Described(joined.finish(), tuple(errors.values()))


class JoinedDescriptors:
    """Descriptors of several models in one vector per photo; its dot product is their mean similarity.

    The vectors stand once in memory: each model's are copied into their place and can go.

    Args:
        ids: N ids of photos.
        dims: Dimensions of each of M models.
    """

    def __init__(self, ids: Sequence[str], dims: Sequence[int]) -> None:
        self._ids = tuple(ids)
        self._row_of = {photo_id: row for row, photo_id in enumerate(self._ids)}
        self._vectors = np.zeros((len(ids), sum(dims)), np.float32)
        self._edges = np.cumsum([0, *dims])
        self._present = np.zeros((len(dims), len(ids)), np.bool_)
        self._provenances: list[Provenance] = []

    def put(self, number: int, descriptors: Descriptors) -> None:
        """Take over the descriptors of one model; models come in order."""
        columns = slice(self._edges[number], self._edges[number + 1])
        scale = np.float32(1 / np.sqrt(len(self._present)))
        for start in range(0, len(descriptors), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            rows = [self._row_of[photo_id] for photo_id in descriptors.ids[some]]
            self._vectors[rows, columns] = scale * normalize_rows(descriptors.vectors[some])
            self._present[number, rows] = True
        self._provenances.append(descriptors.provenance)

    def finish(self) -> Descriptors:
        """Return the descriptors of the photos that every model described."""
        provenance = Provenance.from_options(
            "ensemble", {"members": [p.to_json() for p in self._provenances]}
        )
        rows = np.flatnonzero(self._present.all(axis=0))
        if len(rows) == len(self._ids):
            return Descriptors(self._ids, self._vectors, provenance)
        return Descriptors(tuple(self._ids[row] for row in rows), self._vectors[rows], provenance)


@dataclass(frozen=True)
class InMemory:
    """Describes photos and keeps the descriptors in memory; a kill loses them.

    Attributes:
        progress: Called as photos are done.
    """

    progress: Progress = silent

    def __call__(self, photos: Sequence[Photo], describer: Describer, *, stage: str) -> Described:
        """Describe photos; see `DescribePhotos`."""
        errors: list[ImageError] = []
        described = describer.describe(photos, progress=self.progress, stage=stage, on_error=errors.append)
        return Described(described, tuple(errors))


@dataclass(frozen=True)
class InCollections:
    """Describes photos by way of a collection on disk for each model: after a kill it goes on from there.

    Attributes:
        folder: The folder of the collections.
        photo_root: The folder that the photos lie below.
        progress: Called as photos are done.
    """

    folder: Path
    photo_root: Path
    progress: Progress = silent

    def __call__(self, photos: Sequence[Photo], describer: Describer, *, stage: str) -> Described:
        """Describe photos; see `DescribePhotos`."""
        from meisho.run.finding import Finder
        from meisho.run.indexing import IndexOptions, index_photos  # LanceDB: a notebook does without

        path = self.folder / collection_name(describer.provenance)
        summary = index_photos(
            PhotoFolder(self.photo_root, tuple(photos)),
            path,
            describer,
            IndexOptions(index="exact", only=True),
            progress=lambda what, done, total: self.progress(
                stage if what == "describe" else what, done, total
            ),
        )
        path_of = {photo.id: photo.path for photo in photos}
        errors = tuple(ImageError(path_of[skipped.id], skipped.reason) for skipped in summary.skipped)
        descriptors = Finder.open(path, extractor=describer.extractor).descriptors
        present = {*descriptors.ids}
        order = tuple(photo.id for photo in photos if photo.id in present)
        return Described(descriptors if order == descriptors.ids else descriptors.select(order), errors)


def collection_name(provenance: Provenance) -> str:
    """Return a folder's name for the collection of one model: the same for the same model and options."""
    slug = re.sub(r"[^0-9A-Za-z]+", "-", provenance.extractor).strip("-")[:40]
    options = provenance.values
    if provenance.weights_sha256:
        options = {name: value for name, value in options.items() if name not in PLACES}
    facts = json.dumps([provenance.extractor, options, provenance.weights_sha256], sort_keys=True)
    return f"{slug}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def score_entry(
    ranking: Ranking,
    solution: RetrievalSolution,
    *,
    provenance: Provenance,
    seed: int = 0,
    warnings: Sequence[str] = (),
    reranking: str = "",
) -> Report:
    """Score a ranking by the contest's protocol, as `meisho evaluate gldv2` does.

    Queries of the solution that the ranking does not have count as not answered.

    Args:
        ranking: (Q, K), as it is handed in.
        solution: The right answers, as rows of the ranking's database.
        provenance: Where the descriptors came from, for the report.
        seed: Seeds the bootstrap of the intervals.
        warnings: For the report.
        reranking: How the ranking was reranked, for the report.
    """
    row_of = {query_id: row for row, query_id in enumerate(ranking.query_ids)}
    rows = np.array([row_of.get(query_id, -1) for query_id in solution.query_ids], np.int64)
    best = ranking.top(MOST_IDS)
    ranks = np.where(rows[:, None] >= 0, best.ranks[rows], NO_ROW)
    scores = np.where(rows[:, None] >= 0, best.scores[rows], -np.inf)
    report = evaluate_ranking(
        Ranking(solution.query_ids, ranking.database_ids, ranks, scores),
        solution.ground_truth,
        protocol="gldv2",
        dataset=f"gldv2 ({solution.name})",
        queries_cropped=False,
        provenance=provenance,
        rng=np.random.default_rng(seed),
        warnings=warnings,
    )
    return replace(report, reranking=reranking) if reranking else report
