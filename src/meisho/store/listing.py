"""Listing: the photos that a collection holds now, each with the number of its vector."""

from pathlib import Path

import numpy as np

from meisho.arrays import read_only
from meisho.errors import DamagedError
from meisho.store import tables
from meisho.store.commits import check_commits
from meisho.store.records import decode_texts, photo_keys, read_log, resolve_log
from meisho.store.snapshot import PhotoRows
from meisho.store.tables import DESCRIPTORS, Table, pc


def list_photos(photos: Table, path: Path) -> tuple[PhotoRows, Table]:
    """List the photos that have a descriptor.

    Args:
        photos: Photo table of the collection at `path`, pinned.
        path: The collection's directory.

    Returns:
        The photos, and the descriptor table, pinned, that holds the vectors of all of them.

    Raises:
        DamagedError: Rows are damaged, or descriptors not there.
    """
    log = read_log(photos, path)
    version = int(pc.max(log["sequence"]).as_py()) + 1 if len(log) else 0
    log = log.select(["id", "content_sha256", "error", "file"]).take(resolve_log(log)[0])
    log = log.filter(pc.equal(pc.binary_length(log["error"]), 0))
    # Open it after reading the records: descriptors are written first, so none can be missing.
    check_commits(path, DESCRIPTORS)
    descriptors = tables.open_pinned(path, DESCRIPTORS)
    stored = tables.read_columns(descriptors, ["sequence", "content_sha256"])
    rows = pc.index_in(log["content_sha256"], value_set=stored["content_sha256"])
    if rows.null_count:
        lost = decode_texts(log["id"].filter(pc.is_null(rows)))
        raise DamagedError(
            f"{path}: {len(lost)} photos have a record but no descriptor, the first is {lost[0]!r}; "
            "run 'meisho index' again to describe them anew"
        )
    ids, files = tuple(decode_texts(log["id"])), tuple(decode_texts(log["file"]))
    keys = photo_keys(ids, log["content_sha256"].to_pylist())
    sequences = read_only(stored["sequence"].to_numpy()[rows.to_numpy()], np.int64)
    return PhotoRows(ids, files, keys, sequences, version), descriptors
