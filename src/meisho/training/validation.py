"""Validation: how well the network's descriptors retrieve, scored as `meisho evaluate` scores."""

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from meisho.arrays import Float32Array, Int64Array
from meisho.datasets.base import Dataset
from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.errors import ImageError
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.report import Report
from meisho.ground_truth import GradedGroundTruth, GroundTruth, Rows
from meisho.layers.margin_heads import MarginHead
from meisho.photos import Box, Photo
from meisho.searching import search
from meisho.training.data import TrainingSet
from meisho.training.skipped import check_share

_Place = tuple[Path, Box | None]


def ignore_error(error: ImageError) -> None:
    """Leave a photo out without a word."""


def evaluate_descriptors(
    dataset: Dataset,
    describer: Describer,
    *,
    on_error: Callable[[ImageError], None] = ignore_error,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Describe a data set, rank its database for each query, and score by its protocol.

    A photo that is query and database at once, with the same box, is described once. One that cannot be read
    is neither asked for nor an answer: here a run must not end by it, which `meisho evaluate` does, since its
    figures stand beside those of others.

    Args:
        dataset: What to score on.
        describer: Describes it.
        on_error: Called with each photo that cannot be read.
        progress: Called with how many photos are described, and how many there are.

    Raises:
        DatasetError: More than a tenth of the photos cannot be read, or there is nothing left to ask for.
    """
    photos = list(dict.fromkeys([*_places(dataset.database), *_places(dataset.queries)]))
    numbered = [Photo(str(row), path, box) for row, (path, box) in enumerate(photos)]
    errors: list[ImageError] = []
    described = describer.describe(
        numbered, on_error=errors.append, progress=lambda _, done, total: progress(done, total)
    )
    row_of = {photos[int(number)]: row for row, number in enumerate(described.ids)}
    if errors:
        check_share(errors, len(errors), len(photos))
        dataset = _only(dataset, row_of.keys())
    for error in errors:
        on_error(error)
    queries, database = (
        Descriptors(
            tuple(p.id for p in part),
            described.vectors[[row_of[p] for p in _places(part)]],
            described.provenance,
        )
        for part in (dataset.queries, dataset.database)
    )
    return evaluate_ranking(
        search(queries, database),
        dataset.ground_truth,
        protocol=dataset.protocol,
        dataset=dataset.name,
        queries_cropped=dataset.queries_cropped,
        provenance=describer.provenance,
    )


def describe_rows(
    photos: TrainingSet,
    rows: Int64Array,
    describer: Describer,
    *,
    on_error: Callable[[ImageError], None] = ignore_error,
) -> tuple[Descriptors, Int64Array]:
    """Describe some photos of a training set, without those that cannot be read.

    Returns:
        Descriptors of N photos, and the (N,) int64 places of these photos in `rows`.
    """
    numbered = [replace(photos.photo(row), id=str(place)) for place, row in enumerate(rows.tolist())]
    described = describer.describe(numbered, on_error=on_error)
    return described, np.array([int(place) for place in described.ids], np.int64)


def _places(photos: Sequence[Photo]) -> list[_Place]:
    return [(photo.path, photo.box) for photo in photos]


def _only(dataset: Dataset, places: Set[_Place]) -> Dataset:
    """Return a data set of some of its photos."""
    queries, database = (
        np.flatnonzero([place in places for place in _places(part)])
        for part in (dataset.queries, dataset.database)
    )
    truth = dataset.ground_truth

    def only(rows: Rows) -> Rows:
        return tuple(np.flatnonzero(np.isin(database, rows[query])) for query in queries)

    kept: GroundTruth | GradedGroundTruth
    if isinstance(truth, GradedGroundTruth):
        kept = replace(truth, easy=only(truth.easy), hard=only(truth.hard), junk=only(truth.junk))
    else:
        groups = tuple(truth.groups[query] for query in queries) if truth.groups else ()
        kept = replace(truth, positives=only(truth.positives), junk=only(truth.junk), groups=groups)
    return replace(
        dataset,
        database=tuple(dataset.database[row] for row in database),
        queries=tuple(dataset.queries[row] for row in queries),
        ground_truth=kept,
    )


def closed_set_accuracy(
    photos: TrainingSet,
    describer: Describer,
    head: MarginHead,
    *,
    on_error: Callable[[ImageError], None] = ignore_error,
) -> float:
    """Return the share of photos whose landmark the head names; NaN where there are no photos.

    Args:
        photos: Photos of the landmarks that the head knows.
        describer: Gives the descriptors that the head classifies.
        head: The margin head, whole, on any device.
        on_error: Called with each photo that cannot be read; it does not count.
    """
    everything = np.arange(len(photos))
    described, places = describe_rows(photos, everything, describer, on_error=on_error)
    if len(described) == 0:
        return float("nan")
    vectors: Float32Array = described.vectors
    answers = head.classify(torch.from_numpy(vectors.copy()).to(head.weight.device)).cpu().numpy()
    return float(np.mean(answers == photos.classes[places]))
