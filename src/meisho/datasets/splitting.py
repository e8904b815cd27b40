"""Splits of labelled photos into what a model learns from and what chooses among models.

Three kinds, `KINDS`:

- "image", the chapter's: one photo of every class is for validation, the others for training. The classes of
  validation are those of training, so that it measures how well they were learned by heart. The chapter drew
  with pandas' `random_state=1`; this draws with the same meaning, one photo of each class by chance, from a
  generator of its own, so its choice is another one.
- "landmark", the honest one: whole classes are for validation, as queries and a database, and none of their
  photos are for training. What is measured is retrieval of things never seen.
- "none": everything is for training, such as GLDv2-clean without the landmarks of a benchmark's queries.

Whatever the kind, the landmarks of a list can be left out altogether: those of Google Landmarks that the
queries of ROxford and RParis show must not be trained on when these benchmarks are reported. No such list is
published with the data sets, so it is a file of yours.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import BoolArray, Int64Array, read_only
from meisho.datasets.labels import Labels
from meisho.errors import DatasetError, InputError
from meisho.files import replacing
from meisho.outputs import PHOTO_TABLE, SPLIT, check_output
from meisho.tables import require_name
from meisho.texts import is_unicode, printable

Kind = Literal["image", "landmark", "none"]
KINDS: tuple[Kind, ...] = ("image", "landmark", "none")

DEFAULT_SHARE = 0.1
"""Share of the classes that "landmark" takes for validation when no number is given."""

MOST_LANDMARKS = 1_000
"""But not more than these."""

_ROWS_AT_ONCE = 100_000
_NEEDS_QUOTES = re.compile(r'[",;\t\r\n]|^\s|\s$').search


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of labels for training and for validation, checked not to overlap.

    Attributes:
        labels: What was split.
        kind: How; one of `KINDS`.
        seed: Seed of the draw.
        train: (T,) int64, ascending rows of `labels`.
        queries: (Q,) int64, ascending; with "image" all of the validation photos.
        database: (D,) int64, ascending; empty but with "landmark".
        left_out: Photos that are in neither: of landmarks that were left out, or of too few photos.
        num_unknown: Landmarks of the list that the labels do not have.

    Raises:
        DatasetError: A photo is in two parts, there is no photo to train on, or, with "landmark", a class has
            photos for training and for validation.
    """

    labels: Labels
    kind: Kind
    seed: int
    train: Int64Array
    queries: Int64Array
    database: Int64Array
    left_out: int = 0
    num_unknown: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "queries", "database"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.int64))
        source = self.labels.source
        if not len(self.train):
            raise DatasetError(f"{source}: no photo is left to train on; leave fewer landmarks out")
        taken = np.concatenate([self.train, self.queries, self.database])
        if np.bincount(taken).max() > 1:
            raise DatasetError(f"{source}: a photo is in two parts of the split")
        shared = np.flatnonzero(self._has_class(self.train) & self._has_class(self.validation))
        if self.kind == "landmark" and len(shared):
            first = self.labels.class_names[shared[0]]
            raise DatasetError(f"{source}: {len(shared)} classes, such as {first!r}, are in both parts")

    @property
    def validation(self) -> Int64Array:
        """(Q + D,) rows for validation, ascending."""
        return np.sort(np.concatenate([self.queries, self.database]))

    @property
    def num_train_classes(self) -> int:
        """How many classes have photos for training."""
        return int(self._has_class(self.train).sum())

    @property
    def num_validation_classes(self) -> int:
        """How many classes have photos for validation."""
        return int(self._has_class(self.validation).sum())

    @property
    def num_untrained(self) -> int:
        """How many classes of validation have no photo for training: all of them with "landmark"."""
        return int((self._has_class(self.validation) & ~self._has_class(self.train)).sum())

    def _has_class(self, rows: Int64Array) -> BoolArray:
        """Return (C,) which classes some of the rows show."""
        shown = np.zeros(len(self.labels.class_names), np.bool_)
        shown[self.labels.classes[rows]] = True
        return shown


def parse_kind(name: str) -> Kind:
    """Return the kind of split that a user named.

    Raises:
        ConfigError: There is none of this name.
    """
    require_name(name, KINDS, what="split")
    return next(kind for kind in KINDS if kind == name)


