"""Validation: how well the network's descriptors retrieve, scored as `meisho evaluate` scores."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from meisho.arrays import Float32Array
from meisho.datasets.base import Dataset
from meisho.descriptors import Descriptors
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.report import Report
from meisho.extraction import describe_photos
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.timm_gem import TimmGeM
from meisho.images import Box, Photo
from meisho.layers.margin_heads import MarginHead
from meisho.searching import search
from meisho.training.data import TrainingSet


def evaluate_descriptors(
    dataset: Dataset,
    extractor: GlobalExtractor,
    *,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Describe a data set, rank its database for each query, and score by its protocol.

    A photo that is query and database at once, with the same box, is described once. `progress` is called
    with how many photos are described, and how many there are.

    Raises:
        ImageError: A photo cannot be read.
    """
    photos = list(dict.fromkeys([*_places(dataset.database), *_places(dataset.queries)]))
    row_of = {place: row for row, place in enumerate(photos)}
    numbered = [Photo(str(row), path, box) for row, (path, box) in enumerate(photos)]
    described = describe_photos(
        numbered, extractor, batch_size=batch_size, num_workers=num_workers, progress=progress
    )
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
        provenance=extractor.provenance,
    )


def _places(photos: Sequence[Photo]) -> list[tuple[Path, Box | None]]:
    return [(photo.path, photo.box) for photo in photos]


def closed_set_accuracy(
    photos: TrainingSet,
    extractor: TimmGeM,
    head: MarginHead,
    *,
    batch_size: int = 16,
    num_workers: int | None = None,
) -> float:
    """Return the share of photos whose landmark the head names; NaN where there are no photos.

    Args:
        photos: Photos of the landmarks that the head knows.
        extractor: Gives the descriptors that the head classifies.
        head: The margin head, whole, on any device.
        batch_size: Photos per call of the extractor.
        num_workers: Processes that decode.
    """
    if len(photos) == 0:
        return float("nan")
    described = describe_photos(photos.photos(), extractor, batch_size=batch_size, num_workers=num_workers)
    vectors: Float32Array = described.vectors
    answers = head.classify(torch.from_numpy(vectors.copy()).to(head.weight.device)).cpu().numpy()
    return float(np.mean(answers == photos.classes))
