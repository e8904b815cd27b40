"""Labels: what each of many photos shows, read from tables of millions of rows without looking at a photo.

The header decides what a table is; columns beside these are ignored::

    id,landmark_id[,url]   train.csv of Google Landmarks and its contests; photos are train/a/b/c/abc….jpg
    landmark_id,images     train_clean.csv: ids of one landmark in one row, spaces between; photos as above
    filename,landmark_id   gldv2_micro.csv; photos are below images/
    file,label[,role]      your own, see `meisho.datasets.csv_table`; photos are beside the table

Read row by row in Python. Over 4.1 million rows it takes two to three times as long as numpy's or pyarrow's
reader, seconds all the same; it needs less memory, and knows the line of each error.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array, read_only
from meisho.datasets.image_folder import label_photos
from meisho.datasets.table import BrokenRows, check_columns, choose_delimiter
from meisho.documents import one_line
from meisho.errors import DatasetError

_ID = re.compile(r"[0-9A-Za-z]{3,64}")  # it becomes a path
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class Layout:
    """How a table says what photos show, and where they lie.

    Attributes:
        name_column: Its column of photos: ids where they are nested, else paths.
        label_column: Its column of labels.
        folder: The folder of the photos, below the root.
        nested: Photos lie as a/b/c/abc….jpg, by the first letters of their ids.
    """

    name_column: str
    label_column: str
    folder: str = ""
    nested: bool = False

    def path_of(self, name: str) -> str:
        """Return the path of a photo below the root."""
        if self.nested:
            return f"{self.folder}/{name[0]}/{name[1]}/{name[2]}/{name}.jpg"
        return f"{self.folder}/{name}" if self.folder else name


GROUPED = Layout("images", "landmark_id", "train", nested=True)
LAYOUTS = (
    GROUPED,
    Layout("id", "landmark_id", "train", nested=True),
    Layout("filename", "landmark_id", "images"),
    Layout("file", "label"),
)
"""What tables are known, the first that fits a header is taken."""

TABLES = {
    "gldv2_train": "train.csv",
    "gldv2_clean": "train_clean.csv",
    "gldv2_micro": "gldv2_micro.csv",
}
"""Data sets of labelled photos for training -> the table that they have in their folder."""

LABELLED = (*TABLES, "folder", "csv")
"""What `load_labels` loads, by name."""

_FOLDERS = ("", "train", "metadata", "ground_truth")


@dataclass(frozen=True, eq=False)
class Labels:
    """What N photos show.

    Attributes:
        source: The table or folder that they were read from.
        root: The folder that paths are below.
        layout: How names become paths.
        names: N names, unique.
        classes: (N,) int64, read-only; rows into `class_names`.
        class_names: C names of classes, in order of first appearance.
        roles: N roles, or () where the source has none.
        sha256: Digest of the table, or "" for a folder.

    Raises:
        DatasetError: There are no photos, or the lengths differ.
    """

    source: Path
    root: Path
    layout: Layout
    names: tuple[str, ...]
    classes: Int64Array
    class_names: tuple[str, ...]
    roles: tuple[str, ...] = ()
    sha256: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", read_only(self.classes, np.int64))
        if not self.names:
            raise DatasetError(f"{self.source}: holds no labelled photo")
        if self.classes.shape != (len(self.names),) or len(self.roles) not in (0, len(self.names)):
            raise DatasetError(f"{self.source}: {len(self.names)} photos with {self.classes.shape} classes")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def counts(self) -> Int64Array:
        """(C,) int64: the number of photos of each class."""
        return np.bincount(self.classes, minlength=len(self.class_names))

    def path_of(self, row: int) -> Path:
        """Return where a photo lies."""
        return self.root / self.layout.path_of(self.names[row])


def is_labelled(name: str) -> bool:
    """Say whether `load_labels` knows a data set of this name."""
    return name in LABELLED


def load_labels(name: str, root: Path) -> Labels:
    """Load the labels of a data set by name; see `is_labelled`.

    Args:
        name: One of `LABELLED`.
        root: Its folder, or the table itself.

    Raises:
        DatasetError: The table is not there, or has broken rows.
    """
    if name == "folder":
        return read_labelled_folder(root)
    if name not in TABLES or root.is_file():
        return read_labels(root)
    for folder in _FOLDERS:
        if (table := root / folder / TABLES[name]).is_file():
            return read_labels(table, root=root)
    places = ", ".join(f"{folder}/" for folder in _FOLDERS if folder)
    raise DatasetError(
        f"{root}: no {TABLES[name]} in it or in its folders {places}; "
        "run 'meisho datasets get', or put the publisher's table there"
    )


def read_labels(table: Path, *, root: Path | None = None) -> Labels:
    """Read a table of labels. Photos of the role "distractor" show nothing known and are passed over.

    Args:
        table: The file.
        root: The folder that its paths are below; the table's own when not given.

    Raises:
        DatasetError: It cannot be read, has none of the known headers, or rows are broken: an empty cell, an
            id that cannot be one, a photo that stands twice.
    """
    columns, layout, has_roles = _read_header(table)
    broken = BrokenRows(table)
    names: list[str] = []
    classes: list[int] = []
    roles: list[str] = []
    numbers: dict[str, int] = {}
    for _, name, label, role in _read_pairs(table, columns, layout, broken):
        names.append(name)
        classes.append(numbers.setdefault(label, len(numbers)))
        if has_roles:
            roles.append(role)
    broken.raise_if_any()
    if len(set(names)) != len(names):
        broken.add_repeats((line, name) for line, name, *_ in _read_pairs(table, columns, layout, broken))
        broken.raise_if_any()
    return Labels(
        table,
        root or table.parent,
        layout,
        tuple(names),
        np.array(classes, np.int64),
        tuple(numbers),
        tuple(roles),
        _sha256(table),
    )


def read_labelled_folder(root: Path) -> Labels:
    """Read the labels of a folder of labelled photos; see `meisho.datasets.image_folder`.

    Raises:
        DatasetError: As for that.
    """
    photos = [photo for photo in label_photos(root) if photo.role != "distractor"]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(p.label for p in photos))}
    return Labels(
        root,
        root,
        Layout("file", "label"),
        tuple(photo.photo.path.relative_to(root).as_posix() for photo in photos),
        np.array([numbers[photo.label] for photo in photos], np.int64),
        tuple(numbers),
        tuple(photo.role for photo in photos),
    )


def read_landmarks(path: Path) -> frozenset[str]:
    """Read a list of landmarks: one per line, or the column `landmark_id` or `label` of a CSV.

    Raises:
        DatasetError: It cannot be read or is empty.
    """
    lines = [cells for _, cells in _stream_cells(path)]
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    named = [header.index(name) for name in ("landmark_id", "label") if name in header]
    column = named[0] if named else 0
    cells = [cells[column].strip() for cells in lines[1 if named else 0 :] if len(cells) > column]
    if not (found := frozenset(cells) - {""}):
        raise DatasetError(f"{path}: lists no landmark; write one id per line")
    return found


def _read_header(table: Path) -> tuple[tuple[str, ...], Layout, bool]:
    columns = check_columns(table, next(_stream_cells(table), (1, []))[1])
    for layout in LAYOUTS:
        if {layout.name_column, layout.label_column} <= {*columns}:
            return columns, layout, "role" in columns and not layout.nested
    known = "; ".join(f"{layout.name_column},{layout.label_column}" for layout in LAYOUTS)
    found = ", ".join(filter(None, columns)) or "nothing"
    raise DatasetError(
        f"{table}:1: the header needs one of these pairs: {known}; it has {one_line(found, 200)}"
    )


def _read_pairs(
    table: Path, columns: tuple[str, ...], layout: Layout, broken: BrokenRows
) -> Iterator[tuple[int, str, str, str]]:
    """Yield (line, name, label, role) of every sound row, and note the others."""
    name_cell, label_cell = columns.index(layout.name_column), columns.index(layout.label_column)
    role_cell = columns.index("role") if "role" in columns and not layout.nested else None
    width, grouped = len(columns), layout is GROUPED
    is_name = _ID.fullmatch if layout.nested else _is_path
    lines = _stream_cells(table)
    next(lines, None)
    for line, cells in lines:
        if len(cells) != width:
            broken.add(line, f"has {len(cells)} cells, the header {width}; quote cells with separators")
            continue
        label = cells[label_cell].strip()
        role = "" if role_cell is None else cells[role_cell].strip().lower()
        if role == "distractor":
            continue
        if not label:
            broken.add(line, f"has no {layout.label_column}; fill the cell or remove the row")
            continue
        for name in cells[name_cell].split() if grouped else (cells[name_cell].strip(),):
            if is_name(name):
                yield line, name, label, role
            else:
                what = "a photo id like 0123456789abcdef" if layout.nested else "a path"
                broken.add(line, f"{name!r:.80} is not {what}; correct it")


def _is_path(name: str) -> bool:
    return bool(name) and "\0" not in name


def _stream_cells(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of each row that is not blank, the header's first."""
    delimiter = choose_delimiter(_read_start(table))
    line = 0
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for line, cells in _split_lines(file, delimiter):
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield line, cells
    except UnicodeDecodeError as error:
        line = _find_undecodable(table)
        raise DatasetError(f"{table}:{line}: is not UTF-8 text; save the table as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise DatasetError(
            f"{table}:{line + 1}: {error}; look for a quote that is opened or closed alone"
        ) from error


def _split_lines(file: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) as the csv module does, which gets only lines with quotes: half the time."""
    lines = iter(file)
    number = 0
    for number, line in enumerate(lines, start=1):
        if '"' not in line:
            yield number, line.rstrip("\r\n").split(delimiter)
        elif line.count('"') % 2:  # a cell goes on in the next line
            break
        else:
            yield number, next(csv.reader((line,), delimiter=delimiter, strict=True))
    else:
        return
    reader = csv.reader(chain((line,), lines), delimiter=delimiter, strict=True)
    for cells in reader:
        yield number - 1 + reader.line_num, cells


def _read_start(table: Path) -> str:
    """Return the first line, or as much of it as a header can have."""
    try:
        with table.open("rb") as file:
            return file.readline(_HEADER_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise DatasetError(f"{table}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # a NUL inside the path
        raise DatasetError(f"{table!s:.200}: is not a path ({error})") from error


def _find_undecodable(table: Path) -> int:
    with table.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode()
            except UnicodeDecodeError:
                return line
    return 1


def _sha256(table: Path) -> str:
    with table.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
