"""Oxford5k and Paris6k as first published [Philbin et al. 2007, 2008], before they were revisited.

Text files per query, as published, lie in `ROOT/gt` (or in `ROOT/paris_120310`, or in `ROOT` itself)::

    all_souls_1_query.txt    oxc1_all_souls_000013 136.5 34.1 648.5 955.7
    all_souls_1_good.txt     one photo name per line; so _ok.txt and _junk.txt

and the photos below `ROOT/jpg` (or anywhere below `ROOT`). Queries are cropped. As in the published
evaluation, the positives are good + ok, and the query's own photo, which the published lists name, stays a
positive.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from meisho.datasets.base import Dataset
from meisho.datasets.photo_files import photo_name, photos_below
from meisho.datasets.table import read_bytes
from meisho.documents import one_line
from meisho.errors import ConfigError, DatasetError
from meisho.ground_truth import GroundTruth, database_rows
from meisho.photos import Box, Photo

NUM_PHOTOS = {"oxford5k": 5063, "paris6k": 6392}
"""Database photos of the whole benchmarks, without the corrupt ones of Paris."""

CORRUPT_PARIS_PHOTOS = frozenset(
    f"paris_{name}"
    for name in (
        "louvre_000136",
        "louvre_000146",
        "moulinrouge_000422",
        "museedorsay_001059",
        "notredame_000188",
        "pantheon_000284",
        "pantheon_000960",
        "pantheon_000974",
        "pompidou_000195",
        "pompidou_000196",
        "pompidou_000201",
        "pompidou_000467",
        "pompidou_000640",
        "sacrecoeur_000299",
        "sacrecoeur_000330",
        "sacrecoeur_000353",
        "triomphe_000662",
        "triomphe_000833",
        "triomphe_000863",
        "triomphe_000867",
    )
)
"""Published files that hold no photo; the publisher lists them, and evaluations leave them out."""

_QUERY_PREFIX = "oxc1_"


@dataclass(frozen=True)
class _Query:
    id: str  # all_souls_1
    photo: str  # all_souls_000013
    box: Box
    positives: frozenset[str]
    junk: frozenset[str]


def load_oxford5k(root: Path) -> Dataset:
    """Load Oxford5k: 55 queries, 5,063 database photos where all are there.

    Raises:
        DatasetError: The ground-truth files are not below `root`, or are not as published.
    """
    return _load("oxford5k", root, leave_out=frozenset())


def load_paris6k(root: Path) -> Dataset:
    """Load Paris6k: 55 queries, 6,392 database photos where all are there; 20 corrupt ones are left out.

    Raises:
        DatasetError: The ground-truth files are not below `root`, or are not as published.
    """
    return _load("paris6k", root, leave_out=CORRUPT_PARIS_PHOTOS)


def _load(name: str, root: Path, *, leave_out: frozenset[str]) -> Dataset:
    files = _find_query_files(root)
    queries = [_read_query(file) for file in files]
    named = {photo for q in queries for photo in q.positives | q.junk | {q.photo}}
    for file, query in zip(files, queries, strict=True):
        if query.photo in leave_out:
            raise DatasetError(
                f"{file}:1: {query.photo!r} is a corrupt photo and cannot be a query; unpack again"
            )
    paths = _photo_paths(root, named - leave_out, leave_out=leave_out)
    rows = {photo: row for row, photo in enumerate(paths)}
    ground_truth = GroundTruth(
        database_rows([rows[i] for i in q.positives - leave_out] for q in queries),
        database_rows([rows[i] for i in q.junk - leave_out] for q in queries),
        _digest(files),
    )
    return Dataset(
        _name_with_count(name, len(paths)),
        root,
        tuple(Photo(photo, path) for photo, path in paths.items()),
        tuple(Photo(q.id, paths[q.photo], q.box) for q in queries),
        ground_truth,
        protocol="oxford5k",
    )


def _find_query_files(root: Path) -> list[Path]:
    for folder in (root / "gt", root / "paris_120310", root):
        files = sorted(folder.glob("*_query.txt"))
        if files:
            return files
    raise DatasetError(
        f"{root}: no *_query.txt in it or in its folder gt; unpack the published ground truth there"
    )


def _read_query(file: Path) -> _Query:
    words = _read_text(file).split()
    stem = file.name.removesuffix("_query.txt")
    try:
        name, *corners = words
        photo = photo_name(name.removeprefix(_QUERY_PREFIX))
        box = Box(*(float(corner) for corner in corners))
    except (ValueError, TypeError, ConfigError) as error:
        raise DatasetError(
            f"{file}:1: {' '.join(words)!r:.100} is not a photo name and a box x0 y0 x1 y1 "
            f"({one_line(error)}); unpack the published file again"
        ) from error
    good, ok, junk = (_read_names(file.with_name(f"{stem}_{part}.txt")) for part in ("good", "ok", "junk"))
    if (good | ok) & junk:
        raise DatasetError(f"{file}: {min((good | ok) & junk)!r} is right and junk at once; unpack it again")
    return _Query(stem, photo, box, good | ok, junk)


def _read_names(file: Path) -> frozenset[str]:
    names = set()
    for line, text in enumerate(_read_text(file).splitlines(), start=1):
        try:
            names |= {photo_name(text.strip())} if text.strip() else set()
        except ValueError as error:
            raise DatasetError(f"{file}:{line}: {error}; unpack the published file again") from error
    return frozenset(names)


def _read_text(file: Path) -> str:
    try:
        return read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: is not text; unpack the published ground truth again") from error


def _photo_paths(root: Path, named: set[str], *, leave_out: frozenset[str]) -> dict[str, Path]:
    folder = root / "jpg" if (root / "jpg").is_dir() else root
    found = {photo.path.stem: photo.path for photo in photos_below(folder, leave_out=leave_out)}
    named_paths = {name: root / "jpg" / f"{name}.jpg" for name in named}
    paths = named_paths | found  # a photo that the ground truth names has a row even while it is missing
    return dict(sorted(paths.items()))


def _name_with_count(name: str, num_photos: int) -> str:
    if num_photos == NUM_PHOTOS[name]:
        return name
    return f"{name} ({num_photos:,} of {NUM_PHOTOS[name]:,} photos)"  # its figures are not the benchmark's


def _digest(query_files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in query_files:
        stem = file.name.removesuffix("_query.txt")
        for part in ("query", "good", "ok", "junk"):
            digest.update(read_bytes(file.with_name(f"{stem}_{part}.txt")))
    return digest.hexdigest()
