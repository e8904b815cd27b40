"""Cells of a leaderboard on the disk: each is a folder, named by the digest of all that made it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from meisho import __version__
from meisho.datasets.base import Dataset
from meisho.descriptors import Provenance
from meisho.documents import read_json
from meisho.errors import InputError, MeishoError
from meisho.evaluate.leaderboard import Cell, Costs
from meisho.evaluate.protocols import row_groups
from meisho.evaluate.report import Report, load_report
from meisho.files import write_text
from meisho.photos import Photo
from meisho.planning import size_and_times

CELLS = "cells"
_CELL_FILE = "cell.json"
_FORMAT = 1


def digest_cell(
    dataset_digest: str, provenance: Provenance, chain: str, local: Provenance | None, *, seed: int
) -> str:
    """Return the digest of what makes a cell: any other photo, option, weight or version is another cell.

    Args:
        dataset_digest: The data set, see `digest_dataset`.
        provenance: The model and its options.
        chain: Every option of the chain, `Chain.full_text`; "" for none.
        local: Provenance of the local features that it looks at.
        seed: Seeds the bootstrap of the intervals.
    """
    made_of = {
        "format": _FORMAT,
        "meisho": __version__,
        "dataset": dataset_digest,
        "model": asdict(provenance),
        "chain": chain,
        "local": local and asdict(local),
        "seed": seed,
    }
    return digest_of(made_of)


def digest_dataset(dataset: Dataset) -> str:
    """Return the digest of a data set: its answers, and its photos by place, box, size and time of change."""
    digest = hashlib.sha256(f"{dataset.name} {dataset.protocol}\n".encode(errors="surrogateescape"))
    for photos in (dataset.database, dataset.queries):
        for line in _photo_lines(photos):
            digest.update(line)
        digest.update(b"\n")
    for group in row_groups(dataset.ground_truth):
        for rows in group:
            digest.update(np.concatenate([[len(rows)], rows]).astype("<i8").tobytes())
    return digest.hexdigest()


def digest_of(values: object) -> str:
    """Return the digest of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def place_of(digest: str) -> str:
    """Return where a cell lies, below the folder of its leaderboard."""
    return f"{CELLS}/{digest[:32]}"


def save_cell(cell: Cell, digest: str, to: Path) -> None:
    """Write a cell: its report first, so that one which was cut off is no cell.

    Args:
        cell: One that did not fail.
        digest: Its digest.
        to: The folder of the leaderboard.
    """
    assert cell.report is not None, "a failed cell is tried again, not kept"
    folder = to / place_of(digest)
    cell.report.write(folder)
    names = {"dataset": cell.dataset, "model": cell.model, "chain": cell.chain}
    values = {"format": _FORMAT, "digest": digest, **names, "costs": asdict(cell.costs)}
    write_text(folder / _CELL_FILE, json.dumps(values, indent=1), sync=True)


def load_cell(digest: str, to: Path) -> tuple[Report, Costs] | None:
    """Read a cell; None where it is not there, or is not whole."""
    folder = to / place_of(digest)
    if not (folder / _CELL_FILE).is_file():
        return None
    try:
        values = read_json(folder / _CELL_FILE, error=InputError)
        if values.text("digest") != digest:
            return None
        costs = values.table("costs")
        return load_report(folder), Costs(**{field.name: costs.number(field.name) for field in fields(Costs)})
    except MeishoError:
        return None


def _photo_lines(photos: Iterable[Photo]) -> Iterable[bytes]:
    for photo in photos:
        size, changed_ns, _ = size_and_times(photo.path)
        yield repr((photo.id, str(photo.path), photo.box, size, changed_ns)).encode(errors="surrogateescape")
