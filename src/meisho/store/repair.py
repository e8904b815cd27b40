"""Repair: a collection with damaged tables becomes one that only misses what was damaged.

What is missing is described anew by the update that follows. Only whoever holds the writer's lock may repair.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.errors import CollectionError, DamagedError
from meisho.store import tables
from meisho.store.commits import check_commits, note_commits
from meisho.store.digests import find_damaged
from meisho.store.tables import DESCRIPTORS, LOCAL_FEATURES, PHOTOS, Table, pa

_AT_ONCE = 64
_WHAT = {PHOTOS: "photo record", DESCRIPTORS: "descriptor", LOCAL_FEATURES: "photo's local features"}


def find_damaged_rows(path: Path, name: str, schema: pa.Schema) -> tuple[int, list[int]]:
    """Read a whole table of the collection at `path`.

    Returns:
        How many rows it has, and the sequence numbers of those that are damaged.

    Raises:
        CollectionError: It cannot be read.
    """
    check_commits(path, name)
    table = tables.open_pinned(path, name)
    damaged: list[int] = []
    num_rows = 0
    with tables.plain_errors(path, f"read the {name} table"):
        for rows in tables.read_batches(table, schema.names):
            num_rows += len(rows)
            damaged += rows["sequence"].filter(pa.array(find_damaged(rows))).to_pylist()
    return num_rows, damaged


def repair_table(path: Path, name: str, schema: pa.Schema) -> str:
    """Drop what is damaged of a table; returns a sentence that says what was done, "" for nothing.

    Raises:
        CollectionError: It cannot be written.
    """
    try:
        _, damaged = find_damaged_rows(path, name, schema)
    except CollectionError:
        return _salvage(path, name, schema)
    if damaged:
        with tables.plain_errors(path, f"drop damaged rows of the {name} table"):
            tables.delete_sequences(tables.open_latest(path, name), np.array(damaged, np.int64))
            note_commits(path, name)
    return _say(name, len(damaged))


def _salvage(path: Path, name: str, schema: pa.Schema) -> str:
    """Write a table anew with those rows that can be read and are sound."""
    try:
        table = tables.open_pinned(path, name)
        with tables.plain_errors(path, f"write the {name} table anew"):
            row_ids = tables.read_row_ids(table, ["sequence"])["_rowid"].to_numpy()
            tables.rewrite(path, name, schema, _read_sound(path, table, row_ids, schema))
            note_commits(path, name)
            num_lost = len(row_ids) - tables.open_latest(path, name).count_rows()
            return _say(name, num_lost) or f"the {name} table is written anew"
    except DamagedError:
        with tables.plain_errors(path, f"make the {name} table anew"):
            shutil.rmtree(path / f"{name}.lance", ignore_errors=True)
            tables.create_table(path, name, schema)
            note_commits(path, name)
        return f"the {name.replace('_', ' ')} could not be read at all, and are made anew"


def _read_sound(path: Path, table: Table, row_ids: Int64Array, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a table that can be read and are sound, a few at a time."""
    for first in range(0, len(row_ids), _AT_ONCE):
        yield from _read_few(path, table, row_ids[first : first + _AT_ONCE], schema)


def _read_few(path: Path, table: Table, row_ids: Int64Array, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield what can be read of a few rows; where they cannot be read together, in halves."""
    try:
        with tables.plain_errors(path, f"read the {table.name} table"):
            rows = tables.take_rows(table, row_ids)
    except CollectionError:
        if half := len(row_ids) // 2:
            yield from _read_few(path, table, row_ids[:half], schema)
            yield from _read_few(path, table, row_ids[half:], schema)
        return
    rows = tables.fill_columns(rows, schema.names)
    yield rows.filter(pa.array(~find_damaged(rows)))


def _say(name: str, num_rows: int) -> str:
    if not num_rows:
        return ""
    dropped = f"{num_rows:,} of the {name.replace('_', ' ')} were damaged, and are made anew"
    return f"{dropped} (photos added or removed by hand may be among them)" if name == PHOTOS else dropped
