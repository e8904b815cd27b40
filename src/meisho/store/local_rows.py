"""Local features as table rows: 4 bits per descriptor value, 10 per keypoint coordinate, 6 per scale.

Each array of a photo is rounded to a grid of equal steps between a minimum and a maximum, so no number within
them moves by more than half a step: keypoints by at most 1/2,046 of the photo's longer side, a third of a
pixel of the 640 in which they are looked for; scales, whose logarithms are kept, by a few percent. There are
16 steps for each dimension of the descriptors, within 3 standard deviations of its mean over the photo. Of
many scores that fall from the first to the last, 32 are kept. What takes no fewer bytes so, as of a few
features, has 8 bits per descriptor value and 16 per scale. All this was chosen by measurement
(benchmarks/choose_local_storage.py, docs/LOG.md). Rows written before have 16 bits per coordinate and scale,
or 8 per value and all scores; how many bytes there are tells which.
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
"""One row per content. The binary columns hold what `pack`, `pack_scores` and `pack_descriptors` return."""

_MOST = float(np.finfo(np.float32).max)

_KEYPOINT_BITS = 10
_SCALE_BITS = 6
_PARTS = {
    6: (4, 2),
    8: (8,),
    10: (8, 2),
    16: (16,),
}  # of a code's bits, so that codes side by side fill bytes
_GRID = struct.Struct("<dd")  # minimum, step
_MOST_CODE = 15
_WIDTH = 3.0  # standard deviations; beyond it lie 0.3 % of the values of a normal distribution
_KNOTS = 32


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
        [pack(f.keypoints, _KEYPOINT_BITS) for f in features],
        [pack_scores(f.scores) for f in features],
        [None if f.scales is None else pack_scales(f.scales) for f in features],
        [pack_descriptors(f.descriptors) for f in features],
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
    """Local features of one photo as a collection holds them: an eighth of the memory of `LocalFeatures`.

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
        check_descriptors(packed.data, self._shape)

    @property
    def descriptors(self) -> Float32Array:
        """(K, D) float32, read-only; another array each time."""
        return read_only(unpack_descriptors(self._packed.data, self._shape), np.float32)

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
        unpack_keypoints(keypoints.as_buffer(), count),
        np.frombuffer(descriptors.as_buffer(), np.uint8).copy(),  # else it would hold the whole batch
        unpack_scores(scores.as_buffer(), count),
        (width, height),
        unpack_scales(scales.as_buffer(), count) if scales.is_valid else None,
        dim=dim,
    )


def pack(numbers: Float32Array, bits: int) -> bytes:
    """Round finite numbers to a grid of equal steps over their range; order and ties are kept.

    Args:
        numbers: Array of any shape.
        bits: How many a stored code has: 6, 8, 10 or 16.

    Returns:
        The minimum and the step as little-endian float64, then the codes, row by row: those of 16 bits
        little-endian, others in parts that fill bytes, the low bits of all codes first.
    """
    exact = numbers.astype(np.float64)
    low, high = float(exact.min(initial=np.inf)), float(exact.max(initial=-np.inf))
    step = (high - low) / (2**bits - 1) if numbers.size else 0.0
    steps = (exact - low) / step if step else np.zeros(exact.shape)
    return _GRID.pack(low if numbers.size else 0.0, step) + _join(np.rint(steps).astype("<u2").ravel(), bits)


def unpack(packed: "memoryview | bytes | pa.Buffer", bits: int, shape: tuple[int, ...]) -> Float32Array:
    """Undo `pack`, to within half a step.

    Raises:
        CollectionError: The number of bytes does not fit the shape, or a number would not be finite.
    """
    view = memoryview(packed)
    low, step = check_packed(view, bits, shape)
    codes = _split(view[_GRID.size :], math.prod(shape), bits)
    real = np.float32 if bits == 8 else np.float64  # float32 is faster for descriptors
    numbers: NDArray[np.floating] = codes * real(step)
    numbers += real(low)
    return numbers.reshape(shape).astype(np.float32, copy=False)


