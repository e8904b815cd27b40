"""Kept queries: descriptors of queries, beside the collection that they were asked of."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from meisho.array_files import read_safetensors
from meisho.arrays import Float32Array
from meisho.describing import Describer
from meisho.descriptors import Provenance
from meisho.errors import InputError, MeishoError
from meisho.files import write_bytes
from meisho.photos import Photo
from meisho.planning import name_content
from meisho.progress import Progress
from meisho.store.metadata import INDEX_FOLDER

_FILE = "queries.safetensors"
_NAME_BYTES = 32


def describe_queries(
    queries: Sequence[Photo], describer: Describer, collection: Path, *, progress: Progress
) -> Float32Array:
    """Describe queries, but for those that an earlier call described and kept.

    What is kept is known by the model's provenance, the content of the file and the box; it is a file in the
    folder of the index, which is written anew where a query was not in it, or where it is damaged.

    Args:
        queries: Q photos in files.
        describer: Describes them.
        collection: The collection's directory.
        progress: Called as photos are described, as "describe queries".

    Returns:
        (Q, D) float32.

    Raises:
        ImageError: A query cannot be read.
    """
    file = collection / INDEX_FOLDER / _FILE
    names = [_digest(name_content(query)) for query in queries]
    kept = _read(file, describer.provenance, describer.dim)
    new = [query for query, name in zip(queries, names, strict=True) if name not in kept]
    described = describer.describe(new, progress=progress, stage="describe queries")
    by_id = dict(zip(described.ids, described.vectors, strict=True))
    vectors = np.empty((len(queries), describer.dim), np.float32)
    for row, (query, name) in enumerate(zip(queries, names, strict=True)):
        vectors[row] = kept[name] if name in kept else by_id[query.id]
    if new:
        _write(file, names, vectors, describer.provenance)
    return vectors


def _write(file: Path, names: list[bytes], vectors: Float32Array, provenance: Provenance) -> None:
    rows = np.frombuffer(b"".join(names), np.uint8).reshape(-1, _NAME_BYTES)
    metadata = {"provenance": provenance.to_json(), "sha256": _seal(rows, vectors)}
    write_bytes(file, save({"names": rows, "vectors": vectors}, metadata))


def _read(file: Path, provenance: Provenance, dim: int) -> dict[bytes, Float32Array]:
    """Read what was kept; nothing where it is of another model, damaged, or not there."""
    try:
        found = read_safetensors(file, error=InputError, advice="")
        names, vectors = found.arrays["names"], found.arrays["vectors"]
        sound = (
            found.metadata.get("provenance") == provenance.to_json()
            and names.dtype == np.uint8
            and vectors.dtype == np.float32
            and vectors.ndim == 2
            and (names.shape, vectors.shape) == ((len(vectors), _NAME_BYTES), (len(vectors), dim))
            and found.metadata.get("sha256") == _seal(names, vectors)
        )
    except (MeishoError, KeyError):
        return {}
    return {name.tobytes(): vector for name, vector in zip(names, vectors, strict=True)} if sound else {}


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _seal(names: NDArray[np.generic], vectors: NDArray[np.generic]) -> str:
    return hashlib.sha256(names.tobytes() + vectors.tobytes()).hexdigest()
