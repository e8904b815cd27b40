"""LanceDB as this package uses it: append-only tables, read at a pinned version; errors in plain words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from meisho.arrays import Int64Array
from meisho.buckets import BucketPath
from meisho.endpoints import storage_options
from meisho.errors import CollectionError, DamagedError, LockedError, MissingDependencyError, is_panic
from meisho.store.merging import Step

try:
    import lancedb
    import pyarrow as pa
    import pyarrow.compute as pc
    from filelock import FileLock, Timeout
    from lancedb.table import Table
except ImportError as error:
    raise MissingDependencyError(
        f"writing a collection needs LanceDB, which could not be imported ({error}); "
        "run: pip install lancedb pyarrow filelock (extraction and training work without it)"
    ) from error

__all__ = ["FileLock", "Table", "Timeout", "pa", "pc"]  # imported from here, so that one error names them

PHOTOS = "photos"
DESCRIPTORS = "descriptors"
LOCAL_FEATURES = "local_features"
DIGEST = pa.field("digest", pa.uint64())
"""The last column of every table, see `meisho.store.digests`."""
ADDED = pa.schema([pa.field("ctime_ns", pa.int64()), DIGEST])
"""Columns that tables of format 1 and 2 do not have."""
ROW_ID = "_rowid"
"""Where a row stands in its table, as LanceDB numbers it until fragments are merged."""
_REPAIR = "if this happens again, part of it is damaged: run 'meisho index' to make that part anew"
_ASKED = frozenset(
    {'store: "s3"', "s3 error", "error performing", "retryerror", "http error", "timed out", "timeout"}
    | {"httperror", "connection", "object store error", "failed to resolve region", "dns error"}
)
"""Signs of an error that came from asking an object store, and not from what lies in it."""
BATCH_ROWS = 1024
NAMED_ROWS = 8192
"""Up to so many rows are named one by one, which LanceDB looks up; for a range it looks at every row id."""


@contextmanager
def plain_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn errors of LanceDB and the operating system into a CollectionError that says what to do."""
    try:
        yield
    except BaseException as error:
        plain = isinstance(error, OSError | RuntimeError | ValueError | pa.ArrowException)
        if not plain and not is_panic(error):
            raise
        reason = re.sub(r",? \S+\.rs:\d+:\d+", "", str(error)).strip()
        if isinstance(path, BucketPath) and (failure := _explain_bucket(path, reason)):
            raise failure from error
        advice = _advice(reason)
        kind = CollectionError if advice else DamagedError
        raise kind(f"{path}: cannot {doing}: {reason}; {advice or _REPAIR}") from error


def _explain_bucket(path: BucketPath, reason: str) -> CollectionError | None:
    """Return the error for what a store did not do; None where an object is not there or not as written."""
    text = reason.lower()
    if "incompatible transaction" in text or "commit conflict" in text or "preempted" in text:
        return LockedError(
            f"{path}: another process has taken over writing, as this one gave no sign of life; what was "
            f"committed before is safe: run the command again ({reason[:200]})"
        )
    asked = any(sign in text for sign in _ASKED)
    gone = "not found" in text and "nosuchbucket" not in text
    return path.failure(reason) if asked and not gone else None


def _advice(reason: str) -> str:
    """Say what to do about an error that is not the collection's; "" where the collection is damaged."""
    text = reason.lower()
    if "no space left" in text or "quota" in text or "file too large" in text:
        return "free some space and run the command again: everything committed so far is safe"
    if "permission denied" in text or "read-only file system" in text or "not permitted" in text:
        return "give yourself permission to read and write there, or choose another place"
    if "surrogates not allowed" in text:
        return "choose a directory whose name is valid UTF-8"
    if "input/output error" in text or "stale file handle" in text:
        return "the disk cannot be read: look after it, and try again"
    return ""


def size_bytes(path: Path, name: str) -> int:
    """Return the size on the disk of a table of the directory `path`; 0 where there is none."""
    return sum(file.stat().st_size for file in (path / f"{name}.lance").rglob("*") if file.is_file())


def _connect(path: Path) -> Any:
    if isinstance(path, BucketPath):
        return lancedb.connect(str(path), storage_options=storage_options())
    return lancedb.connect(path)


def create_table(path: Path, name: str, schema: pa.Schema) -> None:
    """Create an empty table in the directory `path`."""
    with plain_errors(path, f"create the {name} table"):
        _connect(path).create_table(name, schema=schema)


def open_latest(path: Path, name: str) -> Table:
    """Open a table at its latest version, for writing."""
    with plain_errors(path, f"open the {name} table"):
        return _connect(path).open_table(name)


