"""Strips and tiles of a TIFF -> its samples, 8 bits each.

libtiff only unpacks here: each strip or tile is shown to Pillow as one grey picture of bytes, whatever it
holds. Deflate and JPEG are unpacked by zlib and libjpeg themselves, which tell of damage that libtiff hides.
"""

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from PIL import TiffImagePlugin

from meisho.arrays import UInt8Array
from meisho.colours import find_white
from meisho.jpeg import decode_strip

JPEG = 7
_DEFLATES = {8, 32946}
_BAND_ROWS = 64
_MOST_SPARE = 64  # MB
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS = 273, 277, 278, 279


@dataclass(frozen=True)
class Layout:
    """How the samples of a TIFF lie.

    Attributes:
        width: The picture's width as stored, px.
        height: The picture's height as stored, px.
        bits: The depth of each sample.
        kind: "u", "i" or "f", as numpy calls them.
        order: "<" or ">", the order of bytes.
        is_reversed: Whether the bits of each byte stand the wrong way round.
        samples: The number of samples of a pixel.
        colours: The number of those that are colours; they come first.
        photometric: The TIFF's own number for what the colours are.
        is_planar: Whether each sample has strips or tiles of its own.
        compression: The TIFF's own number.
        predictor: 1 none, 2 differences, 3 differences of the bytes of floats.
        tile: Width and height of a strip or tile, px.
        offsets: The place of each strip or tile in the file.
        counts: The number of bytes of each.
        alpha: The sample that is alpha, or None.
        is_multiplied: Whether the colours are multiplied by alpha already.
        palette: (N, 3) uint8, or None where samples are colours.
        jpeg_tables: The part of a JPEG that all strips share, or nothing.
        is_ycbcr_jpeg: Whether libjpeg makes RGB of their YCbCr.
        subsampling: The numbers of pixels, across and down, that share their Cb and Cr.
        white: The value of white where the file tells it, else None.
    """

    width: int
    height: int
    bits: int
    kind: str
    order: str
    is_reversed: bool
    samples: int
    colours: int
    photometric: int
    is_planar: bool
    compression: int
    predictor: int
    tile: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    alpha: int | None
    is_multiplied: bool
    palette: UInt8Array | None
    jpeg_tables: bytes
    is_ycbcr_jpeg: bool
    subsampling: tuple[int, int]
    white: int | None

    @property
    def dtype(self) -> np.dtype:
        """Of the samples once they are unpacked, in the order of bytes of the file."""
        size = next(size for size in (1, 2, 4, 8) if 8 * size >= self.bits)
        return np.dtype(f"{self.order if self.bits % 8 == 0 else '='}{self.kind}{size}")


def unpack(file: IO[bytes], layout: Layout) -> UInt8Array:
    """Return (H, W, C) uint8, the colours and the alpha if there is one; a palette's colours for its numbers.

    Raises:
        ValueError: It ends too early or is damaged; the message says which.
    """
    kept = [*range(layout.colours), *([] if layout.alpha is None else [layout.alpha])]
    num_colours = layout.colours if layout.palette is None else 3
    num_channels = num_colours + (layout.alpha is not None)
    pixels = np.zeros((layout.height, layout.width, num_channels), np.uint8)
    white = _white(file, layout)
    for x, y, plane, values in _tiles(file, layout):
        for place, sample in enumerate(kept):
            if layout.is_planar and sample != plane:
                continue
            part = values[..., 0 if layout.is_planar else sample]
            rows, columns = slice(y, y + part.shape[0]), slice(x, x + part.shape[1])
            if layout.palette is not None and place == 0:
                pixels[rows, columns, :3] = layout.palette[part]
                continue
            is_float_alpha = sample == layout.alpha and layout.kind == "f"
            channel = num_colours if sample == layout.alpha else place
            pixels[rows, columns, channel] = _to_8_bits(part, 1.0 if is_float_alpha else white)
    return pixels


def _to_8_bits(values: np.ndarray, white: float) -> np.ndarray:
    if values.dtype == np.uint8 and white == 255:
        return values
    deep = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return (np.clip(deep, 0, white) * np.float32(255 / white) + np.float32(0.5)).astype(np.uint8)


def _white(file: IO[bytes], layout: Layout) -> float:
    """Return the value of white: the greatest of its depth up to 16 bits; beyond, see `find_white`."""
    if layout.kind != "f" and layout.bits <= 16:
        depth = layout.bits - (layout.kind == "i")
        return float(min(layout.white or 1 << depth, (1 << depth) - 1))
    counted = [*range(layout.colours), *([layout.alpha] if layout.alpha and layout.kind != "f" else [])]
    parts = (
        values if layout.is_planar else values[..., counted]
        for *_, plane, values in _tiles(file, layout)
        if not layout.is_planar or plane in counted
    )
    num_values = layout.width * layout.height * len(counted)
    return find_white(parts, 1.0 if layout.kind == "f" else 65535.0, num_values)


