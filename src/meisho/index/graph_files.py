"""Files of a neighbour graph: one of lists, which is mapped into memory, and a sealed record."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meisho.config import build
from meisho.documents import Fields
from meisho.errors import CollectionError, InputError
from meisho.files import replacing
from meisho.index.graph import NeighborGraph
from meisho.sealed import is_digest, read_sealed, write_sealed

_RECORD = "graph.json"
_BLOCK_BYTES = 2**22
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphRecord:
    """What is written beside the lists of a graph.

    Attributes:
        num_rows: Number of photos.
        k: Neighbours of each.
        recall: See `NeighborGraph`.
        lists_sha256: Digest of the file of lists.
        format: Version of these files.
    """

    num_rows: int
    k: int
    recall: float
    lists_sha256: str
    format: int = 1

    def path(self, folder: Path) -> Path:
        """Return where the lists stand; those of different graphs never share a name."""
        return folder / f"graph-{self.lists_sha256[:16]}.lists"

    @property
    def parts(self) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
        """Name, type and shape of the arrays in the file of lists, in order."""
        lists = (self.num_rows, self.k)
        return (
            ("keys", "<u8", (self.num_rows,)),
            ("neighbors", "<i4", lists),
            ("similarities", "<f4", lists),
            ("farthest", "<i4", (self.num_rows,)),
            ("lowest", "<f4", (self.num_rows,)),
        )


def save_graph(graph: NeighborGraph, folder: Path) -> None:
    """Write a graph into `folder`, in place of what was saved there.

    The record is written last and names the lists, so that a kill leaves the old graph or the new one.

    Raises:
        InputError: It follows other photos than it was built from.
    """
    if graph.rows is not None:
        raise InputError("graph: it follows other photos than it was built from; save what 'grow' returns")
    shape = GraphRecord(len(graph), graph.k, graph.recall, "")
    arrays = [np.ascontiguousarray(getattr(graph, name), dtype) for name, dtype, _ in shape.parts]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    record = GraphRecord(len(graph), graph.k, graph.recall, digest.hexdigest())
    with replacing(record.path(folder)) as part, part.open("wb") as file:
        for array in arrays:
            file.write(array.data)
    write_sealed(folder / _RECORD, asdict(record))
    for path in {*folder.glob("graph-*.lists")} - {record.path(folder)}:
        path.unlink(missing_ok=True)


def has_graph(folder: Path) -> bool:
    """Say whether a graph was saved in `folder`, sound or damaged."""
    return (folder / _RECORD).exists()


def load_graph(folder: Path) -> NeighborGraph | None:
    """Read what `save_graph` wrote; its lists are mapped into memory.

    None where there is nothing, or, with a logged warning, where it is broken: neighbours are then searched
    for when they are asked for.
    """
    if not has_graph(folder):
        return None
    try:
        record = _read_record(folder / _RECORD)
        return _map_lists(record, record.path(folder))
    except CollectionError as error:
        _logger.warning("%s", error)
        return None


def remove_graph(folder: Path) -> None:
    """Remove what `save_graph` wrote."""
    for path in (folder / _RECORD, *folder.glob("graph-*.lists")):
        path.unlink(missing_ok=True)


def _read_record(path: Path) -> GraphRecord:
    try:
        record = build(Fields(read_sealed(path), path.name, InputError), GraphRecord)
    except (OSError, InputError, ValueError) as error:
        raise CollectionError(f"{path}: the saved graph cannot be read ({error}); build it again") from error
    sound = record.num_rows >= 0 and record.k >= 1 and is_digest(record.lists_sha256)
    if record.format != 1 or not sound:
        raise CollectionError(f"{path}: a graph by another version; build it again")
    return record


def _map_lists(record: GraphRecord, path: Path) -> NeighborGraph:
    try:
        content = (
            np.asarray(np.memmap(path, np.uint8, mode="r")) if record.num_rows else np.empty(0, np.uint8)
        )
    except (OSError, ValueError) as error:  # missing; empty
        raise CollectionError(f"{path}: the saved graph cannot be read ({error}); build it again") from error
    digest = hashlib.sha256()
    for first in range(0, len(content), _BLOCK_BYTES):
        digest.update(content[first : first + _BLOCK_BYTES].data)
    if digest.hexdigest() != record.lists_sha256 or len(content) != record.num_rows * (8 * record.k + 16):
        raise CollectionError(f"{path}: not the graph that was written; build it again")
    arrays = dict(_cut(record, content))
    return NeighborGraph(**arrays, recall=record.recall)  # type: ignore[arg-type]


def _cut(record: GraphRecord, content: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    start = 0
    for name, dtype, shape in record.parts:
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        yield name, content[start : start + size].view(dtype).reshape(shape)
        start += size
