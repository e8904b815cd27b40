"""Training data: labelled photos -> what is trained on, and the landmarks that are held out to validate."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import BoolArray, Int64Array, read_only
from meisho.datasets.base import Dataset, load_dataset
from meisho.datasets.labelled import LabelledPhoto, dataset_of_labels
from meisho.datasets.labels import TABLES, Labels, Layout, is_labelled, load_labels
from meisho.datasets.photo_files import list_errors
from meisho.errors import DatasetError, ImageError
from meisho.ground_truth import GradedGroundTruth
from meisho.photos import Photo
from meisho.tables import say_nearest
from meisho.training.recipe import Recipe
from meisho.training.recipe_tables import DataRecipe, ValidationRecipe


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """N photos of C landmarks.

    Attributes:
        source: Where they come from.
        rows: (N,) int64, rows of `source`.
        classes: (N,) int64, which landmark each shows, from 0 to C - 1.
        landmarks: C names.
    """

    source: Labels
    rows: Int64Array
    classes: Int64Array
    landmarks: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", read_only(self.rows, np.int64))
        object.__setattr__(self, "classes", read_only(self.classes, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def photo(self, row: int) -> Photo:
        """Return one photo."""
        return Photo(self.source.names[self.rows[row]], self.source.path_of(int(self.rows[row])))

    def photos(self) -> list[Photo]:
        """Return all photos."""
        return [self.photo(row) for row in range(len(self))]

    @property
    def sizes(self) -> Int64Array:
        """(C,) int64: photos of each landmark."""
        return np.bincount(self.classes, minlength=len(self.landmarks))

    def digest(self) -> str:
        """Return the SHA-256 of every photo's name, landmark and size in bytes: what was trained on.

        Not of the pixels: reading the ends of 1.58 million files alone takes minutes at each start.

        Raises:
            DatasetError: Photos are not there.
        """
        digest = hashlib.sha256()
        for row, (photo, status) in enumerate(_look_at(map(self.photo, range(len(self))))):
            line = f"{photo.id}\t{self.landmarks[self.classes[row]]}\t{status.st_size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run learns from and is measured on.

    Attributes:
        train: Photos to learn from.
        accuracy: Other photos of the same landmarks, for the closed-set accuracy; may be empty.
        validation: Queries and database of landmarks that `train` does not have; None where none are.
        too_few: Photos of landmarks that have fewer than `data.min_photos`; they are not used.
    """

    train: TrainingSet
    accuracy: TrainingSet
    validation: Dataset | None
    too_few: TrainingSet

    @property
    def num_photos(self) -> int:
        """Photos that are learned from or measured on."""
        measured = () if self.validation is None else (*self.validation.database, *self.validation.queries)
        return len(self.train) + len(self.accuracy) + len({photo.path for photo in measured})


