"""Repair: a collection with damaged tables becomes one that only misses what was damaged.

What is missing is described anew by the update that follows. Only whoever holds the writer's lock may repair.
"""

from collections.abc import Iterator
from pathlib import Path

from meisho.arrays import Int64Array
from meisho.buckets import remove_tree
from meisho.errors import CollectionError, DamagedError, StoreError
from meisho.photos import is_whole_place
from meisho.store import tables
from meisho.store.commits import check_commits, note_commits
from meisho.store.digests import damaged_rows, find_damaged, with_digests
from meisho.store.metadata import INDEX_FOLDER
from meisho.store.records import PhotoRecord, decode_texts, read_log, rows_of_records
from meisho.store.snapshot_files import read_saved_files
from meisho.store.tables import PHOTOS, ROW_ID, Table, pa
from meisho.store.tidying import Keeper
from meisho.texts import count

_AT_ONCE = 64


def find_damaged_rows(path: Path, name: str, schema: pa.Schema) -> tuple[int, pa.Table]:
    """Read a whole table of the collection at `path`.

    Returns:
        How many rows it has, and those that are damaged: their "sequence", as it is read, and `ROW_ID`.

    Raises:
        CollectionError: It cannot be read.
    """
    with tables.plain_errors(path, f"read the {name} table"):
        check_commits(path, name)
    table = tables.open_pinned(path, name)
    damaged = [pa.schema([("sequence", pa.int64()), (ROW_ID, pa.uint64())]).empty_table()]
    num_rows = 0
    with tables.plain_errors(path, f"read the {name} table"):
        for rows in tables.read_batches(table, schema.names, row_ids=True):
            num_rows += len(rows)
            wrong = find_damaged(rows.drop_columns([ROW_ID]))
            damaged.append(rows.select(["sequence", ROW_ID]).filter(pa.array(wrong)).cast(damaged[0].schema))
    return num_rows, pa.concat_tables(damaged)


def refuse_damaged_table(path: Path, name: str, schema: pa.Schema) -> None:
    """Read a whole table of the collection at `path`.

    Raises:
        DamagedError: Rows are damaged.
        CollectionError: It cannot be read.
    """
    _, rows = find_damaged_rows(path, name, schema)
    if len(rows):
        raise damaged_rows(path, name, rows["sequence"].to_pylist())


def repair_table(path: Path, name: str, schema: pa.Schema) -> str:
    """Drop what is damaged of a table; returns a sentence that says what was done, "" for nothing.

    Raises:
        CollectionError: It cannot be written.
    """
    try:
        _, damaged = find_damaged_rows(path, name, schema)
    except StoreError:
        raise
    except CollectionError:
        return _salvage(path, name, schema)
    if len(damaged):
        with tables.plain_errors(path, f"drop damaged rows of the {name} table"):
            # not by sequence: a flipped bit may have made it that of a sound row
            Keeper(path, tables.open_latest(path, name)).delete(damaged[ROW_ID].to_numpy())
    return _say(name, len(damaged))


def _salvage(path: Path, name: str, schema: pa.Schema) -> str:
    """Write a table anew with those rows that can be read and are sound."""
    try:
        table = tables.open_pinned(path, name)
        with tables.plain_errors(path, f"write the {name} table anew"):
            row_ids = tables.read_row_ids(table, ["sequence"])[ROW_ID].to_numpy()
            tables.rewrite(path, name, schema, _read_sound(path, table, row_ids, schema))
            note_commits(path, name)
            num_lost = len(row_ids) - tables.open_latest(path, name).count_rows()
            return _say(name, num_lost) or f"the {name} table is written anew"
    except DamagedError:
        with tables.plain_errors(path, f"make the {name} table anew"):
            remove_tree(path / f"{name}.lance")
            tables.create_table(path, name, schema)
            note_commits(path, name)
        return f"the {name.replace('_', ' ')} could not be read at all: all made anew"


def _read_sound(path: Path, table: Table, row_ids: Int64Array, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a table that can be read and are sound, a few at a time."""
    for first in range(0, len(row_ids), _AT_ONCE):
        yield from _read_few(path, table, row_ids[first : first + _AT_ONCE], schema)


def _read_few(path: Path, table: Table, row_ids: Int64Array, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield what can be read of a few rows; where they cannot be read together, in halves."""
    try:
        with tables.plain_errors(path, f"read the {table.name} table"):
            rows = tables.take_rows(table, row_ids)
    except StoreError:
        raise
    except CollectionError:
        if half := len(row_ids) // 2:
            yield from _read_few(path, table, row_ids[:half], schema)
            yield from _read_few(path, table, row_ids[half:], schema)
        return
    sound = rows.filter(pa.array(~find_damaged(rows)))
    yield with_digests(tables.fill_columns(sound, schema.names))  # the digest that it has, if it has one


def _say(name: str, num_rows: int) -> str:
    if not num_rows:
        return ""
    were = "was" if num_rows == 1 else "were"
    return f"{count(num_rows, 'row')} of the {name.replace('_', ' ')} {were} damaged: made anew"


def put_back_added(path: Path) -> str:
    """Put back photos from outside the photo folder whose records were dropped; returns a sentence, or "".

    The saved snapshot names them, and no other place does. Their new records wait to be described.
    """
    with tables.plain_errors(path, "read its photos"):
        log = read_log(tables.open_latest(path, PHOTOS), path)
    if (saved := read_saved_files(path / INDEX_FOLDER)) is None:
        return "photos added by hand may have been lost, as no sound snapshot names them: add them again"
    known = {*decode_texts(log["id"])}
    lost = [
        PhotoRecord(photo_id, "", 0, 0, 0, 0, error="its record was damaged; index again", file=file)
        for photo_id, file in saved.items()
        if is_whole_place(file) and photo_id not in known
    ]
    if not lost:
        return ""
    first_sequence = 1 + max(log["sequence"].to_pylist(), default=-1)
    with tables.plain_errors(path, "put photos back"):
        tables.open_latest(path, PHOTOS).add(rows_of_records(lost, first_sequence=first_sequence))
        note_commits(path, PHOTOS)
    return f"{count(len(lost), 'photo')} added by hand: put back, as the saved snapshot names them"
