"""Whitening runs: photos -> descriptors -> a whitening fitted on them."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.datasets.base import Dataset, load_dataset
from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.errors import ImageError, InputError
from meisho.ground_truth import GradedGroundTruth
from meisho.photo_folder import PhotoFolder, find_photos
from meisho.progress import Progress, silent
from meisho.run.summary import SkippedPhoto, skipped_place
from meisho.whitening import (
    Whitening,
    check_whitening_dim,
    fit_learned_whitening,
    fit_pca_whitening,
    whitening_doubts,
)


@dataclass(frozen=True)
class WhiteningOptions:
    """How a whitening is fitted.

    Attributes:
        learned: Fit on pairs of photos of the same label instead of by PCA.
        dim: Dimensions that are kept; None keeps all.
        shrinkage: See `meisho.whitening`; None: its default for PCA or for a learned one.
    """

    learned: bool = False
    dim: int | None = None
    shrinkage: float | None = None


@dataclass(frozen=True)
class FittedWhitening:
    """What came of a run.

    Attributes:
        whitening: The whitening.
        skipped: The photos that cannot be read.
        doubts: Ways in which it may harm retrieval, in words.
    """

    whitening: Whitening
    skipped: tuple[SkippedPhoto, ...]
    doubts: tuple[str, ...]


def fit_whitening(
    source: Path, describer: Describer, options: WhiteningOptions, *, progress: Progress = silent
) -> FittedWhitening:
    """Describe photos, and fit a whitening on their descriptors.

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
    check_whitening_dim(options.dim, len(folder.photos), describer.dim)  # before the photos are described
    errors: list[ImageError] = []
    descriptors = describer.describe(folder.photos, progress=progress, on_error=errors.append)
    id_of = {photo.path: photo.id for photo in folder.photos}
    skipped = [skipped_place(problem, folder) for problem in folder.problems]
    skipped += [SkippedPhoto(id_of[error.path], error.reason) for error in errors]
    doubts = whitening_doubts(len(descriptors), descriptors.dim, **asdict(options))
    if dataset is None:
        whitening = fit_pca_whitening(descriptors, dim=options.dim, shrinkage=options.shrinkage)
    else:
        pairs = _pairs(dataset, descriptors)
        whitening = fit_learned_whitening(descriptors, *pairs, dim=options.dim, shrinkage=options.shrinkage)
    return FittedWhitening(whitening, tuple(skipped), doubts)


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
