"""Digests of table rows: what is read is what was written, or the row is named as damaged.

LanceDB does not checksum its data files: a flipped bit changes what is read, without an error. So each row
carries one number, the XXH3 (64 bits, github.com/Cyan4973/xxHash) of all its other fields, written with it
and compared whenever the row is read. Tables of an older format have no such column yet, and are believed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from meisho.arrays import BoolArray, UInt8Array
from meisho.errors import DamagedError
from meisho.store.tables import DIGEST, pa, pc
from meisho.texts import count

_AT_ONCE = 2**15
"""Rows whose fields are Python objects at the same time."""


def with_digests(rows: pa.Table) -> pa.Table:
    """Return (N) rows with the column `DIGEST`, in place of one that they have."""
    plain = rows.drop_columns([DIGEST.name]) if DIGEST.name in rows.column_names else rows
    return plain.append_column(DIGEST, pa.array(digest_rows(plain), DIGEST.type))


def find_damaged(rows: pa.Table) -> BoolArray:
    """Return (N,) whether each row differs from what was written, as far as its digest tells."""
    if DIGEST.name not in rows.column_names:
        return np.zeros(len(rows), np.bool_)
    written = pc.fill_null(rows[DIGEST.name], 0).to_numpy()
    is_there = rows[DIGEST.name].is_valid().to_numpy()
    damaged: BoolArray = ~is_there | (digest_rows(rows.drop_columns([DIGEST.name])) != written)
    return damaged


def refuse_damaged(rows: pa.Table, path: Path, table: str) -> None:
    """Check rows of a table of the collection at `path`.

    Raises:
        DamagedError: Some are damaged.
    """
    damaged = find_damaged(rows)
    if damaged.any():
        raise damaged_rows(path, table, rows["sequence"].filter(pa.array(damaged)).to_pylist())


def damaged_rows(path: Path, table: str, sequences: list[int]) -> DamagedError:
    """Return the error that names damaged rows of a table."""
    return DamagedError(
        f"{path}: {count(len(sequences), 'row')} of its {table.replace('_', ' ')} changed on the disk since "
        f"written, the first is row {sequences[0]}; run 'meisho index' to describe those photos anew"
    )


def digest_rows(rows: pa.Table) -> NDArray[np.uint64]:
    """Return (N,) uint64 digests of all fields of the rows; the order of the columns does not matter.

    What is hashed: the numbers in order of their columns' names, little-endian, among them the length of each
    text (-1 for null); then the vectors and texts, in order of their columns' names.
    """
    if len(rows) > _AT_ONCE:
        pieces = [rows.slice(first, _AT_ONCE) for first in range(0, len(rows), _AT_ONCE)]
        return np.concatenate([digest_rows(piece) for piece in pieces])
    names = sorted(rows.column_names)
    texts = [rows[name] for name in names if _is_text(rows[name].type)]
    vectors = [rows[name] for name in names if pa.types.is_fixed_size_list(rows[name].type)]
    lengths = [pc.fill_null(pc.binary_length(column), -1) for column in texts]
    numbers = [rows[name] for name in names if pa.types.is_primitive(rows[name].type)]
    assert len(texts) + len(vectors) + len(numbers) == len(names)  # every field is hashed
    fixed = [_bytes_of(column) for column in (*numbers, *lengths)]
    parts = [
        _pieces(np.concatenate(fixed, axis=1)),
        *(_pieces(_bytes_of_vectors(column)) for column in vectors),
        *(_pieces_of_texts(column) for column in texts),
    ]
    digests = (xxhash.xxh3_64_intdigest(b"".join(pieces)) for pieces in zip(*parts, strict=True))
    return np.fromiter(digests, np.uint64, len(rows))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_binary(kind) or pa.types.is_large_string(kind))


def _bytes_of(column: pa.ChunkedArray) -> UInt8Array:
    """Return the numbers of a column as (N, size) bytes; null is 0, as a row without the field."""
    values = pc.fill_null(column, False if pa.types.is_boolean(column.type) else 0).to_numpy()
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(len(little), little.itemsize)


def _bytes_of_vectors(column: pa.ChunkedArray) -> UInt8Array:
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(len(column), 4 * column.type.list_size)


def _pieces(matrix: UInt8Array) -> Iterator[memoryview]:
    """Yield the rows of an (N, size) matrix of bytes."""
    view, size = np.ascontiguousarray(matrix).reshape(-1).data, matrix.shape[1]
    return (view[first : first + size] for first in range(0, len(matrix) * size, size))


def _pieces_of_texts(column: pa.ChunkedArray) -> Iterator[bytes]:
    plain = column if pa.types.is_large_binary(column.type) else column.cast(pa.large_binary())
    return (text or b"" for text in plain.to_pylist())