def load_training_data(
    recipe: Recipe, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> TrainingData:
    """Load the photos of a recipe and hold out what validates.

    Args:
        recipe: What to load.
        progress: Called while a toy city is drawn, with the number of photos done and their total.

    Raises:
        DatasetError: The data are not as they must be, too few landmarks would be left or held out, or the
            data set that validates has photos that are trained on.
    """
    everything, too_few = _known_landmarks(load_source(recipe.data, progress), recipe.data.min_photos)
    rng = np.random.default_rng([recipe.seed, 1])
    validation = recipe.validation
    dataset: Dataset | None
    if validation.dataset != "none" and validation.root is not None:
        dataset = load_dataset(validation.dataset, validation.root)
        held_out = np.zeros(len(everything.landmarks), bool)
    else:
        held_out = _choose_landmarks(everything, validation, rng)
        dataset = _validation_dataset(everything, held_out, validation.max_queries, rng)
    kept = _select(everything, ~held_out[everything.classes])
    if len(kept.landmarks) < 2:
        raise DatasetError(
            f"{recipe.data.root}: {len(kept.landmarks)} landmarks are left to train on, 2 are needed; "
            "hold out fewer (validation.share) or lower data.min_photos"
        )
    if dataset is not None and not held_out.any():
        _check_apart(kept, dataset)
    is_accuracy = _choose_accuracy_photos(kept, validation.accuracy_photos, rng)
    train, accuracy = (
        TrainingSet(kept.source, kept.rows[mask], kept.classes[mask], kept.landmarks)
        for mask in (~is_accuracy, is_accuracy)
    )
    return TrainingData(train, accuracy, dataset, too_few)


def digest_dataset(dataset: Dataset) -> str:
    """Return the SHA-256 of every photo's id, size in bytes and box, of the right answers and of the junk.

    Raises:
        DatasetError: Photos are not there.
    """
    digest = hashlib.sha256(dataset.protocol.encode())
    for photo, status in _look_at((*dataset.database, *dataset.queries)):
        line = f"{photo.id}\t{status.st_size}\t{photo.box}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    truth = dataset.ground_truth
    truth = truth.at("medium") if isinstance(truth, GradedGroundTruth) else truth
    for rows in (*truth.positives, *truth.junk):
        digest.update(f"{rows.tolist()}\n".encode())
    return digest.hexdigest()


def _check_apart(photos: TrainingSet, dataset: Dataset) -> None:
    """Refuse a data set that has files of the training data, by whatever path: its mAP would only rise."""
    looked_at = _look_at((*dataset.database, *dataset.queries))
    files = {_identity(status): photo for photo, status in looked_at}
    identities = (_identity(status) for _, status in _look_at(photos.photos()))
    shared = [files[identity] for identity in identities if identity in files]
    if shared:
        raise DatasetError(
            f"validation.root: {len(shared)} of {len(files)} photos are trained on, such as "
            f"{shared[0].path}; take them out of one of the two"
        )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # size and time too: there are network drives whose inodes are not unique
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _look_at(photos: Iterable[Photo]) -> Iterator[tuple[Photo, os.stat_result]]:
    """Yield each photo that is there with its file's status.

    Raises:
        DatasetError: Some were not, after the last; the message counts them and names the first.
    """
    missing: dict[Path, ImageError] = {}
    for photo in photos:
        try:
            status = photo.path.stat()
        except OSError as error:
            missing[photo.path] = ImageError(photo.path, error.strerror or str(error))
        else:
            yield photo, status
    if missing:
        count = "1 photo" if len(missing) == 1 else f"{len(missing):,} photos"
        raise DatasetError(
            f"{count} cannot be read; put back what is missing, or take it out of the data set:"
            f"{list_errors(list(missing.values()))}"
        )


def load_source(
    recipe: DataRecipe, progress: Callable[[int, int], None] = lambda done, total: None
) -> Labels:
    """Read the labels; a toy city that is not there is drawn first, which `progress` is told of.

    Raises:
        DatasetError: They cannot be read.
    """
    if is_labelled(recipe.dataset):
        return load_labels(recipe.dataset, recipe.root)
    if recipe.dataset != "toycity":
        known = ("folder", "csv", "toycity", *TABLES)
        raise DatasetError(f"data.dataset={recipe.dataset!r}: {say_nearest(recipe.dataset, known)}")
    from meisho.toycity import Variety, build_toycity, landmark_labels, load_toycity  # brings OpenCV

    city = recipe.city
    build_toycity(
        recipe.root,
        landmarks=city.landmarks,
        views=city.views,
        distractors=city.distractors,
        seed=city.seed,
        variety=Variety(city.kinds, city.faults, city.renderings, city.seasons),
        progress=progress,
    )
    dataset = load_toycity(recipe.root)
    shown = {"database": dataset.database, "query": dataset.queries}
    names: list[str] = []
    classes: list[int] = []
    for role, photos in shown.items():
        for photo, landmark in zip(photos, landmark_labels(recipe.root, role), strict=True):
            if landmark >= 0:
                names.append(photo.path.relative_to(recipe.root).as_posix())
                classes.append(int(landmark))
    landmarks = tuple(str(number) for number in range(max(classes) + 1))
    return Labels(
        recipe.root, recipe.root, Layout("file", "label"), tuple(names), np.array(classes), landmarks
    )


def _known_landmarks(labels: Labels, min_photos: int) -> tuple[TrainingSet, TrainingSet]:
    """Part the photos that show a landmark by whether it has enough of them."""
    roles = np.array(labels.roles or [""] * len(labels))
    usable = ~np.isin(roles, ("junk", "distractor"))
    counts = np.bincount(labels.classes[usable], minlength=len(labels.class_names))
    whole = TrainingSet(labels, np.arange(len(labels)), labels.classes, labels.class_names)
    enough = counts[labels.classes] >= min_photos
    return _select(whole, usable & enough), _select(whole, usable & ~enough)


def _select(photos: TrainingSet, mask: BoolArray) -> TrainingSet:
    """Keep some photos, and the landmarks that they show, in alphabetical order."""
    present = np.unique(photos.classes[mask])
    names = np.array(photos.landmarks)[present]
    order = np.argsort(names, kind="stable")
    number = np.full(len(photos.landmarks), -1)
    number[present[order]] = np.arange(len(present))
    return TrainingSet(
        photos.source, photos.rows[mask], number[photos.classes[mask]], tuple(map(str, names[order]))
    )


def _choose_landmarks(photos: TrainingSet, recipe: ValidationRecipe, rng: np.random.Generator) -> BoolArray:
    held_out = np.zeros(len(photos.landmarks), bool)
    if recipe.landmark_names:
        unknown = sorted(set(recipe.landmark_names) - set(photos.landmarks))
        if unknown:
            raise DatasetError(
                f"validation.landmark_names: {unknown[0]!r} is no landmark of the training data"
            )
        held_out[np.isin(photos.landmarks, recipe.landmark_names)] = True
    elif recipe.share > 0:
        askable = np.flatnonzero(photos.sizes > 1)
        count = min(len(askable), max(2, round(recipe.share * len(photos.landmarks))))
        held_out[rng.choice(askable, count, replace=False)] = True
    if np.count_nonzero(held_out) == 1:
        raise DatasetError(
            "validation: 1 landmark is held out, 2 are needed, for among its own photos every answer is "
            "right; name more in validation.landmark_names, or hold out none (validation.share=0)"
        )
    return held_out


def _validation_dataset(
    photos: TrainingSet, held_out: BoolArray, max_queries: int, rng: np.random.Generator
) -> Dataset | None:
    rows = np.flatnonzero(held_out[photos.classes])
    if len(rows) == 0:
        return None
    askable = rows[photos.sizes[photos.classes[rows]] > 1]
    asked = set(rng.permutation(askable)[:max_queries].tolist())
    labelled: Sequence[LabelledPhoto] = [
        LabelledPhoto(
            photos.photo(row), photos.landmarks[photos.classes[row]], "both" if row in asked else "database"
        )
        for row in rows.tolist()
    ]
    return dataset_of_labels("landmarks held out", photos.source.source, labelled)


def _choose_accuracy_photos(photos: TrainingSet, count: int, rng: np.random.Generator) -> BoolArray:
    chosen = np.zeros(len(photos), bool)
    if count == 0:
        return chosen
    order = rng.permutation(len(photos))
    order = order[np.argsort(photos.classes[order], kind="stable")]
    starts = np.cumsum(photos.sizes) - photos.sizes
    place = np.arange(len(photos)) - starts[photos.classes[order]]  # of a photo within its landmark
    enough = photos.sizes[photos.classes[order]] >= count + 2
    chosen[order[(place < count) & enough]] = True
    return chosen
