"""Whitening runs: photos -> descriptors -> a whitening fitted on them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.datasets.base import Dataset, load_dataset
from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.errors import ImageError, InputError
from meisho.ground_truth import GradedGroundTruth
from meisho.photos import PhotoFolder, find_photos
from meisho.progress import Progress, silent
from meisho.run.summary import SkippedPhoto, skipped_place
from meisho.whitening import Whitening, fit_learned_whitening, fit_pca_whitening

LEARNED_SHRINKAGE = 10.0
"""The best of 0.1, 1 and 10 with a few hundred photos (docs/LOG.md); less needs far more pairs."""


@dataclass(frozen=True)
class WhiteningOptions:
    """How a whitening is fitted.

    Attributes:
        learned: Fit on pairs of photos of the same label instead of by PCA.
        dim: Dimensions that are kept; None keeps all.
        shrinkage: See `meisho.whitening`; None: 0 for PCA, `LEARNED_SHRINKAGE` for a learned one.
    """

    learned: bool = False
    dim: int | None = None
    shrinkage: float | None = None


def fit_whitening(
    source: Path, describer: Describer, options: WhiteningOptions, *, progress: Progress = silent
) -> tuple[Whitening, tuple[SkippedPhoto, ...]]:
    """Describe photos, fit a whitening on their descriptors, and say which photos cannot be read.

    Args:
        source: A folder of photos; for a learned whitening a labelled folder or a CSV, see `meisho.datasets`.
        describer: Describes the photos, without a whitening of its own.
        options: How to fit it.
        progress: Called as photos are done.

    Raises:
        InputError: There are too few photos or pairs.
    """
    dataset = load_dataset("csv" if source.is_file() else "folder", source) if options.learned else None
    folder = PhotoFolder(source, dataset.database) if dataset else find_photos(source)
    if not folder.photos:
        raise InputError(f"{source}: no photo found below it")
    errors: list[ImageError] = []
    descriptors = describer.describe(folder.photos, progress=progress, on_error=errors.append)
    id_of = {photo.path: photo.id for photo in folder.photos}
    skipped = [skipped_place(problem, folder) for problem in folder.problems]
    skipped += [SkippedPhoto(id_of[error.path], error.reason) for error in errors]
    if dataset is None:
        shrinkage = options.shrinkage or 0.0
        return fit_pca_whitening(descriptors, dim=options.dim, shrinkage=shrinkage), tuple(skipped)
    queries, positives = _pairs(dataset, descriptors)
    shrinkage = LEARNED_SHRINKAGE if options.shrinkage is None else options.shrinkage
    whitening = fit_learned_whitening(descriptors, queries, positives, dim=options.dim, shrinkage=shrinkage)
    return whitening, tuple(skipped)


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
