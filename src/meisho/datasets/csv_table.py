"""Your own photos with your own right answers, written down in one CSV file.

The header decides between two shapes. Paths are relative to the folder of the CSV file, ids are the paths as
written unless there is a column `id`, other columns are ignored.

**A table of photos** has a column `file`, one row per photo, and labels say what belongs together::

    file,label,role
    old/bridge_1.jpg,bridge,query
    old/bridge_2.jpg,bridge,database
    old/bridge_detail.jpg,bridge,junk
    old/somewhere.jpg,,distractor

`role` is one of

- `query`: asked for; not searched.
- `database`: searched; right for the queries of its label.
- `junk`: searched, and not counted either way for the queries of its label.
- `distractor`: searched, wrong for everyone; its label is not looked at.
- `both` (also without the column, or with an empty cell): query and database; for itself it is junk.

**A table of queries** has a column `query`, one row per query, and names its right answers by path, with `;`
or `|` between them::

    query,positives,junk,x0,y0,x1,y1
    asked/bridge.jpg,old/bridge_1.jpg;old/bridge_2.jpg,old/bridge_detail.jpg,136.5,34.1,648.5,955.7

The database is then every photo below the folder of the CSV file; a query's own photo is junk for that query
unless it is listed as a positive. The column `id` lets one photo be asked twice, with different boxes.

In both shapes `x0,y0,x1,y1` (all four or none; pixels of the upright photo) crop the photo; one that is
`both` is cropped as a query and searched whole.
"""

from pathlib import Path
from typing import get_args

from meisho.datasets.base import Dataset
from meisho.datasets.labelled import LabelledPhoto, Role, dataset_of_labels
from meisho.datasets.photo_files import photos_below
from meisho.datasets.table import BrokenRows, Row, Table, read_table
from meisho.errors import ConfigError, DatasetError, explain_os_error
from meisho.ground_truth import GroundTruth, database_rows
from meisho.photos import Box, Photo

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)} | {"": "both"}
_CORNERS = ("x0", "y0", "x1", "y1")


def load_csv_table(root: Path) -> Dataset:
    """Load the photos and the right answers that the CSV file `root` names.

    Raises:
        DatasetError: The file cannot be read, or rows are broken: the message counts them and names
            up to five by their lines.
    """
    table = read_table(root, required=())
    if "file" in table.columns:
        return _load_photo_rows(table)
    if "query" in table.columns:
        return _load_query_rows(table)
    raise DatasetError(
        f"{root}:1: the header needs a column 'file' (one row per photo: file,label,role) "
        "or 'query' (one row per query: query,positives,junk)"
    )


def _load_photo_rows(table: Table) -> Dataset:
    if "label" not in table.columns:
        raise DatasetError(
            f"{table.path}:1: a table of photos needs the column 'label', what each photo shows"
        )
    broken = BrokenRows(table.path)
    photos = []
    for row in table.rows:
        role = _ROLES.get(row["role"].lower())
        if role is None:
            broken.add(row.line, f"the role {row['role']!r:.80} is not one of {', '.join(get_args(Role))}")
        elif role != "distractor" and not row["label"]:
            broken.add(row.line, f"a photo of the role {role} needs a label; only a distractor goes without")
        elif photo := _read_photo(table.path, row, row["file"], broken):
            photos.append((row.line, LabelledPhoto(photo, row["label"], role)))
    broken.add_repeats((line, p.photo.id) for line, p in photos if p.role in ("query", "both"))
    broken.add_repeats((line, p.photo.id) for line, p in photos if p.role != "query")
    broken.raise_if_any()
    return dataset_of_labels(table.path.stem, table.path, [photo for _, photo in photos], sha256=table.sha256)


def _load_query_rows(table: Table) -> Dataset:
    database = photos_below(table.path.parent.resolve())
    rows_of = {photo.id: row for row, photo in enumerate(database)}
    row_of_path = {photo.path: row for row, photo in enumerate(database)}
    broken = BrokenRows(table.path)
    queries, positives, junk = [], [], []
    for row in table.rows:
        photo = _read_photo(table.path, row, row["query"], broken)
        right = _listed_rows(row, "positives", rows_of, broken)
        not_counted = _listed_rows(row, "junk", rows_of, broken)
        if both := right & not_counted:
            broken.add(row.line, f"{database[min(both)].id!r} is a positive and junk at once; choose one")
        elif photo:
            queries.append((row.line, photo))
            positives.append(right)
            junk.append(
                not_counted | ({row_of_path[photo.path]} - right if photo.path in row_of_path else set())
            )
    broken.add_repeats((line, photo.id) for line, photo in queries)
    broken.raise_if_any()
    ground_truth = GroundTruth(database_rows(positives), database_rows(junk), table.sha256)
    return Dataset(
        table.path.stem, table.path, database, tuple(photo for _, photo in queries), ground_truth, "retrieval"
    )


def _read_photo(table: Path, row: Row, cell: str, broken: BrokenRows) -> Photo | None:
    folder = table.parent.resolve()
    path = folder / cell
    if ".." in path.parts:
        path = (
            path.parent.resolve() / path.name
        )  # one file, one path: a query must know itself in the database
    try:
        box = _read_box(row)
        if not cell:
            reason = "names no photo; fill the cell or remove the row"
        elif not path.is_file():
            reason = (
                f"the photo {cell!r:.200} is not found below {folder}; correct the path or remove the row"
            )
        else:
            return Photo(row["id"] or cell, path, box)
    except ConfigError as error:
        reason = f"{error}; correct the cell"
    except (OSError, ValueError) as error:  # a name longer than file systems take, a number that is none
        reason = f"{explain_os_error(error)}; correct the cell"
    broken.add(row.line, reason)
    return None


def _read_box(row: Row) -> Box | None:
    corners = [row[name] for name in _CORNERS]
    if not any(corners):
        return None
    if not all(corners):
        raise ConfigError(f"a box needs all of {', '.join(_CORNERS)} or none of them")
    return Box(*(float(corner) for corner in corners))


def _listed_rows(row: Row, column: str, rows_of: dict[str, int], broken: BrokenRows) -> set[int]:
    ids = {part.strip() for part in row[column].replace("|", ";").split(";")} - {""}
    for unknown in sorted(ids - rows_of.keys()):
        broken.add(row.line, f"{column}: no photo {unknown!r:.200} below the folder; correct the path")
    return {rows_of[known] for known in ids & rows_of.keys()}
