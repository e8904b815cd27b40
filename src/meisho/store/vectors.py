"""Vectors of descriptors as table rows, one per distinct content."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.errors import DamagedError
from meisho.store import tables
from meisho.store.digests import damaged_rows, find_damaged, with_digests
from meisho.store.tables import DESCRIPTORS, DIGEST, Table, pa


def descriptors_schema(dim: int) -> pa.Schema:
    """Return the schema of the descriptor table."""
    vector = pa.list_(pa.field("item", pa.float32(), nullable=False), dim)
    return pa.schema(
        [
            pa.field("sequence", pa.int64(), nullable=False),  # order of writing; never used twice
            pa.field("content_sha256", pa.large_string(), nullable=False),
            pa.field("vector", vector, nullable=False),
            DIGEST,
        ]
    )


def rows_of_vectors(contents: Iterable[str], vectors: Float32Array, *, first_sequence: int) -> pa.Table:
    """Return table rows that hold the vectors (B, D) of B contents."""
    schema = descriptors_schema(vectors.shape[1])
    columns = [
        pa.array(np.arange(first_sequence, first_sequence + len(vectors))),
        pa.array(contents, schema.field(1).type),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=schema.field(2).type),
    ]
    return with_digests(pa.Table.from_arrays(columns, schema=schema.remove(3)))


def find_vectors(
    table: Table, sequences: Int64Array, dim: int, path: Path
) -> Iterator[tuple[Int64Array, Float32Array]]:
    """Read the vectors with the given sequence numbers, batch by batch.

    Args:
        table: Descriptor table of the collection at `path`, pinned.
        sequences: (N,) sequence numbers, in any order; may repeat.
        dim: D.
        path: The collection's directory, for messages.

    Yields:
        Places (B,) among the N, and their vectors (B, D) float32. Reading needs the memory of a few more
        batches.

    Raises:
        DamagedError: Vectors are damaged, or not there.
    """
    order = np.argsort(sequences, kind="stable")
    wanted = sequences[order]
    damaged: list[int] = []
    num_found = 0
    columns = ["sequence", "content_sha256", "vector", DIGEST.name]
    for rows in tables.read_batches(table, columns, least_sequence=int(wanted[0]) if len(wanted) else None):
        have = rows["sequence"].to_numpy()
        damaged += have[find_damaged(rows)].tolist()
        low, high = np.searchsorted(wanted, have, "left"), np.searchsorted(wanted, have, "right")
        source = np.repeat(np.arange(len(have)), high - low)
        within = np.arange(len(source)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
        values = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        num_found += len(source)
        if len(source):
            yield order[low[source] + within], values[source]
    if damaged:
        raise damaged_rows(path, DESCRIPTORS, damaged)
    if num_found < len(sequences):
        raise DamagedError(
            f"{path}: {len(sequences) - num_found} descriptors are not there; run 'meisho index'"
        )
