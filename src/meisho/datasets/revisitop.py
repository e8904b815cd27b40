"""Revisited Oxford and Paris [Radenović et al. 2018, arXiv:1803.11285], from the benchmark's own files.

The layout is that of the authors' code (and of the archives that repeat it)::

    ROOT/gnd_roxford5k.pkl          or  ROOT/roxford5k/gnd_roxford5k.pkl
    ROOT/jpg/all_souls_000013.jpg   or  ROOT/roxford5k/jpg/all_souls_000013.jpg

Queries are cropped to their box. They are not among the database photos, but lie in the same folder.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from meisho.datasets.base import Dataset
from meisho.datasets.photo_files import photo_name
from meisho.datasets.safe_pickle import load_plain_pickle
from meisho.documents import one_line, shorten
from meisho.errors import ConfigError, DatasetError
from meisho.ground_truth import GradedGroundTruth, database_rows
from meisho.photos import Box, Photo

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class RevisitedBenchmark:
    """A ground truth of the revisited benchmarks, without its photos.

    Attributes:
        database_ids: N names without ".jpg", in the order of database rows.
        query_ids: Q names without ".jpg".
        boxes: Q boxes, px of the upright photo, that the queries are cropped to.
        ground_truth: Easy, hard and junk rows per query, with the sha256 of the pickle.
    """

    database_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    boxes: tuple[Box, ...]
    ground_truth: GradedGroundTruth


def load_roxford5k(root: Path) -> Dataset:
    """Load ROxford: 70 queries, 4,993 database photos. The photos need not be there yet.

    Raises:
        DatasetError: `gnd_roxford5k.pkl` is not below `root`, or is not such a ground truth.
    """
    return _load("roxford5k", root)


def load_rparis6k(root: Path) -> Dataset:
    """Load RParis: 70 queries, 6,322 database photos. The photos need not be there yet.

    Raises:
        DatasetError: `gnd_rparis6k.pkl` is not below `root`, or is not such a ground truth.
    """
    return _load("rparis6k", root)


def load_ground_truth(path: Path) -> RevisitedBenchmark:
    """Read a ground-truth pickle of the revisited benchmarks; only plain values are read from it.

    Raises:
        DatasetError: It cannot be read, asks for code, or is not such a ground truth.
    """
    content, raw = load_plain_pickle(path)
    try:
        return _benchmark(content, hashlib.sha256(raw).hexdigest())
    except (LookupError, ArithmeticError, TypeError, ValueError, ConfigError, DatasetError) as error:
        raise DatasetError(
            f"{path}: is not a ground truth with imlist, qimlist and gnd "
            f"({type(error).__name__}: {one_line(error)}); take it again from its publisher"
        ) from error


def _load(name: str, root: Path) -> Dataset:
    folder = _find_folder(name, root)
    benchmark = load_ground_truth(folder / f"gnd_{name}.pkl")
    photos = folder / "jpg"
    return Dataset(
        name,
        root,
        tuple(Photo(i, photos / f"{i}.jpg") for i in benchmark.database_ids),
        tuple(
            Photo(i, photos / f"{i}.jpg", box)
            for i, box in zip(benchmark.query_ids, benchmark.boxes, strict=True)
        ),
        benchmark.ground_truth,
        protocol="revisitop",
    )


def _find_folder(name: str, root: Path) -> Path:
    for folder in (root, root / name, root / "data" / "datasets" / name):
        if (folder / f"gnd_{name}.pkl").is_file():
            return folder
    raise DatasetError(
        f"{root}: holds neither gnd_{name}.pkl nor {name}/gnd_{name}.pkl; put the benchmark's ground truth "
        "there and its photos into the folder jpg beside it"
    )


def _benchmark(content: object, sha256: str) -> RevisitedBenchmark:
    database_ids = _list_of(_entry(content, "imlist"), photo_name)
    query_ids = _list_of(_entry(content, "qimlist"), photo_name)
    answers = _list_of(_entry(content, "gnd"), lambda answer: answer)
    if len(answers) != len(query_ids):
        raise ValueError(f"{len(query_ids)} queries but {len(answers)} answers")
    rows = {
        part: database_rows(
            _list_of(_entry(answer, part), lambda row: _row(row, len(database_ids))) for answer in answers
        )
        for part in ("easy", "hard", "junk")
    }
    boxes = [Box(*_list_of(_entry(answer, "bbx"), _number)) for answer in answers]
    return RevisitedBenchmark(
        tuple(database_ids), tuple(query_ids), tuple(boxes), GradedGroundTruth(**rows, sha256=sha256)
    )


def _entry(mapping: object, key: str) -> object:
    if not isinstance(mapping, dict):
        raise TypeError(f"{key!r} is looked for in a {type(mapping).__name__}")
    return mapping[key]


def _list_of(values: object, read: Callable[[object], T]) -> list[T]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"a {type(values).__name__} stands for a list")
    return [read(value) for value in values]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{shorten(value)} is not a number")
    return float(value)


def _row(value: object, num_database: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < num_database:
        raise ValueError(f"{shorten(value)} is not a row of the {num_database} database photos")
    return value