def split_labels(
    labels: Labels,
    kind: Kind,
    *,
    seed: int = 1,
    without: frozenset[str] = frozenset(),
    min_photos: int = 1,
    landmarks: int | None = None,
    queries_per_landmark: int = 1,
) -> Split:
    """Split labelled photos; the same arguments give the same split.

    Args:
        labels: What the photos show.
        kind: See above.
        seed: Seed of the draw; the chapter's is 1.
        without: Names of classes that are left out.
        min_photos: Classes with fewer photos are left out.
        landmarks: Classes that "landmark" holds out, drawn among those that have enough
            photos for its queries and one answer; None: a tenth of all, at most 1,000.
        queries_per_landmark: Photos of each of them that ask.

    Raises:
        DatasetError: No photo is left to train on, or there are too few classes.
        InputError: An option cannot be, or none of the landmarks to leave out is there.
    """
    parse_kind(kind)
    if min_photos < 1 or queries_per_landmark < 1 or (landmarks is not None and landmarks < 1):
        raise InputError("a split's numbers of photos, queries and landmarks must be 1 or more")
    kept = _kept_classes(labels, without, min_photos)
    rows = np.flatnonzero(kept[labels.classes])
    rng = np.random.default_rng(seed)
    queries = database = np.empty(0, np.int64)
    if kind == "image":
        queries = _draw_per_class(labels.classes, rows, 1, rng)
    elif kind == "landmark":
        chosen = _choose_classes(labels, kept, landmarks, queries_per_landmark, rng)
        validation = rows[chosen[labels.classes[rows]]]
        queries = _draw_per_class(labels.classes, validation, queries_per_landmark, rng)
        database = np.setdiff1d(validation, queries, assume_unique=True)
    taken = np.zeros(len(labels), np.bool_)
    taken[queries] = taken[database] = True
    return Split(
        labels,
        kind,
        seed,
        train=rows[~taken[rows]],
        queries=queries,
        database=database,
        left_out=len(labels) - len(rows),
        num_unknown=len(without - {*labels.class_names}) if without else 0,
    )


def _kept_classes(labels: Labels, without: frozenset[str], min_photos: int) -> BoolArray:
    """Return (C,) which classes take part."""
    unwanted = np.array([name in without for name in labels.class_names], np.bool_)
    if without and not unwanted.any():
        raise InputError(
            f"{labels.source}: none of the {len(without)} landmarks to leave out is there; is it the list of "
            "another data set?"
        )
    kept: BoolArray = ~unwanted & (labels.counts >= min_photos)
    return kept


def _choose_classes(
    labels: Labels, kept: BoolArray, landmarks: int | None, num_queries: int, rng: np.random.Generator
) -> BoolArray:
    """Return (C,) which classes are for validation."""
    able = np.flatnonzero(kept & (labels.counts > num_queries))
    if landmarks is None:
        landmarks = min(max(1, round(DEFAULT_SHARE * int(kept.sum()))), MOST_LANDMARKS)
    if landmarks > len(able):
        raise DatasetError(
            f"{labels.source}: {landmarks} landmarks are wanted for validation, but only {len(able)} have "
            f"more than {num_queries} photos; choose fewer landmarks or queries"
        )
    chosen = np.zeros(len(kept), np.bool_)
    chosen[rng.choice(able, landmarks, replace=False)] = True
    return chosen


def _draw_per_class(
    classes: Int64Array, rows: Int64Array, number: int, rng: np.random.Generator
) -> Int64Array:
    """Draw `number` of the (R,) `rows` of each class, or all where there are fewer; ascending."""
    shuffled = rng.permutation(rows)
    grouped = shuffled[np.argsort(classes[shuffled], kind="stable")]
    sizes = np.bincount(classes[rows])
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)  # of the class of each, where it stands grouped
    drawn: Int64Array = np.sort(grouped[np.arange(len(grouped)) - starts < number])
    return drawn


def number_classes(split: Split) -> Int64Array:
    """Number the classes for training: (C,) int64, -1 where a class takes no part.

    Numbers count from 0 in order of first appearance, as the chapter factorises them. With "landmark" the
    classes of training come first, so that a classifier has no empty places.
    """
    classes = split.labels.classes
    parts = [split.train, split.validation] if split.kind == "landmark" else []
    parts = parts or [np.sort(np.concatenate([split.train, split.validation]))]
    numbers = np.full(len(split.labels.class_names), -1, np.int64)
    count = 0
    for rows in parts:
        first = np.full(len(numbers), len(classes))
        first[classes[rows[::-1]]] = rows[::-1]  # the last that is written stays: the first row
        met = np.argsort(first, kind="stable")[: int((first < len(classes)).sum())]
        numbers[met] = np.arange(count, count + len(met))
        count += len(met)
    return numbers


