"""Local features as table rows: 8 bits per descriptor value, 16 bits per other number.

Each array of a photo is rounded to a grid of 256 or 65,536 equal steps from its minimum to its maximum, so no
number moves by more than half a step: keypoints by at most 1/131,070 of the photo's longer side (0.03 px in a
photo 4,000 px wide), descriptor values by at most 1/510 of their range. Both grids were chosen by measurement
(benchmarks/choose_local_storage.py, docs/LOG.md).
"""

import math
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Float32Array, read_only
from meisho.errors import CollectionError
from meisho.local_features import LocalFeatures
from meisho.store.digests import with_digests
from meisho.store.tables import DIGEST, pa

_AS_IT_IS = {"lance-encoding:compression": "none"}  # zstd would save 9 to 15 % but double the reading time

LOCAL_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.int64(), nullable=False),  # order of writing; never used twice
        pa.field("content_sha256", pa.large_string(), nullable=False),
        pa.field("count", pa.int32(), nullable=False),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("keypoints", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),
        pa.field("scores", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),
        pa.field("scales", pa.large_binary(), nullable=True, metadata=_AS_IT_IS),
        pa.field("descriptors", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),
        DIGEST,
    ]
)
"""One row per content. The binary columns hold what `pack` returns."""

_MOST = float(np.finfo(np.float32).max)

_GRID = struct.Struct("<dd")  # minimum, step


def rows_of_local_features(
    contents: Iterable[str], features: Sequence[LocalFeatures], *, first_sequence: int
) -> pa.Table:
    """Return table rows that hold the local features of these contents."""
    columns = [
        np.arange(first_sequence, first_sequence + len(features)),
        list(contents),
        [len(f) for f in features],
        [f.size_px[0] for f in features],
        [f.size_px[1] for f in features],
        [pack(f.keypoints, np.uint16) for f in features],
        [pack(f.scores, np.uint16) for f in features],
        [None if f.scales is None else pack(f.scales, np.uint16) for f in features],
        [pack(f.descriptors, np.uint8) for f in features],
    ]
    schema = LOCAL_SCHEMA.remove(LOCAL_SCHEMA.get_field_index(DIGEST.name))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return with_digests(pa.Table.from_arrays(arrays, schema=schema))


def local_features_of_rows(rows: pa.Table, dim: int) -> list[LocalFeatures]:
    """Return the local features held in table rows.

    Args:
        rows: N rows.
        dim: D, the descriptors' dimensions.

    Raises:
        CollectionError: A row is damaged.
    """
    sizes = zip(*(rows[name].to_pylist() for name in ("count", "width_px", "height_px")), strict=True)
    packed = zip(*(rows[name] for name in ("keypoints", "scores", "scales", "descriptors")), strict=True)
    return [_unpack_row(*size, *columns, dim=dim) for size, columns in zip(sizes, packed, strict=True)]


class StoredLocalFeatures(LocalFeatures):
    """Local features of one photo as a collection holds them: a quarter of the memory of `LocalFeatures`.

    The descriptors are unpacked whenever they are asked for, not before: a matcher looks at one photo at a
    time, and memory that was used just now is used again, which takes a tenth of the time of fresh memory.
    """

    _packed: NDArray[np.uint8]
    _shape: tuple[int, int]

    def __init__(
        self,
        keypoints: Float32Array,
        packed: NDArray[np.uint8],
        scores: Float32Array,
        size_px: tuple[int, int],
        scales: Float32Array | None,
        *,
        dim: int,
    ) -> None:
        arrays = {"keypoints": keypoints, "scores": scores, "scales": scales}
        for name, array in arrays.items():
            object.__setattr__(self, name, None if array is None else read_only(array, np.float32))
        object.__setattr__(self, "size_px", size_px)
        object.__setattr__(self, "_packed", packed)
        object.__setattr__(self, "_shape", (len(keypoints), dim))
        check_packed(packed.data, np.uint8, self._shape)

    @property
    def descriptors(self) -> Float32Array:
        """(K, D) float32, read-only; another array each time."""
        return read_only(unpack(self._packed.data, np.uint8, self._shape), np.float32)

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays."""
        arrays = (self.keypoints, self._packed, self.scores, self.scales)
        return sum(array.nbytes for array in arrays if array is not None)


def _unpack_row(
    count: int,
    width: int,
    height: int,
    keypoints: pa.Scalar,
    scores: pa.Scalar,
    scales: pa.Scalar,
    descriptors: pa.Scalar,
    *,
    dim: int,
) -> LocalFeatures:
    return StoredLocalFeatures(
        unpack(keypoints.as_buffer(), np.uint16, (count, 2)),
        np.frombuffer(descriptors.as_buffer(), np.uint8).copy(),  # else it would hold the whole batch
        unpack(scores.as_buffer(), np.uint16, (count,)),
        (width, height),
        unpack(scales.as_buffer(), np.uint16, (count,)) if scales.is_valid else None,
        dim=dim,
    )


def pack(numbers: Float32Array, codes: type[np.uint8] | type[np.uint16]) -> bytes:
    """Round finite numbers to a grid of equal steps over their range; order and ties are kept.

    Args:
        numbers: Array of any shape.
        codes: Type of the stored codes.

    Returns:
        The minimum and the step as little-endian float64, then the codes, little-endian, row by row.
    """
    exact = numbers.astype(np.float64)
    low, high = float(exact.min(initial=np.inf)), float(exact.max(initial=-np.inf))
    step = (high - low) / np.iinfo(codes).max if numbers.size else 0.0
    steps = (exact - low) / step if step else np.zeros(exact.shape)
    little = np.dtype(codes).newbyteorder("<")
    return _GRID.pack(low if numbers.size else 0.0, step) + np.rint(steps).astype(little).tobytes()


def unpack(
    packed: "memoryview | bytes | pa.Buffer", codes: type[np.uint8] | type[np.uint16], shape: tuple[int, ...]
) -> Float32Array:
    """Undo `pack`, to within half a step.

    Raises:
        CollectionError: The number of bytes does not fit the shape, or a number would not be finite.
    """
    view = memoryview(packed)
    low, step = check_packed(view, codes, shape)
    little = np.frombuffer(view, np.dtype(codes).newbyteorder("<"), offset=_GRID.size)
    real = np.float32 if codes is np.uint8 else np.float64  # float32 is faster for descriptors
    numbers: NDArray[np.floating] = little * real(step)
    numbers += real(low)
    return numbers.reshape(shape).astype(np.float32, copy=False)


def check_packed(
    view: memoryview, codes: type[np.uint8] | type[np.uint16], shape: tuple[int, ...]
) -> tuple[float, float]:
    """Return the minimum and the step of what `pack` returned, without looking at the codes.

    Raises:
        CollectionError: As for `unpack`.
    """
    low, step = _GRID.unpack_from(view) if len(view) >= _GRID.size else (math.nan, math.nan)
    highest = low + step * np.iinfo(codes).max
    fits = len(view) == _GRID.size + math.prod(shape) * np.dtype(codes).itemsize
    if not fits or not max(abs(low), abs(highest)) <= _MOST:
        raise CollectionError(
            f"local features of shape {shape} are damaged: {len(view)} bytes, from {low:g} to {highest:g}; "
            "restore the collection from a backup, or delete it and index again"
        )
    return low, step
