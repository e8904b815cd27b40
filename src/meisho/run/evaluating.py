"""Evaluating: a data set is indexed, its queries are asked, and the ranking is scored."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from meisho.datasets.base import Dataset
from meisho.datasets.photo_files import check_photos
from meisho.describing import Describer
from meisho.descriptors import Descriptors, Provenance, describe_faults
from meisho.engines.base import open_engine
from meisho.errors import ImageError, InputError
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.random_baseline import random_ranking
from meisho.evaluate.report import Report
from meisho.evaluate.sweep import Sweep, SweepEntry
from meisho.ground_truth import SETUPS, GradedGroundTruth, Rows
from meisho.index.base import Searcher
from meisho.local_describing import LocalDescriber
from meisho.photo_folder import PhotoFolder
from meisho.photo_pair import StoredPairs
from meisho.progress import Progress, silent
from meisho.ranking import Ranking
from meisho.rerank.chain import Chain
from meisho.rerank.costs import Cost, rerank_and_time
from meisho.rerank.evidence import Evidence
from meisho.run.indexing import IndexOptions, index_photos
from meisho.run.kept_queries import describe_queries
from meisho.run.reranking import local_evidence, stored_pairs
from meisho.searching import search
from meisho.store.collection import Collection
from meisho.store.metadata import INDEX_FOLDER, is_collection, read_metadata
from meisho.stored_features import CollectionFeatures

RANKED = {"gldv2": 100}
"""How many places a protocol looks at; the others score the whole ranking."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A scored ranking.

    Attributes:
        dataset: What was asked of what.
        ranking: The whole database ranked for each query.
        report: The figures.
        pairs: Compares queries with answers as the reranker did, see `Found`.
    """

    dataset: Dataset
    ranking: Ranking
    report: Report
    pairs: StoredPairs | None = None


def evaluate_dataset(
    dataset: Dataset,
    describer: Describer,
    collection_path: Path,
    *,
    local: LocalDescriber | None = None,
    chain: Chain | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Index the database of a data set, ask its queries, and score the full ranking.

    The descriptors of the database and of the queries stay in the collection: a second evaluation, or one
    after a kill, goes on from there.

    Args:
        dataset: The data set.
        describer: Describes its photos.
        collection_path: The collection of its database; made when it is not there.
        local: Finds local features of the database too, see `IndexOptions`.
        chain: Reranks the whole ranking. Where it verifies a shortlist, the junk of each setup is taken out
            before the shortlist is chosen.
        device: Where the collection's own extractor of local features computes.
        seed: Seeds the bootstrap of the intervals.
        progress: Called as photos are done.

    Raises:
        DatasetError: Photos are missing.
        ImageError: A photo cannot be read: a figure over fewer photos would not be the benchmark's.
        MismatchError: The collection was made with another model, option or photo folder.
    """
    walk = _Walk(dataset, describer, collection_path, local, seed, progress, device)
    depth = chain.depth if chain else 0
    searched = walk.search(depth)
    plain, evidence = searched.score(depth), searched.evidence
    if chain is None:
        return plain
    progress("rerank", 0, 1)
    if chain.needs_local:
        evidence = replace(evidence, local=walk.find_local_evidence().features)
    reranked = _rerank_each_setup(plain, chain, chain.rerank, evidence, seed=seed)
    progress("rerank", 1, 1)
    return replace(reranked, pairs=stored_pairs(dataset.queries, evidence, chain))


