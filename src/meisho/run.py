"""Runs: the only module that knows the order of the walk, from photos to a scored ranking."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.datasets.base import Dataset, load_dataset
from meisho.datasets.photo_files import check_photos
from meisho.descriptors import Descriptors, Provenance, describe_faults
from meisho.errors import ImageError, InputError, MismatchError
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.random_baseline import random_ranking
from meisho.evaluate.report import Report
from meisho.evaluate.sweep import Sweep, SweepEntry
from meisho.extraction import describe_photos, stream_descriptors
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.local_base import LocalExtractor, load_local_extractor
from meisho.ground_truth import SETUPS, GradedGroundTruth, Rows
from meisho.images import Photo, find_photos, printable_id
from meisho.index.choice import choose_index
from meisho.index.live import LiveIndex
from meisho.local_extraction import extract_local
from meisho.photo_pair import StoredPairs
from meisho.progress import Progress, silent
from meisho.ranking import Ranking
from meisho.rerank.chain import Chain
from meisho.rerank.costs import Cost, rerank_and_time
from meisho.rerank.evidence import Evidence
from meisho.rerank.geometric import GeometricReranker
from meisho.searching import search
from meisho.store import Collection, CollectionWriter
from meisho.stored_features import CollectionFeatures
from meisho.update import LocalUpdate, Update, plan_local_update, plan_update
from meisho.whitening import Whitening, fit_learned_whitening, fit_pca_whitening

LEARNED_SHRINKAGE = 10.0
"""The best of 0.1, 1 and 10 with a few hundred photos (docs/LOG.md); less needs far more pairs."""

RANKED = {"gldv2": 100}
"""How many places a protocol looks at; the others score the whole ranking."""


@dataclass(frozen=True)
class SkippedPhoto:
    """A photo that cannot be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class IndexSummary:
    """What one indexing run did.

    Attributes:
        num_photos: Photos that can be found now.
        described: Photos whose descriptor was computed.
        duplicates: New paths whose content was there already; they share its descriptor.
        unchanged: Photos that were there and have not changed, broken ones included.
        removed: Photos that are gone.
        skipped: Photos that cannot be read, of this run or an earlier one.
        index: Kind of the search structure.
        seconds: Wall time.
        local_described: Photos whose local features were found; of photos of one content the first.
        local_skipped: Photos that stay without local features, because they cannot be read any more.
    """

    num_photos: int
    described: int
    duplicates: int
    unchanged: int
    removed: int
    skipped: tuple[SkippedPhoto, ...]
    index: str
    seconds: float
    local_described: int = 0
    local_skipped: tuple[SkippedPhoto, ...] = ()


def restore_extractor(
    provenance: Provenance, *, device: str = "auto", places: dict[str, str] | None = None
) -> GlobalExtractor:
    """Load the extractor that descriptors came from.

    Args:
        provenance: Of the descriptors.
        device: "auto", "cpu" or "cuda".
        places: Where its files, "weights" or "whitening", are now when they were moved.

    Raises:
        MismatchError: Its weights are no longer the ones that were used.
    """
    options = json.loads(provenance.options) | (places or {})
    extractor = load_extractor(provenance.extractor, **options, device=device)
    differences = provenance.differences(extractor.provenance)
    if differences:
        raise MismatchError("the model is not what it was (then / now): " + "; ".join(differences))
    return extractor


def restore_local_extractor(provenance: Provenance) -> LocalExtractor:
    """Load the extractor that local features came from.

    Raises:
        MismatchError: Its weights are no longer the ones that were used.
    """
    extractor = load_local_extractor(provenance.extractor, **json.loads(provenance.options))
    differences = provenance.differences(extractor.provenance)
    if differences:
        raise MismatchError(
            "the extractor of local features is not what it was (then / now): " + "; ".join(differences)
        )
    return extractor


def index_folder(
    folder: Path,
    collection_path: Path,
    extractor: GlobalExtractor,
    *,
    index: str | None = None,
    moved: bool = False,
    local_extractor: LocalExtractor | None = None,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Progress = silent,
) -> IndexSummary:
    """Index every photo below a folder; see `index_photos`.

    Raises:
        InputError: The folder is not there, or holds no photo.
    """
    photos, problems = find_photos(folder)
    if not photos:
        raise InputError(f"{folder}: no photo found below it; nothing was changed in {collection_path}")
    return index_photos(
        photos,
        collection_path,
        extractor,
        photo_root=folder,
        problems=problems,
        index=index,
        moved=moved,
        local_extractor=local_extractor,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )


