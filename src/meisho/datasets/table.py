"""CSV files as published or exported: rows that know their line, and errors that name them.

Commas, semicolons and tabs, a byte-order mark, CRLF and blank lines are taken as they come. Everything else
that is not as it should be is an error: a ground truth read past a broken row gives figures that look right.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meisho.documents import decode_text, one_line, read_limited
from meisho.errors import DatasetError

_MOST_BYTES = 1 << 31
_DELIMITERS = ",;\t"
_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One row of a table; `row["name"]` is the stripped text of a cell, "" where there is no such column.

    Attributes:
        line: The line of the file on which it starts, counted from 1.
        columns: Names of the columns in lower case.
        cells: Its texts, one per column.
    """

    line: int
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def __getitem__(self, name: str) -> str:
        return self.cells[self.columns.index(name)] if name in self.columns else ""


@dataclass(frozen=True)
class Table:
    """A CSV file that was read whole.

    Attributes:
        path: The file.
        columns: Names of its columns, stripped, in lower case.
        rows: Its rows, without blank ones.
        sha256: Digest of the file's bytes.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    sha256: str


@dataclass
class BrokenRows:
    """Collects what is wrong with a table, to say it in one error."""

    path: Path
    reasons: list[str] = field(default_factory=list)

    def add(self, line: int, reason: str) -> None:
        """Note that the row on `line` is broken; the reason says what is wrong and what to do."""
        self.reasons.append(f"{self.path}:{line}: {reason}")

    def add_repeats(self, ids: Iterable[tuple[int, str]]) -> None:
        """Note the rows whose id stands already on an earlier line; `ids` are (line, id)."""
        first: dict[str, int] = {}
        for line, photo_id in ids:
            if first.setdefault(photo_id, line) != line:
                self.add(
                    line,
                    f"the id {photo_id!r:.200} stands already on line {first[photo_id]}; remove one of them",
                )

    def raise_if_any(self) -> None:
        """Raise one error that names up to five rows and the count.

        Raises:
            DatasetError: Rows are broken.
        """
        if len(self.reasons) == 1:
            raise DatasetError(self.reasons[0])
        if self.reasons:
            raise DatasetError(
                "\n  ".join([f"{self.path}: {len(self.reasons)} broken rows:", *self._shown()])
            )

    def _shown(self) -> Iterator[str]:
        yield from self.reasons[:_SHOWN]
        if len(self.reasons) > _SHOWN:
            yield f"... and {len(self.reasons) - _SHOWN} more"


def read_table(path: Path, *, required: tuple[str, ...]) -> Table:
    """Read a CSV file with a header line.

    Args:
        path: The file: UTF-8, fields separated by comma, semicolon or tab.
        required: Columns that it must have; it may have others.

    Raises:
        DatasetError: It cannot be read, a column is missing or named twice, or rows are broken.
    """
    raw = read_bytes(path)
    text = _decoded(path, raw)
    header, _, _ = text.partition("\n")
    lines = _lines(path, text, delimiter=choose_delimiter(header))
    columns = check_columns(path, next(lines, (1, []))[1], required)
    broken = BrokenRows(path)
    rows = []
    for line, cells in lines:
        if "\0" in "".join(cells):
            broken.add(line, "holds a NUL byte; export the table again as plain text")
        elif len(cells) != len(columns):
            broken.add(
                line, f"has {len(cells)} cells, the header {len(columns)}; quote cells with separators"
            )
        else:
            rows.append(Row(line, columns, tuple(cell.strip() for cell in cells)))
    broken.raise_if_any()
    return Table(path, columns, tuple(rows), hashlib.sha256(raw).hexdigest())


def read_bytes(path: Path) -> bytes:
    """Read a ground-truth file whole.

    Raises:
        DatasetError: It is missing, is a folder, or may not be read.
    """
    return read_limited(path, error=DatasetError, advice="check the path", most_bytes=_MOST_BYTES)


def _decoded(path: Path, raw: bytes) -> str:
    return decode_text(raw, source=str(path), error=DatasetError, save_as="'CSV UTF-8'", what="the table")


def _lines(path: Path, text: str, *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DatasetError(
                f"{path}:{line}: {error}; look for a quote that is opened or closed alone"
            ) from error
        if any(cell.strip() for cell in cells):
            yield line, cells


def choose_delimiter(header: str) -> str:
    """Return what separates the cells of a header line: comma, semicolon or tab."""
    return max(_DELIMITERS, key=header.count)


def check_columns(path: Path, cells: list[str], required: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of columns from the cells of a header, stripped, in lower case.

    Raises:
        DatasetError: A required column is missing, or one is named twice.
    """
    columns = tuple(cell.strip().lower() for cell in cells)
    for name in required:
        if name not in columns:
            found = ", ".join(filter(None, columns)) or "nothing"
            raise DatasetError(
                f"{path}:1: the header needs the column {name!r}; it has {one_line(found, 200)}"
            )
    for name in columns:
        if name and columns.count(name) > 1:
            raise DatasetError(f"{path}:1: the column {name!r} stands twice in the header; rename one")
    return columns