def fence(path: Path, name: str) -> None:
    """Commit what a table holds once more, so that any commit that was begun before is refused from now on.

    LanceDB takes no commit that was begun before a restoration. One that came between is not lost: it is
    restored in turn.
    """
    table = open_latest(path, name)
    with plain_errors(path, f"take over the {name} table"):
        version = table.version
        table.restore(version)
        while (now := table.version) != version + 1:
            version = now
            table.checkout(now - 1)
            table.restore()
            table.checkout_latest()


def open_pinned(path: Path, name: str) -> Table:
    """Open a table at its latest version and stay there, whatever is written later."""
    table = open_latest(path, name)
    with plain_errors(path, f"read the {name} table"):
        table.checkout(table.version)
    return table


def read_columns(table: Table, columns: Sequence[str]) -> pa.Table:
    """Read whole columns into memory; the order of the rows is not defined.

    A column of `ADDED` that the table does not have yet is all null, but digests are left out.

    Raises:
        ValueError: There are fewer rows than the table says.
    """
    rows = table.search().select(_present(table, columns)).to_arrow()
    _check_count(table, len(rows), table.count_rows())
    return fill_columns(rows, columns)


def read_batches(
    table: Table, columns: Sequence[str], *, row_ids: bool = False, least_sequence: int | None = None
) -> Iterator[pa.Table]:
    """Read columns like `read_columns`, `BATCH_ROWS` at a time; with `ROW_ID` where it is asked for.

    With `least_sequence`, only rows of that "sequence" and above, which is much sooner where they are few.
    """
    num_rows = 0
    query = table.search().select(_present(table, columns)).with_row_id(row_ids)
    condition = None if least_sequence is None else f"sequence >= {least_sequence}"
    if condition:
        query = query.where(condition)
    for batch in query.to_batches(BATCH_ROWS):
        num_rows += len(batch)
        yield fill_columns(pa.Table.from_batches([batch]), columns)
    _check_count(table, num_rows, table.count_rows(condition))


def _check_count(table: Table, num_read: int, expected: int) -> None:
    if num_read != expected:
        raise ValueError(f"{num_read} rows of the {table.name} table were read, it says {expected}")


def fill_columns(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return rows with these columns; one of `ADDED` that is not there becomes null, a digest stays away."""
    for name in columns:
        if name not in (*rows.column_names, DIGEST.name):
            rows = rows.append_column(ADDED.field(name), pa.nulls(len(rows), ADDED.field(name).type))
    return rows


def _present(table: Table, columns: Sequence[str]) -> list[str]:
    there = table.schema.names
    return [name for name in columns if name in there or name not in ADDED.names]


def rewrite(path: Path, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write a table anew, in one commit, from rows that may be read from its present version meanwhile."""
    batches = (b for rows in tables for b in rows.select(schema.names).cast(schema).to_batches())
    open_latest(path, name).add(pa.RecordBatchReader.from_batches(schema, batches), mode="overwrite")


def read_next_sequence(table: Table) -> int:
    """Return the sequence number after the highest one in a table."""
    sequence = read_columns(table, ["sequence"])["sequence"].to_numpy()
    return int(sequence.max()) + 1 if len(sequence) else 0


def read_row_ids(table: Table, columns: Sequence[str]) -> pa.Table:
    """Read whole columns and `ROW_ID`, the row ids for `take_rows`; the order of the rows is not defined."""
    rows = table.search().select(_present(table, columns)).with_row_id(True).to_arrow()
    _check_count(table, len(rows), table.count_rows())
    return rows


def take_rows(table: Table, row_ids: Int64Array) -> pa.Table:
    """Read only the rows with these ids; the order of the rows is not defined.

    Args:
        table: Pinned at the version whose ids were read: merging fragments renumbers rows.
        row_ids: Distinct ids from `read_row_ids`.
    """
    rows = table.take_row_ids(row_ids.tolist()).to_arrow()
    _check_count(table, len(rows), len(row_ids))
    return rows


def delete_rows(table: Table, row_ids: Int64Array) -> None:
    """Delete the rows with these ids in one commit; some thousands at most."""
    table.delete(_named(row_ids))


def merge_rows(table: Table, step: Step) -> None:
    """Write rows anew as one fragment, in one commit; what a reader finds does not change."""
    if sum(end - first for first, end in step) <= NAMED_ROWS:
        where = _named(np.concatenate([np.arange(first, end) for first, end in step]))
    else:
        where = " OR ".join(f"({ROW_ID} >= {first} AND {ROW_ID} < {end})" for first, end in step)
    table.update(where=where, values_sql={"sequence": "sequence"})


def _named(row_ids: Int64Array) -> str:
    return f"{ROW_ID} IN ({','.join(map(str, row_ids.tolist()))})"


def count_fragments(table: Table) -> tuple[int, int]:
    """Return the number of fragments and of rows of a table."""
    stats = table.stats()
    return int(stats["fragment_stats"]["num_fragments"]), int(stats["num_rows"])