def index_photos(
    photos: Sequence[Photo],
    collection_path: Path,
    extractor: GlobalExtractor,
    *,
    photo_root: Path,
    problems: Sequence[ImageError] = (),
    index: str | None = None,
    moved: bool = False,
    local_extractor: LocalExtractor | None = None,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Progress = silent,
) -> IndexSummary:
    """Bring a collection in step with `photos`: add new and changed ones, remove what is gone.

    Args:
        photos: The photos that the collection shall hold.
        collection_path: The collection's directory; made when it is not there.
        extractor: Describes the photos; must be the one that the collection was made with.
        photo_root: The folder that the photos lie below.
        problems: Places that could not be looked into; they join the skipped photos.
        index: "auto", "exact", "ivfpq" or "hnsw"; None keeps the kind that is there, "auto" at first.
        moved: The photo folder was moved since the collection was made; it is found at `photo_root` now.
        local_extractor: Finds local features, which are kept beside the descriptors. None: whatever found
            those that the collection holds; where it holds none, none are looked for.
        batch_size: Photos per call of the extractor.
        num_workers: Processes that decode; None chooses.
        progress: Called as photos are done.

    Raises:
        MismatchError: The collection was made with another model, option, photo folder or extractor of local
            features.
        LockedError: Another process is writing to it.
    """
    start = time.perf_counter()
    photo_root = Path(os.path.abspath(photo_root))  # noqa: PTH100  # resolve() would follow links
    collection = _open_or_create(collection_path, photo_root, extractor, moved=moved)
    if local_extractor is not None:
        collection = collection.enable_local(local_extractor.provenance, local_extractor.dim)
    with collection.writer() as writer:
        plan = plan_update(
            collection.records(),
            photos,
            photo_root=collection.photo_root,
            known_contents=writer.known_contents(),
            problems=problems,
        )
        update = Update(plan, writer, progress)
        update.run(extractor, batch_size=batch_size, num_workers=num_workers)
        writer.tidy()
        progress("build index", 0, 1)
        kind = refresh_index(collection, index)
        progress("build index", 1, 1)
        local = _describe_local(
            collection, writer, photos, local_extractor, num_workers=num_workers, progress=progress
        )
    records = collection.records()
    broken = tuple(SkippedPhoto(record.id, record.error) for record in records if record.error)
    return IndexSummary(
        num_photos=len(records) - len(broken),
        described=update.num_described,
        duplicates=update.num_duplicates,
        unchanged=plan.unchanged,
        removed=len(plan.gone),
        skipped=(*broken, *(_skipped(problem, photo_root) for problem in problems)),
        index=kind,
        seconds=time.perf_counter() - start,
        local_described=local.num_described if local else 0,
        local_skipped=tuple(SkippedPhoto(p.id, reason) for p, reason in local.failed) if local else (),
    )


def _describe_local(
    collection: Collection,
    writer: CollectionWriter,
    photos: Sequence[Photo],
    extractor: LocalExtractor | None,
    *,
    num_workers: int | None,
    progress: Progress,
) -> LocalUpdate | None:
    """Find the local features that are missing; None where the collection holds none or misses none.

    The index is there by then: whoever searches meanwhile need not wait for local features.
    """
    if collection.local_provenance is None:
        return None
    pending = plan_local_update(collection.records(), photos, has_local=writer.has_local_features)
    if not pending:
        return None
    update = LocalUpdate(pending, writer, progress)
    update.run(extractor or restore_local_extractor(collection.local_provenance), num_workers=num_workers)
    writer.tidy()
    return update


def _skipped(problem: ImageError, photo_root: Path) -> SkippedPhoto:
    return SkippedPhoto(printable_id(Path(os.path.relpath(problem.path, photo_root))), problem.reason)


