"""Google Landmarks v2 [Weyand et al. 2020, arXiv:2004.01804]: the retrieval set, and recognition truth.

The layout is that of the publisher's download script; the tables may also lie in `ROOT`, `ROOT/metadata` or
`ROOT/ground_truth`::

    ROOT/index/index.csv                       id
    ROOT/index/0/1/2/0123456789abcdef.jpg      what they call index images is the database here
    ROOT/test/retrieval_solution_v2.1.csv      id,images,Usage
    ROOT/test/recognition_solution_v2.1.csv    id,landmarks,Usage
    ROOT/test/f/e/d/fedcba9876543210.jpg

The solutions have versions with different answers: the newest one there is taken, and the data set is named
after it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meisho.datasets.base import Dataset
from meisho.datasets.table import BrokenRows, Row, Table, read_table
from meisho.errors import DatasetError
from meisho.ground_truth import GroundTruth, database_rows
from meisho.photos import Photo

_USAGES = ("public", "private", "ignored")
_FOLDERS = ("", "index", "test", "metadata", "ground_truth")
_ID = re.compile(r"[0-9A-Za-z]{3,64}")  # it becomes a path


@dataclass(frozen=True, eq=False)
class RetrievalSolution:
    """The right answers of the retrieval test set.

    Attributes:
        query_ids: Q ids of the queries that are scored; those marked "Ignored" are left out.
        ground_truth: Right database rows of each, and its group, "public" or "private".
        name: The file's name without ".csv": it says the version.
    """

    query_ids: tuple[str, ...]
    ground_truth: GroundTruth
    name: str


@dataclass(frozen=True)
class RecognitionSolution:
    """Which landmarks the Q photos of the recognition test set show.

    Attributes:
        query_ids: Q ids.
        landmarks: Q tuples of landmark numbers; () for a photo that shows no known landmark.
        groups: Q times "public" or "private".
        name: The file's name without ".csv": it says the version.
        sha256: Digest of the file.
    """

    query_ids: tuple[str, ...]
    landmarks: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]
    name: str
    sha256: str


def load_gldv2(root: Path) -> Dataset:
    """Load the retrieval set: 1,129 queries, 761,757 database photos. The photos need not be there yet.

    Queries that the solution marks "Ignored" are left out; `ground_truth.groups` says "public" or "private"
    for each of the others.

    Raises:
        DatasetError: A table is not below `root`, or has broken rows.
    """
    index = _find_table(root, "index")
    ids = _read_ids(index)
    solution = read_retrieval_solution(_find_table(root, "retrieval_solution_v*"), ids, place=index.name)
    return Dataset(
        f"gldv2 ({solution.name})",
        root,
        _photos(root / "index", ids),
        _photos(root / "test", solution.query_ids),
        solution.ground_truth,
        protocol="gldv2",
    )


def read_retrieval_solution(path: Path, database_ids: Sequence[str], *, place: str) -> RetrievalSolution:
    """Read `retrieval_solution_v*.csv`: id,images,Usage.

    Args:
        path: The file.
        database_ids: (N,) ids of the database photos, in order of rows.
        place: The folder that those are from, for the message about an answer that is not among them.

    Raises:
        DatasetError: It cannot be read, or has broken rows.
    """
    table = read_table(path, required=("id", "images", "usage"))
    scored = _scored_rows(table)
    if not scored:
        raise DatasetError(f"{path}: has no query that is scored; download it again from the publisher")
    return RetrievalSolution(
        tuple(row["id"] for row in scored),
        GroundTruth(
            database_rows(_positive_rows(table, scored, database_ids, place)),
            database_rows([] for _ in scored),
            table.sha256,
            groups=tuple(row["usage"].lower() for row in scored),
        ),
        path.stem,
    )


def load_recognition_solution(path: Path) -> RecognitionSolution:
    """Read `recognition_solution_v*.csv`; photos marked "Ignored" are left out.

    Raises:
        DatasetError: It cannot be read, or has broken rows.
    """
    table = read_table(path, required=("id", "landmarks", "usage"))
    scored = _scored_rows(table)
    broken = BrokenRows(path)
    for row in scored:
        if not all(re.fullmatch("[0-9]{1,18}", word) for word in row["landmarks"].split()):
            broken.add(row.line, f"{row['landmarks']!r:.80} is not a list of landmark numbers; correct it")
    broken.raise_if_any()
    return RecognitionSolution(
        tuple(row["id"] for row in scored),
        tuple(tuple(int(word) for word in row["landmarks"].split()) for row in scored),
        tuple(row["usage"].lower() for row in scored),
        path.stem,
        table.sha256,
    )


def _find_table(root: Path, name: str) -> Path:
    found = [path for folder in _FOLDERS for path in (root / folder).glob(f"{name}.csv")]
    if not found:
        places = ", ".join(f"{folder}/" for folder in _FOLDERS if folder)
        raise DatasetError(
            f"{root}: no {name}.csv in it or in its folders {places}; download it from the publisher"
        )
    return max(found, key=lambda path: [int(number) for number in re.findall("[0-9]+", path.stem)])


def _read_ids(path: Path) -> tuple[str, ...]:
    table = read_table(path, required=("id",))
    if not table.rows:
        raise DatasetError(f"{path}: lists no photo; download it again from the publisher")
    _check_ids(table, table.rows)
    return tuple(row["id"] for row in table.rows)


def _scored_rows(table: Table) -> list[Row]:
    broken = BrokenRows(table.path)
    for row in table.rows:
        if row["usage"].lower() not in _USAGES:
            broken.add(
                row.line, f"the usage {row['usage']!r:.80} is not Public, Private or Ignored; correct it"
            )
    broken.raise_if_any()
    scored = [row for row in table.rows if row["usage"].lower() != "ignored"]
    _check_ids(table, scored)
    return scored


def _check_ids(table: Table, rows: Sequence[Row]) -> None:
    broken = BrokenRows(table.path)
    for row in rows:
        if not _ID.fullmatch(row["id"]):
            broken.add(row.line, f"{row['id']!r:.80} is not a photo id like 0123456789abcdef; correct it")
    broken.add_repeats((row.line, row["id"]) for row in rows)
    broken.raise_if_any()


def _positive_rows(solution: Table, scored: Sequence[Row], ids: Sequence[str], place: str) -> list[list[int]]:
    rows_of = {photo_id: row for row, photo_id in enumerate(ids)}
    broken = BrokenRows(solution.path)
    for row in scored:
        unknown = [photo_id for photo_id in row["images"].split() if photo_id not in rows_of]
        if unknown:
            broken.add(
                row.line, f"{len(unknown)} photos, such as {unknown[0]!r:.80}, are not in {place}; add them"
            )
    broken.raise_if_any()
    return [[rows_of[photo_id] for photo_id in row["images"].split()] for row in scored]


def _photos(folder: Path, ids: Sequence[str]) -> tuple[Photo, ...]:
    start = str(folder)  # joined as text, which takes half the time for 761,757 of them
    return tuple(Photo(i, Path(f"{start}/{i[0]}/{i[1]}/{i[2]}/{i}.jpg")) for i in ids)