def sweep_dataset(
    dataset: Dataset,
    describer: Describer,
    collection_path: Path,
    chains: Mapping[str, Chain],
    *,
    local: LocalDescriber | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> Sweep:
    """Score several chains of rerankers, and none, on one data set that is described once.

    Args:
        dataset: The data set.
        describer: As for `evaluate_dataset`, like what is not named here.
        collection_path: The collection of its database.
        chains: Chains by the names that they shall have in the sweep. Each begins anew: nothing that one has
            computed helps another.
        local: Finds local features too.
        device: As for `evaluate_dataset`.
        seed: Seeds the bootstrap of the intervals.
        progress: Called as photos and chains are done.

    Raises:
        InputError: A chain needs local features, and there are none.
        MeishoError: As by `evaluate_dataset`.
    """
    walk = _Walk(dataset, describer, collection_path, local, seed, progress, device)
    searched = walk.search(max((chain.depth for chain in chains.values()), default=0))
    needs_local = any(chain.needs_local for chain in chains.values())
    found = walk.find_local_evidence() if needs_local else None
    entries = [searched.enter("")]
    for number, (name, chain) in enumerate(chains.items()):
        progress("rerank", number, len(chains))
        entries.append(searched.enter(name, chain, found))
    progress("rerank", len(chains), len(chains))
    return Sweep(tuple(entries))


def search_dataset(
    dataset: Dataset,
    describer: Describer,
    collection_path: Path,
    *,
    depth: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> "Searched":
    """Describe and search a data set once, for any number of chains.

    Args:
        dataset: As for `evaluate_dataset`, like what is not named here.
        describer: Describes its photos.
        collection_path: The collection of its database.
        depth: The most that a chain will look at, `Chain.depth`.
        seed: Seeds the bootstrap of the intervals.
        progress: Called as photos are done.

    Raises:
        MeishoError: As by `evaluate_dataset`.
    """
    return _Walk(dataset, describer, collection_path, None, seed, progress, "auto").search(depth)


def find_local_evidence(
    dataset: Dataset,
    describer: Describer,
    collection_path: Path,
    local: LocalDescriber,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> "LocalEvidence":
    """Find the local features of a data set, whatever model its photos will be searched by.

    Args:
        dataset: As for `evaluate_dataset`, like what is not named here.
        describer: Describes photos for the collection, which asks for a descriptor of each.
        collection_path: The collection that keeps them.
        local: Finds the features.
        device: Where those of the queries are found.
        progress: Called as photos are done.

    Raises:
        MeishoError: As by `evaluate_dataset`.
    """
    walk = _Walk(dataset, describer, collection_path, local, 0, progress, device)
    walk.describe_database()
    return walk.find_local_evidence()


@dataclass(frozen=True, eq=False)
class LocalEvidence:
    """Local features of a data set.

    Attributes:
        features: Those of the queries, and those of the database, read when they are asked for.
        bytes_per_photo: What a database photo's take on the disk.
    """

    features: CollectionFeatures
    bytes_per_photo: float


@dataclass(frozen=True, eq=False)
class Searched:
    """A data set that was described and searched: chains are compared on it, and none helps another.

    Attributes:
        dataset: What was asked of what.
        ranking: As deep as the deepest chain looks.
        evidence: The descriptors; what a chain computes is not kept in it.
        provenance: Where they come from.
        seed: Seeds the bootstrap of the intervals.
        warnings: What is wrong with the descriptors.
        search_ms: Wall time of the search per query.
    """

    dataset: Dataset
    ranking: Ranking
    evidence: Evidence
    provenance: Provenance
    seed: int
    warnings: tuple[str, ...]
    search_ms: float

    def score(self, depth: int = 0) -> Evaluation:
        """Score the ranking as the protocol or a chain of this depth looks at it."""
        top = RANKED.get(self.dataset.protocol)
        return self._score(self.ranking.top(max(top, depth))) if top else self._whole

    @cached_property
    def _whole(self) -> Evaluation:
        """The whole ranking scored: what every chain begins with, where the protocol cuts nothing off."""
        return self._score(self.ranking)

    def _score(self, ranking: Ranking) -> Evaluation:
        return _scored(self.dataset, ranking, self.provenance, seed=self.seed, warnings=self.warnings)

    def enter(self, name: str, chain: Chain | None = None, found: LocalEvidence | None = None) -> SweepEntry:
        """Rerank by a chain, or by none, and say what it scores and takes.

        Args:
            name: How the entry is called.
            chain: The chain.
            found: Local features, which some chains need.

        Raises:
            InputError: The chain needs local features, and there are none.
        """
        if chain is None:
            return SweepEntry(name, self.score().report)
        local = found.features if found and chain.needs_local else None
        evidence = Evidence(self.evidence.queries, self.evidence.database, local, index=self.evidence.index)
        local_bytes = found.bytes_per_photo if found and chain.needs_local else 0.0
        return _sweep_entry(name, self.score(chain.depth), chain, evidence, local_bytes, seed=self.seed)


def _sweep_entry(
    name: str, plain: Evaluation, chain: Chain, evidence: Evidence, local_bytes: float, *, seed: int
) -> SweepEntry:
    costs: list[Cost] = []

    def rerank(ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        if costs:  # a further setup: what was found for the first would make it look cheap
            return chain.rerank(ranking, evidence, skip=skip)
        reranked, cost = rerank_and_time(chain, ranking, evidence, skip=skip)
        costs.append(cost)
        return reranked

    report = _rerank_each_setup(plain, chain, rerank, evidence, seed=seed).report
    cost = costs[0]
    return SweepEntry(
        name,
        report,
        query_ms=1000 * cost.query_seconds / max(report.num_queries, 1),
        once_seconds=cost.once_seconds,
        bytes_per_photo=cost.kept_bytes / max(report.num_database, 1) + local_bytes,
    )


@dataclass(frozen=True, eq=False)
class _Walk:
    """The walk of one data set, from its photos to a scored ranking without a reranker."""

    dataset: Dataset
    describer: Describer
    collection_path: Path
    local: LocalDescriber | None
    seed: int
    progress: Progress
    device: str

    def search(self, depth: int) -> Searched:
        """Index the database and ask the queries; `depth` is the least of the ranking."""
        dataset = self.dataset
        database = self.describe_database()
        index = self._load_index(database)
        queries = self._describe_queries(database)
        faults = [*describe_faults(database), *(f"queries: {fault}" for fault in describe_faults(queries))]
        if not (np.isfinite(database.vectors).all() and np.isfinite(queries.vectors).all()):
            raise InputError(f"{dataset.name}: {'; '.join(faults)}; the model or its precision is at fault")
        self.progress("search", 0, 1)
        top = RANKED.get(dataset.protocol)
        start = time.perf_counter()
        ranking = search(queries, database, index=index, top=max(top, depth) if top else None)
        search_ms = 1000 * (time.perf_counter() - start) / len(queries)
        self.progress("search", 1, 1)
        evidence = Evidence(queries.vectors, database.vectors, index=index)
        provenance = self.describer.provenance
        return Searched(dataset, ranking, evidence, provenance, self.seed, tuple(faults), search_ms)

    def find_local_evidence(self) -> LocalEvidence:
        """Find the local features of the queries; those of the database come from the collection."""
        path, dataset = self.collection_path, self.dataset
        ids = tuple(photo.id for photo in dataset.database)
        features = local_evidence(path, read_metadata(path), ids, dataset.queries, device=self.device)
        return LocalEvidence(features, Collection.open(path).local_size_bytes / max(len(ids), 1))

    def describe_database(self) -> Descriptors:
        """Bring the collection in step with the database, and return its descriptors."""
        dataset = self.dataset
        check_photos(dataset)
        root = dataset.root if dataset.root.is_dir() else dataset.root.parent
        place = self.collection_path
        has_engine = is_collection(place) and read_metadata(place).engine is not None
        options = IndexOptions(
            index=None if has_engine else "exact", local=self.local, device=self.device, only=True
        )
        summary = index_photos(
            PhotoFolder(root, dataset.database), place, self.describer, options, progress=self.progress
        )
        if skipped := (*summary.skipped, *summary.local_skipped):
            first = skipped[0]
            path = next(photo.path for photo in dataset.database if photo.id == first.id)
            raise ImageError(
                path, f"{first.reason}; a score needs every photo of {dataset.name}, repair or replace it"
            )
        database = Collection.open(self.collection_path).snapshot().descriptors
        return database.select([photo.id for photo in dataset.database])

    def _load_index(self, database: Descriptors) -> Searcher | None:
        """Return what searches the database elsewhere; None where nothing does: it is compared with all."""
        path = self.collection_path
        engine = read_metadata(path).engine
        live = None if engine is None else open_engine(engine).load(path / INDEX_FOLDER)
        if live is None:
            return None
        snapshot = Collection.open(path).snapshot()
        row_of = {photo_id: row for row, photo_id in enumerate(snapshot.descriptors.ids)}
        keys = snapshot.keys[[row_of[photo_id] for photo_id in database.ids]]
        return live.follow(database.vectors, keys, snapshot.version)

    def _describe_queries(self, database: Descriptors) -> Descriptors:
        """Describe the queries, but for database photos with the same box, and those that were kept."""
        dataset = self.dataset
        row_of = {(photo.path, photo.box): row for row, photo in enumerate(dataset.database)}
        rows = [row_of.get((query.path, query.box)) for query in dataset.queries]
        new = [query for query, row in zip(dataset.queries, rows, strict=True) if row is None]
        described = describe_queries(new, self.describer, self.collection_path, progress=self.progress)
        vectors = np.empty((len(rows), database.dim), np.float32)
        vectors[[row is None for row in rows]] = described
        known = [row for row in rows if row is not None]
        vectors[[row is not None for row in rows]] = database.vectors[known]
        return Descriptors(tuple(query.id for query in dataset.queries), vectors, database.provenance)


def _rerank_each_setup(
    evaluation: Evaluation,
    reranker: Chain,
    rerank: Callable[..., Ranking],
    evidence: Evidence,
    *,
    seed: int,
) -> Evaluation:
    """Rerank once for each setup, without its junk, and take each setup's figures from its own ranking.

    Where no step verifies a shortlist, there is nothing to keep junk out of, and one ranking serves all.
    """
    dataset, before = evaluation.dataset, evaluation.report
    seconds: list[float] = []

    def timed(skip: Rows | None) -> Ranking:
        start = time.perf_counter()
        ranking = rerank(evaluation.ranking, evidence, skip=skip)
        seconds.append(time.perf_counter() - start)
        return ranking

    if reranker.uses_skip:
        rankings = {setup: timed(junk) for setup, junk in _junk_by_setup(evaluation).items()}
    else:
        ranking = timed(None)
        rankings = {figure.setup: ranking for figure in before.figures}
    reports = {
        setup: _scored(dataset, ranking, before.provenance, seed=seed).report
        for setup, ranking in rankings.items()
    }
    junk = "; junk of each setup was taken out before the first were chosen" if reranker.uses_skip else ""
    report = replace(
        before,
        figures=tuple(f for setup, r in reports.items() for f in r.figures if f.setup == setup),
        query_scores=tuple(q for setup, r in reports.items() for q in r.query_scores if q.setup == setup),
        reranking=f"{reranker.text}{junk}",
        rerank_seconds=max(seconds),
    )
    shown = rankings[report.headline.setup]
    return Evaluation(dataset, shown, report)


def _junk_by_setup(evaluation: Evaluation) -> dict[str, Rows]:
    truth = evaluation.dataset.ground_truth
    if isinstance(truth, GradedGroundTruth):
        return {setup: truth.at(setup).junk for setup in SETUPS}
    return {figure.setup: truth.junk for figure in evaluation.report.figures}


def evaluate_random(dataset: Dataset, *, seed: int = 0) -> Evaluation:
    """Score the chapter's random baseline; needs the ground truth only, no photos."""
    query_ids = tuple(photo.id for photo in dataset.queries)
    database_ids = tuple(photo.id for photo in dataset.database)
    ranking = random_ranking(query_ids, database_ids, dataset.name, top=RANKED.get(dataset.protocol))
    return _scored(dataset, ranking, Provenance("random"), seed=seed)


def _scored(
    dataset: Dataset, ranking: Ranking, provenance: Provenance, *, seed: int, warnings: tuple[str, ...] = ()
) -> Evaluation:
    report = evaluate_ranking(
        ranking,
        dataset.ground_truth,
        protocol=dataset.protocol,
        dataset=dataset.name,
        queries_cropped=dataset.queries_cropped,
        provenance=provenance,
        rng=np.random.default_rng(seed),
        warnings=warnings,
    )
    return Evaluation(dataset, ranking, report)