def refresh_index(collection: Collection, kind: str | None = None) -> str:
    """Build and save the search structure when it is missing, stale or of another kind; return its kind."""
    snapshot = collection.snapshot()
    vectors = snapshot.descriptors.vectors
    folder = collection.path / "index"
    saved = LiveIndex.load(folder)
    kind = kind or (saved.kind if saved and saved.kind != "exact" else "auto")
    kind = choose_index(vectors) if kind == "auto" else kind
    if saved is None or saved.kind != kind or saved.is_stale(snapshot.keys):
        LiveIndex.build(kind, vectors, snapshot.keys, snapshot.version).save(folder)
    return kind


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        ranking: The answers.
        pairs: Compares queries with answers as the reranker did, for who wants to see why; None where no
            local features were looked at.
    """

    ranking: Ranking
    pairs: StoredPairs | None = None


def search_collection(
    collection: Collection,
    queries: Sequence[Photo],
    extractor: GlobalExtractor,
    *,
    top: int = 10,
    reranker: Chain | None = None,
) -> Found:
    """Describe the query photos and find the `top` best database photos of each.

    Args:
        collection: Where to look.
        queries: Photos to ask with, cropped where they have a box.
        extractor: The one that the collection was made with.
        top: How many answers.
        reranker: Puts the answers into a better order.

    Raises:
        ImageError: A query cannot be read.
        MismatchError: The extractor is not the one that the collection was made with.
    """
    collection.require_provenance(extractor.provenance)
    snapshot = collection.snapshot()
    described = describe_photos(queries, extractor)
    live = LiveIndex.load(collection.path / "index")
    if live is None:
        live = LiveIndex.build("exact", snapshot.descriptors.vectors, snapshot.keys, snapshot.version)
    bound = live.follow(snapshot.descriptors.vectors, snapshot.keys, snapshot.version)
    if reranker is None:
        return Found(search(described, snapshot.descriptors, index=bound, top=top))
    ranking = search(described, snapshot.descriptors, index=bound, top=max(top, reranker.depth))
    local = _local_evidence(collection, ranking, queries) if reranker.needs_local else None
    evidence = Evidence(described.vectors, snapshot.descriptors.vectors, local)
    pairs = _stored_pairs(queries, local, reranker, evidence)
    return Found(reranker.rerank(ranking, evidence).top(top), pairs)


def _stored_pairs(
    queries: Sequence[Photo], local: CollectionFeatures | None, reranker: Chain, evidence: Evidence
) -> StoredPairs | None:
    """Return what compares photos as the last step that verifies does."""
    steps = [step.reranker for step in reranker.steps if isinstance(step.reranker, GeometricReranker)]
    return (
        StoredPairs(queries, local, steps[-1].matcher, steps[-1].ransac, evidence.verified)
        if local is not None and steps
        else None
    )


def _local_evidence(collection: Collection, ranking: Ranking, queries: Sequence[Photo]) -> CollectionFeatures:
    """Find the local features of the queries; those of the database are read when they are asked for."""
    if collection.local_provenance is None:
        raise InputError(
            f"{collection.path}: holds no local features to verify with; "
            "run 'meisho index' again with --local xfeat (or sift, aliked)"
        )
    local = restore_local_extractor(collection.local_provenance)
    return CollectionFeatures(collection, ranking.database_ids, [extract_local(q, local) for q in queries])


def fit_whitening(
    source: Path,
    extractor: GlobalExtractor,
    *,
    learned: bool = False,
    dim: int | None = None,
    shrinkage: float | None = None,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Progress = silent,
) -> tuple[Whitening, tuple[SkippedPhoto, ...]]:
    """Describe photos, fit a whitening on their descriptors, and say which photos cannot be read.

    Args:
        source: A folder of photos; when `learned`, a labelled folder or a CSV, see `meisho.datasets`.
        extractor: Describes the photos, without a whitening of its own.
        learned: Fit on pairs of photos of the same label instead of by PCA.
        dim: Dimensions that are kept; None keeps all.
        shrinkage: See `meisho.whitening`; None: 0 for PCA, `LEARNED_SHRINKAGE` for a learned one.
        batch_size: Photos per call of the extractor.
        num_workers: Processes that decode; None chooses.
        progress: Called as photos are done.

    Raises:
        InputError: There are too few photos or pairs.
    """
    dataset = load_dataset("csv" if source.is_file() else "folder", source) if learned else None
    photos, problems = (dataset.database, ()) if dataset else find_photos(source)
    if not photos:
        raise InputError(f"{source}: no photo found below it")
    ids: list[str] = []
    vectors = [np.empty((0, extractor.dim), np.float32)]
    skipped = [_skipped(problem, source) for problem in problems]
    stream = stream_descriptors(photos, extractor, batch_size=batch_size, num_workers=num_workers)
    with closing(stream):
        for batch in stream:
            ids += [photo.id for photo in batch.photos]
            vectors.append(batch.vectors)
            skipped += [SkippedPhoto(photo.id, error.reason) for photo, error in batch.errors]
            progress("describe", len(ids) + len(skipped), len(photos) + len(problems))
    descriptors = Descriptors(tuple(ids), np.concatenate(vectors), extractor.provenance)
    if dataset is None:
        return fit_pca_whitening(descriptors, dim=dim, shrinkage=shrinkage or 0.0), tuple(skipped)
    queries, positives = _pairs(dataset, descriptors)
    gentle = LEARNED_SHRINKAGE if shrinkage is None else shrinkage
    return fit_learned_whitening(descriptors, queries, positives, dim=dim, shrinkage=gentle), tuple(skipped)


def _pairs(dataset: Dataset, descriptors: Descriptors) -> tuple[Int64Array, Int64Array]:
    """Return descriptor rows (P,) of queries that are in the database, and (P,) of their positives."""
    row_of = {photo_id: row for row, photo_id in enumerate(descriptors.ids)}
    row_of_path = {photo.path: row_of[photo.id] for photo in dataset.database if photo.id in row_of}
    truth = dataset.ground_truth
    positives = truth.at("medium").positives if isinstance(truth, GradedGroundTruth) else truth.positives
    pairs = [
        (row_of_path[query.path], row_of[dataset.database[row].id])
        for query, rows in zip(dataset.queries, positives, strict=True)
        for row in rows
        if query.path in row_of_path and dataset.database[row].id in row_of
    ]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return first, second


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
    extractor: GlobalExtractor,
    collection_path: Path,
    *,
    local_extractor: LocalExtractor | None = None,
    reranker: Chain | None = None,
    seed: int = 0,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Index the database of a data set, ask its queries, and score the full ranking.

    The database's descriptors stay in the collection: a second evaluation, or one after a kill, goes on
    from there.

    Args:
        dataset: The data set.
        extractor: Describes its photos.
        collection_path: The collection of its database; made when it is not there.
        local_extractor: Finds local features of the database too, see `index_photos`.
        reranker: Reranks the whole ranking. Where it verifies a shortlist, the junk of each setup is taken
            out before the shortlist is chosen.
        seed: Seeds the bootstrap of the intervals.
        batch_size: Photos per call of the extractor.
        num_workers: Processes that decode; None chooses.
        progress: Called as photos are done.

    Raises:
        DatasetError: Photos are missing.
        ImageError: A photo cannot be read: a figure over fewer photos would not be the benchmark's.
        MismatchError: The collection was made with another model, option or photo folder.
    """
    plain, evidence = _search_dataset(
        dataset,
        extractor,
        collection_path,
        local_extractor=local_extractor,
        depth=reranker.depth if reranker else 0,
        seed=seed,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    if reranker is None:
        return plain
    progress("rerank", 0, 1)
    local = None
    if reranker.needs_local:
        local = _local_evidence(Collection.open(collection_path), plain.ranking, dataset.queries)
        evidence = replace(evidence, local=local)
    reranked = _rerank_each_setup(plain, reranker, reranker.rerank, evidence, seed=seed)
    progress("rerank", 1, 1)
    return replace(reranked, pairs=_stored_pairs(dataset.queries, local, reranker, evidence))


def sweep_dataset(
    dataset: Dataset,
    extractor: GlobalExtractor,
    collection_path: Path,
    chains: Mapping[str, Chain],
    *,
    local_extractor: LocalExtractor | None = None,
    seed: int = 0,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Progress = silent,
) -> Sweep:
    """Score several chains of rerankers, and none, on one data set that is described once.

    Args:
        dataset: The data set.
        extractor: As for `evaluate_dataset`, like what is not named here.
        collection_path: The collection of its database.
        chains: Chains by the names that they shall have in the sweep. Each begins anew: nothing that one has
            computed helps another.
        local_extractor: Finds local features too.
        seed: Seeds the bootstrap of the intervals.
        batch_size: Photos per call of the extractor.
        num_workers: Processes that decode; None chooses.
        progress: Called as photos and chains are done.

    Raises:
        InputError: A chain needs local features, and there are none.
        MeishoError: As of `evaluate_dataset`.
    """
    plain, evidence = _search_dataset(
        dataset,
        extractor,
        collection_path,
        local_extractor=local_extractor,
        depth=max((chain.depth for chain in chains.values()), default=0),
        seed=seed,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    local, local_bytes = None, 0.0
    if any(chain.needs_local for chain in chains.values()):
        collection = Collection.open(collection_path)
        local = _local_evidence(collection, plain.ranking, dataset.queries)
        local_bytes = collection.local_size_bytes / max(len(dataset.database), 1)
    entries = [SweepEntry("", plain.report)]
    for number, (name, chain) in enumerate(chains.items()):
        progress("rerank", number, len(chains))
        fresh = Evidence(evidence.queries, evidence.database, local)
        entries.append(_sweep_entry(name, plain, chain, fresh, local_bytes, seed=seed))
    progress("rerank", len(chains), len(chains))
    return Sweep(tuple(entries))


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
        bytes_per_photo=cost.kept_bytes / max(report.num_database, 1) + local_bytes * chain.needs_local,
    )


def _search_dataset(
    dataset: Dataset,
    extractor: GlobalExtractor,
    collection_path: Path,
    *,
    local_extractor: LocalExtractor | None,
    depth: int,
    seed: int,
    batch_size: int,
    num_workers: int | None,
    progress: Progress,
) -> tuple[Evaluation, Evidence]:
    """Index the database, ask the queries and score the ranking; `depth` is the least of the ranking."""
    check_photos(dataset)
    summary = index_photos(
        dataset.database,
        collection_path,
        extractor,
        photo_root=dataset.root if dataset.root.is_dir() else dataset.root.parent,
        index="exact",
        local_extractor=local_extractor,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    if summary.skipped or summary.local_skipped:
        first = (*summary.skipped, *summary.local_skipped)[0]
        path = next(photo.path for photo in dataset.database if photo.id == first.id)
        raise ImageError(
            path, f"{first.reason}; a score needs every photo of {dataset.name}, repair or replace it"
        )
    database = (
        Collection.open(collection_path).snapshot().descriptors.select([p.id for p in dataset.database])
    )
    queries = _describe_queries(
        dataset, database, extractor, batch_size=batch_size, num_workers=num_workers, progress=progress
    )
    faults = [*describe_faults(database), *(f"queries: {fault}" for fault in describe_faults(queries))]
    if not (np.isfinite(database.vectors).all() and np.isfinite(queries.vectors).all()):
        raise InputError(f"{dataset.name}: {'; '.join(faults)}; the model or its precision is at fault")
    progress("search", 0, 1)
    top = RANKED.get(dataset.protocol)
    ranking = search(queries, database, top=max(top, depth) if top else None)
    progress("search", 1, 1)
    evaluation = _scored(dataset, ranking, extractor.provenance, seed=seed, warnings=tuple(faults))
    return evaluation, Evidence(queries.vectors, database.vectors)


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


def _describe_queries(
    dataset: Dataset,
    database: Descriptors,
    extractor: GlobalExtractor,
    *,
    batch_size: int,
    num_workers: int | None,
    progress: Progress,
) -> Descriptors:
    """Describe the queries; one that is a database photo too, with the same box, is not described again."""
    row_of = {(photo.path, photo.box): row for row, photo in enumerate(dataset.database)}
    rows = [row_of.get((query.path, query.box)) for query in dataset.queries]
    new = [query for query, row in zip(dataset.queries, rows, strict=True) if row is None]
    described = describe_photos(
        new,
        extractor,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=lambda done, total: progress("describe queries", done, total),
    )
    vectors = np.empty((len(rows), database.dim), np.float32)
    vectors[[row is None for row in rows]] = described.vectors
    vectors[[row is not None for row in rows]] = database.vectors[[row for row in rows if row is not None]]
    return Descriptors(tuple(query.id for query in dataset.queries), vectors, database.provenance)


def _open_or_create(path: Path, photo_root: Path, extractor: GlobalExtractor, *, moved: bool) -> Collection:
    if not Collection.exists(path):
        return Collection.create(
            path, photo_root=photo_root, provenance=extractor.provenance, dim=extractor.dim
        )
    collection = Collection.open(path)
    collection.require_provenance(extractor.provenance)
    if collection.photo_root == photo_root:
        return collection
    if moved:
        return collection.move_photo_root(photo_root)
    raise MismatchError(
        f"{path}: holds the photos of {collection.photo_root}, not of {photo_root}; "
        "choose another place with --to, or, if that folder was moved, run 'meisho index --moved'"
    )