def check_packed(view: memoryview, bits: int, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the minimum and the step of what `pack` returned, without looking at the codes.

    Raises:
        CollectionError: As for `unpack`.
    """
    low, step = _GRID.unpack_from(view) if len(view) >= _GRID.size else (math.nan, math.nan)
    highest = low + step * (2**bits - 1)
    fits = len(view) == _size_packed(math.prod(shape), bits)
    if not fits or not max(abs(low), abs(highest)) <= _MOST:
        raise CollectionError(
            f"local features of shape {shape} are damaged: {len(view)} bytes, from {low:g} to {highest:g}; "
            "restore the collection from a backup, or delete it and index again"
        )
    return low, step


def _join(codes: NDArray[np.uint16], bits: int) -> bytes:
    if bits == 16:
        return codes.tobytes()
    parts, shift = [], 0
    for width in _PARTS[bits]:
        lanes = np.zeros((8 // width, _num_bytes(len(codes), width)), np.uint8)
        lanes.ravel()[: len(codes)] = (codes >> shift) & (2**width - 1)
        lanes <<= _shifts(width)
        parts.append(np.bitwise_or.reduce(lanes).tobytes())
        shift += width
    return b"".join(parts)


def _split(joined: memoryview, count: int, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Undo `_join`."""
    if bits in (8, 16):
        return np.frombuffer(joined, f"<u{bits // 8}")
    codes, shift, start = np.zeros(count, np.uint16), 0, 0
    for width in _PARTS[bits]:
        part = np.frombuffer(joined, np.uint8, _num_bytes(count, width), start)
        lanes = (part >> _shifts(width)) & np.uint8(2**width - 1)
        codes |= lanes.ravel()[:count].astype(np.uint16) << shift
        shift += width
        start += len(part)
    return codes


def _shifts(width: int) -> NDArray[np.uint8]:
    """Bits by which the codes are shifted that share a byte, (L, 1) of L."""
    return np.arange(0, 8, width, dtype=np.uint8)[:, None]


def _num_bytes(count: int, width: int) -> int:
    return -(-count * width // 8)


def _size_packed(count: int, bits: int) -> int:
    """Bytes of what `pack` returns of so many numbers."""
    return _GRID.size + sum(_num_bytes(count, width) for width in _PARTS[bits])


def _bits_of(packed: "memoryview | bytes | pa.Buffer", count: int, small: int) -> int:
    """Return how many bits each of so many codes has: 16 where there are bytes for these, else `small`."""
    return 16 if memoryview(packed).nbytes == _size_packed(count, 16) else small


def unpack_keypoints(packed: "memoryview | bytes | pa.Buffer", count: int) -> Float32Array:
    """Undo `pack` of (K, 2) keypoints, in 10 bits or, as they were before, in 16.

    Raises:
        CollectionError: As for `unpack`.
    """
    return unpack(packed, _bits_of(packed, 2 * count, _KEYPOINT_BITS), (count, 2))


def pack_scales(scales: Float32Array) -> bytes:
    """Keep the logarithms of (K,) scales in 6 bits; the scales in 16 where one is not positive, or K < 2."""
    small = len(scales) > 1 and (scales > 0).all()
    return pack(np.log2(scales), _SCALE_BITS) if small else pack(scales, 16)


def unpack_scales(packed: "memoryview | bytes | pa.Buffer", count: int) -> Float32Array:
    """Undo `pack_scales`, to (K,).

    Raises:
        CollectionError: As for `unpack`.
    """
    bits = _bits_of(packed, count, _SCALE_BITS)
    scales = unpack(packed, bits, (count,))
    if bits == 16:
        return scales
    with np.errstate(over="ignore"):
        return np.exp2(scales).clip(None, _MOST)


def pack_descriptors(descriptors: Float32Array) -> bytes:
    """Round (K, D) finite descriptors to 4 bits per value, or to 8 where that takes no more space.

    Returns:
        What `pack` returns of the descriptors; or of the minima and maxima of the D dimensions (2, D), in 16
        bits, followed by the codes, row by row: the first half of the dimensions in the low bits of the
        bytes, the second in the high bits.
    """
    count, dim = descriptors.shape
    if count * dim <= _size_of_halves(count, dim):
        return pack(descriptors, 8)
    exact = descriptors.astype(np.float64)
    middle, reach = exact.mean(axis=0), _WIDTH * exact.std(axis=0)
    ends = np.stack(
        [np.maximum(exact.min(axis=0), middle - reach), np.minimum(exact.max(axis=0), middle + reach)]
    )
    packed_ends = pack(ends.astype(np.float32), 16)
    low, step = _grids(memoryview(packed_ends), dim)
    steps = np.divide(exact - low, step, out=np.zeros_like(exact), where=step > 0)
    codes = np.rint(steps).clip(0, _MOST_CODE).astype(np.uint8)
    halves, rest = codes[:, : (dim + 1) // 2], codes[:, (dim + 1) // 2 :]
    halves[:, : rest.shape[1]] |= rest << 4
    return packed_ends + halves.tobytes()


def unpack_descriptors(packed: memoryview, shape: tuple[int, int]) -> Float32Array:
    """Undo `pack_descriptors`; returns (K, D) float32.

    Raises:
        CollectionError: The number of bytes does not fit the shape, or a number would not be finite.
    """
    if not _has_halves(packed, shape):
        return unpack(packed, 8, shape)
    count, dim = shape
    half = (dim + 1) // 2
    low, step = _grids(packed, dim)
    halves = np.frombuffer(packed, np.uint8, offset=_size_of_ends(dim)).reshape(count, half)
    numbers = np.empty(shape, np.float32)
    numbers[:, :half] = halves & 15
    numbers[:, half:] = (halves >> 4)[:, : dim - half]
    numbers *= step
    numbers += low
    return numbers


def check_descriptors(packed: memoryview, shape: tuple[int, int]) -> None:
    """Check what `pack_descriptors` returned without looking at the codes.

    Raises:
        CollectionError: As for `unpack_descriptors`.
    """
    if _has_halves(packed, shape):
        _grids(packed, shape[1])
    else:
        check_packed(packed, 8, shape)


def _has_halves(packed: memoryview, shape: tuple[int, int]) -> bool:
    """Return whether there are 4 bits per value; where both forms are as long, there never are."""
    as_long = len(packed) == _GRID.size + math.prod(shape)
    return not as_long and len(packed) == _GRID.size + _size_of_halves(*shape)


def _size_of_ends(dim: int) -> int:
    return _GRID.size + 4 * dim


def _size_of_halves(count: int, dim: int) -> int:
    """Bytes of (K, D) descriptors in 4 bits each, with the ends of their grids."""
    return 4 * dim + count * ((dim + 1) // 2)


def _grids(packed: memoryview, dim: int) -> tuple[Float32Array, Float32Array]:
    """Return the minimum and the step of each dimension (D,)."""
    low, high = unpack(packed[: _size_of_ends(dim)], 16, (2, dim))
    return low, (high - low) / np.float32(_MOST_CODE)


def pack_scores(scores: Float32Array) -> bytes:
    """Keep 32 of (K,) scores that never rise, more of them among the best; all where one rises."""
    count = len(scores)
    num_kept = min(count, _KNOTS) if (scores[1:] <= scores[:-1]).all() else count
    kept = np.interp(_knots(count, num_kept), np.arange(count), scores) if num_kept < count else scores
    return pack(kept.astype(np.float32), 16)


def unpack_scores(packed: "memoryview | bytes | pa.Buffer", count: int) -> Float32Array:
    """Undo `pack_scores`: those that were not kept lie on straight lines between those that were; (K,).

    Raises:
        CollectionError: As for `unpack`.
    """
    num_kept = (
        _KNOTS if memoryview(packed).nbytes == _GRID.size + 2 * _KNOTS < _GRID.size + 2 * count else count
    )
    kept = unpack(packed, 16, (num_kept,))
    if num_kept == count:
        return kept
    return np.interp(np.arange(count), _knots(count, num_kept), kept).astype(np.float32)


def _knots(count: int, num_kept: int) -> NDArray[np.float64]:
    """Ranks of the kept scores, among those from 0 to `count` - 1: the better, the denser."""
    return (count - 1) * np.linspace(0, 1, num_kept) ** 2
