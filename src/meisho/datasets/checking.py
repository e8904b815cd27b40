"""Check: whether a data set loads, and which of its photos are not there."""

from dataclasses import dataclass, field
from pathlib import Path

from meisho.datasets.base import load_dataset
from meisho.datasets.labels import TABLES, load_labels
from meisho.datasets.photo_files import missing_photos
from meisho.errors import DatasetError


@dataclass(frozen=True)
class LoadCheck:
    """What came of loading a data set.

    Attributes:
        name: The name that it was loaded by.
        error: Why it does not load; "" where it does.
        counts: What it holds, such as {"queries": 70, "database": 4993}; empty where it does not load.
        missing: Files of its photos that are not there.
    """

    name: str
    error: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    missing: tuple[Path, ...] = ()


def check_loading(name: str, root: Path) -> LoadCheck:
    """Load a data set and look for its photos.

    Args:
        name: One of `DATASETS`, or of `labels.TABLES`.
        root: Its folder, or its table.
    """
    try:
        return _check_labels(name, root) if name in TABLES else _check_dataset(name, root)
    except DatasetError as error:
        return LoadCheck(name, error=str(error))


def _check_dataset(name: str, root: Path) -> LoadCheck:
    dataset = load_dataset(name, root)
    counts = {"queries": len(dataset.queries), "database photos": len(dataset.database)}
    return LoadCheck(name, counts=counts, missing=tuple(photo.path for photo in missing_photos(dataset)))


def _check_labels(name: str, root: Path) -> LoadCheck:
    labels = load_labels(name, root)
    paths = map(labels.path_of, range(len(labels)))
    counts = {"photos": len(labels), "classes": len(labels.class_names)}
    return LoadCheck(name, counts=counts, missing=tuple(path for path in paths if not path.is_file()))
