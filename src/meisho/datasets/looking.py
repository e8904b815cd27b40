"""Looking: a few landmarks of a data set with some of their photos, drawn at random, to be looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.datasets.base import load_dataset
from meisho.datasets.labels import Labels, is_labelled, load_labels
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.photos import Photo
from meisho.texts import count


@dataclass(frozen=True)
class LandmarkSample:
    """Some photos of one landmark.

    Attributes:
        title: Its label, or the id of the query.
        note: How many photos it has, in words.
        photos: Some of them, in the order of the data set.
        query: The query that they answer, or None.
        more: How many photos of it are not among these.
    """

    title: str
    note: str
    photos: tuple[Photo, ...]
    query: Photo | None = None
    more: int = 0


@dataclass(frozen=True)
class DatasetSample:
    """What is looked at of a data set.

    Attributes:
        name: Its name.
        about: How much of it this is, in words.
        landmarks: Some of its landmarks.
    """

    name: str
    about: str
    landmarks: tuple[LandmarkSample, ...]


def sample_dataset(name: str, root: Path, *, landmarks: int, photos: int, seed: int = 0) -> DatasetSample:
    """Draw landmarks of a data set, and photos of each; the same seed draws the same.

    Of labelled photos classes are drawn; of any other data set queries, with their right answers.

    Args:
        name: A set of labelled photos, or any data set.
        root: Its folder, or its table.
        landmarks: How many landmarks, or all where there are fewer.
        photos: How many photos of each, the query among them.
        seed: Seed of the draw.

    Raises:
        DatasetError: It cannot be read.
    """
    rng = np.random.default_rng(seed)
    if is_labelled(name):
        return _sample_labels(name, load_labels(name, root), landmarks, photos, rng)
    dataset = load_dataset(name, root)
    truth = dataset.ground_truth
    at = truth.at("medium") if isinstance(truth, GradedGroundTruth) else truth
    drawn = _draw(len(dataset.queries), landmarks, rng)
    found = tuple(_of_query(dataset.queries[q], dataset.database, at, q, photos, rng) for q in drawn.tolist())
    about = (
        f"{len(drawn)} of {count(len(dataset.queries), 'query')}, each with right answers among "
        f"{count(len(dataset.database), 'photo')}"
    )
    return DatasetSample(dataset.name, about, found)


def _of_query(
    query: Photo,
    database: tuple[Photo, ...],
    truth: GroundTruth,
    row: int,
    photos: int,
    rng: np.random.Generator,
) -> LandmarkSample:
    positives, num_junk = truth.positives[row], len(truth.junk[row])
    shown = positives[_draw(len(positives), photos - 1, rng)].tolist()
    not_counted = f"; {num_junk:,} that {'does' if num_junk == 1 else 'do'} not count" if num_junk else ""
    note = f"{count(len(positives), 'right answer')}{not_counted}"
    chosen = tuple(database[photo] for photo in shown)
    return LandmarkSample(query.id, note, chosen, query, len(positives) - len(shown))


def _sample_labels(
    name: str, labels: Labels, landmarks: int, photos: int, rng: np.random.Generator
) -> DatasetSample:
    counts = labels.counts
    classes = np.flatnonzero(counts)
    drawn = classes[_draw(len(classes), landmarks, rng)].tolist()
    found = tuple(_of_class(labels, each, photos, rng) for each in drawn)
    about = f"{len(drawn)} of {count(len(classes), 'class')} with {count(len(labels), 'photo')}"
    title = name if name not in ("folder", "csv") else labels.source.resolve().name
    return DatasetSample(title, about, found)


def _of_class(labels: Labels, number: int, photos: int, rng: np.random.Generator) -> LandmarkSample:
    rows = np.flatnonzero(labels.classes == number)
    chosen = tuple(_photos(labels, rows[_draw(len(rows), photos, rng)].tolist()))
    note = count(len(rows), "photo")
    return LandmarkSample(labels.class_names[number], note, chosen, None, len(rows) - len(chosen))


def _photos(labels: Labels, rows: list[int]) -> Iterator[Photo]:
    for row in rows:
        yield Photo(labels.names[row], labels.path_of(row))


def _draw(total: int, wanted: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return `wanted` of 0 to total - 1, or all of them, ascending."""
    return np.sort(rng.permutation(total)[:wanted])