def list_files(
    kind: Kind, folder: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()
) -> tuple[Path, ...]:
    """Return the files that `write_split` writes into a folder.

    Raises:
        InputError: One is there already, and must not be replaced: it is one of the inputs, or of no split.
    """
    inputs = tuple(inputs)
    names = ("train.csv", "split.json") if kind == "none" else ("train.csv", "val.csv", "split.json")
    paths = tuple(folder / name for name in names)
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: is there already; choose another folder, or add --overwrite")
        check_output(path, SPLIT if path.suffix == ".json" else PHOTO_TABLE, inputs=inputs)
    return paths


def write_split(split: Split, folder: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write `train.csv`, `val.csv` (unless the kind is "none") and `split.json`, which says how it was made.

    The tables have the columns `file,label,landmark`, and with "landmark" `role`: paths relative to the
    folder, the number of the class, its name. `meisho evaluate csv` and `meisho train` read them.

    Args:
        split: The split.
        folder: Made if missing.
        overwrite: Replace what is there.

    Returns:
        The files.

    Raises:
        InputError: A file is there already, or would replace the table that was split.
        DatasetError: A name is not UTF-8 text.
    """
    paths = list_files(split.kind, folder, overwrite=overwrite, inputs=[split.labels.source])
    _refuse_names_without_text(split.labels)
    cells = _label_cells(split)
    roles = np.full(len(split.labels), "database", "U8")
    roles[split.queries] = "query"
    with ExitStack() as stack:  # it leaves in reverse: split.json is renamed last
        parts = [stack.enter_context(replacing(path)) for path in reversed(paths)][::-1]
        _write_table(parts[0], split, split.train, cells)
        if split.kind != "none":
            shown = roles if split.kind == "landmark" else None
            _write_table(parts[1], split, split.validation, cells, shown)
        parts[-1].write_text(json.dumps(_describe(split), indent=2) + "\n", encoding="utf-8")
    return paths


def _refuse_names_without_text(labels: Labels) -> None:
    """Refuse names that a table, which is UTF-8 text, cannot hold.

    Raises:
        DatasetError: There is one.
    """
    for name in (*labels.class_names, *labels.names):
        if not is_unicode(name):
            raise DatasetError(
                f"{labels.root}: the name {printable(name)} is not UTF-8 text, and a table cannot hold it; "
                "rename the file or folder"
            )


def _write_table(
    path: Path, split: Split, rows: Int64Array, cells: Sequence[str], roles: NDArray[np.str_] | None = None
) -> None:
    labels = split.labels
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("file,label,landmark,role\n" if roles is not None else "file,label,landmark\n")
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            columns: list[Iterable[str]] = [_relative_paths(labels, some, path.parent)]
            columns.append(map(cells.__getitem__, labels.classes[some].tolist()))
            columns += [] if roles is None else [roles[some].tolist()]
            file.writelines(f"{','.join(row)}\n" for row in zip(*columns, strict=True))


def _relative_paths(labels: Labels, rows: Int64Array, folder: Path) -> Iterator[str]:
    """Yield the paths of photos as cells of a table in `folder`."""
    start = Path(os.path.relpath(labels.root.resolve(), folder.resolve())).as_posix()
    start = "" if start == "." else f"{start}/"
    path_of, names = labels.layout.path_of, labels.names
    is_plain = labels.layout.nested and _quoted(start) == start  # ids are letters and digits
    for row in rows.tolist():
        path = path_of(names[row])
        yield start + path if is_plain else _quoted(path if path.startswith("/") else start + path)


def _label_cells(split: Split) -> list[str]:
    """Return for each class what stands in its rows: its number and its name."""
    numbers = number_classes(split).tolist()
    return [
        f"{number},{_quoted(name)}" for number, name in zip(numbers, split.labels.class_names, strict=True)
    ]


def _quoted(cell: str) -> str:
    """Return a cell as the csv module writes it, at a fifth of its time where no quotes are needed."""
    if not _NEEDS_QUOTES(cell):
        return cell
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'


def _describe(split: Split) -> dict[str, object]:
    return {
        "source": split.labels.source.name,
        "source_sha256": split.labels.sha256,
        "kind": split.kind,
        "seed": split.seed,
        "train": {"photos": len(split.train), "classes": split.num_train_classes},
        "validation": {
            "queries": len(split.queries),
            "database": len(split.database),
            "classes": split.num_validation_classes,
        },
        "left_out": split.left_out,
    }