def _tiles(file: IO[bytes], layout: Layout) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Yield x, y, the plane and the values (h, w, C) of each strip or tile."""
    across, down = -(-layout.width // layout.tile[0]), -(-layout.height // layout.tile[1])
    planes = layout.samples if layout.is_planar else 1
    if min(len(layout.offsets), len(layout.counts)) < across * down * planes:
        raise ValueError("damaged: it lists too few strips or tiles")
    is_strip = layout.tile[0] == layout.width
    for number in range(across * down * planes):
        plane, place = divmod(number, across * down)
        x, y = place % across * layout.tile[0], place // across * layout.tile[1]
        rows = min(layout.tile[1], layout.height - y) if is_strip and across == 1 else layout.tile[1]
        file.seek(layout.offsets[number])
        data = file.read(layout.counts[number])
        if len(data) < layout.counts[number]:
            raise ValueError("truncated: it ends before its picture does")
        values = _values(data.translate(_REVERSED) if layout.is_reversed else data, rows, layout)
        yield x, y, plane, values[: layout.height - y, : layout.width - x]


def _values(data: bytes, rows: int, layout: Layout) -> np.ndarray:
    """Return the (rows, width of the strip or tile, C) samples."""
    channels = 1 if layout.is_planar else layout.samples
    width = layout.tile[0]
    if layout.compression == JPEG:
        shape = (rows, width, channels)
        return decode_strip(layout.jpeg_tables, data, shape, is_ycbcr=layout.is_ycbcr_jpeg)
    if layout.subsampling != (1, 1):
        return _join_subsampled(data, rows, width, layout.subsampling)
    row_bytes = -(-width * channels * layout.bits // 8)
    if layout.tile[1] != rows and layout.compression == 1 and len(data) >= layout.tile[1] * row_bytes:
        rows = layout.tile[1]
    packed = _decompress(data, row_bytes, rows, layout.compression)
    shape = (rows, width, channels)
    if layout.bits % 8:
        return _unpack_bits(packed, layout, width * channels).reshape(shape)
    if layout.predictor == 3:  # Adobe's: differences of bytes, the high bytes of a row first
        summed = np.cumsum(packed.reshape(rows, -1, channels), axis=1, dtype=np.uint8)
        split = summed.reshape(rows, layout.dtype.itemsize, -1)
        big = np.ascontiguousarray(split.transpose(0, 2, 1)).view(layout.dtype.newbyteorder(">"))
        return big.reshape(shape)
    values = packed.view(layout.dtype).reshape(shape)
    if layout.predictor == 2:
        whole = np.dtype(f"u{layout.dtype.itemsize}")
        summed = np.cumsum(values.view(whole.newbyteorder(layout.dtype.byteorder)), axis=1, dtype=whole)
        return summed.view(layout.dtype.newbyteorder("="))
    return values


def _unpack_bits(packed: UInt8Array, layout: Layout, row_values: int) -> np.ndarray:
    """Return (rows, row_values): samples that do not fill bytes, the first in the highest bits."""
    values = np.zeros((len(packed), row_values), layout.dtype)
    for top in range(0, len(packed), _BAND_ROWS):  # a byte per bit, so a few rows at a time
        bits = np.unpackbits(packed[top : top + _BAND_ROWS], axis=1, count=row_values * layout.bits)
        for place in range(layout.bits):
            part = bits[:, place :: layout.bits].astype(layout.dtype)
            values[top : top + _BAND_ROWS] |= part << (layout.bits - 1 - place)
    return values


def _join_subsampled(data: bytes, rows: int, width: int, subsampling: tuple[int, int]) -> UInt8Array:
    """Return (rows, width, 3) uint8 YCbCr of units that hold several Y and one Cb and Cr."""
    across, down = subsampling
    shape = (-(-rows // down), -(-width // across), across * down + 2)
    if len(data) < np.prod(shape):
        raise ValueError("truncated: a strip or tile is too short")
    units = np.frombuffer(data, np.uint8, int(np.prod(shape))).reshape(shape)
    light = units[..., :-2].reshape(*shape[:2], down, across).swapaxes(1, 2).reshape(shape[0] * down, -1)
    colours = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack([light, colours])[:rows, :width]


def _decompress(data: bytes, row_bytes: int, rows: int, compression: int) -> UInt8Array:
    """Return the (rows, row_bytes) uint8 of one strip or tile."""
    if compression in _DEFLATES:
        data = _inflate(data, rows * row_bytes)
    if compression == 1 or compression in _DEFLATES:
        if len(data) < rows * row_bytes:
            raise ValueError("truncated: a strip or tile is too short")
        return np.frombuffer(data, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    head = b"II*\0\x08\0\0\0"
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    tags[_WIDTH], tags[_HEIGHT], tags[_ROWS] = row_bytes, rows, rows
    tags[_BITS], tags[_SAMPLES], tags[_PHOTOMETRIC], tags[_COMPRESSION] = 8, 1, 1, compression
    tags[_OFFSETS], tags[_COUNTS] = 0, len(data)  # Pillow counts the offset from behind the tags
    # not by Image.open, whose limit of pixels would count bytes here
    return np.array(TiffImagePlugin.TiffImageFile(io.BytesIO(head + tags.tobytes(8) + data)))


def _inflate(data: bytes, most_bytes: int) -> bytes:
    """Return up to `most_bytes` of deflated data, and see to the checksum behind it."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, most_bytes)
        for _ in range(_MOST_SPARE):  # some writers fill up the last strip; damage, too, can lengthen one
            if not unpacker.decompress(unpacker.unconsumed_tail, 1 << 20):
                break
    except zlib.error as error:
        is_sum = "data check" in str(error)
        reason = "the checksum of its pixels is wrong" if is_sum else "its pixels cannot be decoded"
        raise ValueError(f"damaged: {reason}") from error
    return unpacked
