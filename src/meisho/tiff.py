"""TIFF beyond 8 bits: the layouts that Pillow reads wrongly or not at all.

libtiff only unpacks here: each strip or tile is shown to Pillow as one grey picture of bytes, whatever it
holds, and what these bytes mean is said below, once for all layouts: depth, sign or float, byte order,
predictor, planes apart or together, tiles or strips, photometric, alpha.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from meisho.arrays import UInt8Array

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess  # what Pillow's own `load` returns

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NUMBERS = {1: "u", 2: "i", 3: "f", 4: "u"}  # SampleFormat; 4 is "undefined"
_COMPRESSIONS = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, deflate, PackBits, LZMA, Zstandard
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # Photometric -> number of colours: white is 0, black is 0, RGB, CMYK
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _FORMAT = 322, 323, 338, 339
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation of EXIF and TIFF -> what turns the photo upright; 1 and everything else: nothing."""


@dataclass(frozen=True)
class _Layout:
    """How the samples of a TIFF lie."""

    width: int
    height: int
    dtype: np.dtype
    samples: int
    colours: int
    photometric: int
    is_planar: bool
    compression: int
    predictor: int
    tile: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    alpha: int
    orientation: int


class DeepTiff(ImageFile.ImageFile):
    """A TIFF whose samples are unpacked here; its size is the upright one, as that of Pillow's."""

    format = "TIFF"
    format_description = "TIFF read by meisho"

    def _open(self) -> None:
        assert self.fp is not None  # Pillow opens it before it calls this
        self._layout = _read_layout(self.fp)
        self._mode = "RGB"
        size = self._layout.width, self._layout.height
        self._size = size[::-1] if self._layout.orientation >= 5 else size

    def load(self) -> "PixelAccess | None":
        """Decode the picture, once, and turn it upright."""
        if self._im is None and self.fp is not None:
            picture = _to_image(_unpack(self.fp, self._layout), self._layout)
            if self._layout.orientation in UPRIGHT:
                picture = picture.transpose(UPRIGHT[self._layout.orientation])
            self._mode, self._im = picture.mode, picture.im
        return Image.Image.load(self)


def is_deep(file: IO[bytes]) -> bool:
    """Whether a TIFF is one of those that this module reads.

    Raises:
        ValueError: Nobody here can read it; the message says why.
    """
    tags = _read_tags(file)
    bits, numbers = set(_all(tags, _BITS, 1)), set(_all(tags, _FORMAT, 1))
    photometric = tags.get(_PHOTOMETRIC)
    planar = tags.get(_PLANAR, 1) == 2 and tags.get(_SAMPLES, 1) > 1
    _refuse_unknown(tags, bits)
    is_plain = bits <= {1, 2, 4, 8} and numbers <= {1, 4}
    if is_plain and not (planar and (bits != {8} or photometric != 2 or tags.get(_SAMPLES) != 3)):
        return False
    said = f"{'/'.join(map(str, sorted(bits)))} bits"
    if photometric not in _COLOURS:
        raise ValueError(
            f"a TIFF of {said} and photometric {photometric} is not supported; save it as 8 bits"
        )
    if tags.get(_COMPRESSION, 1) not in _COMPRESSIONS:
        raise ValueError(f"a TIFF of {said} and compression {tags.get(_COMPRESSION)} is not supported")
    if len(bits) > 1 or len(numbers) > 1 or not numbers <= {*_NUMBERS}:
        raise ValueError(f"a TIFF whose samples differ in kind ({said}) or are complex is not supported")
    kind = _NUMBERS[min(numbers)]
    if min(bits) not in ((16, 32, 64) if kind == "f" else (8, 16, 32)):
        raise ValueError(f"a TIFF of {said} per sample is not supported; save it as 8 or 16 bits")
    return True


def _refuse_unknown(tags: TiffImagePlugin.ImageFileDirectory_v2, bits: set[int]) -> None:
    photometric, compression = tags.get(_PHOTOMETRIC), tags.get(_COMPRESSION, 1)
    if photometric in (8, 9, 10) and bits == {8}:  # the same numbers are other colours under another white
        raise ValueError("a TIFF of CIELab colours is not supported; save it as RGB")
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        raise ValueError(f"a TIFF of compression {compression} is not supported; save it with LZW or none")
    if photometric == 2 and max(bits) < 8:
        raise ValueError(f"a colour TIFF of {max(bits)} bits per sample is not supported; save it as 8 bits")


def _read_tags(file: IO[bytes]) -> TiffImagePlugin.ImageFileDirectory_v2:
    file.seek(0)
    head = file.read(8)
    if 43 in head[2:4]:
        head += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _all(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return tuple(value) if isinstance(value, tuple) else (value,)


def _read_layout(file: IO[bytes]) -> _Layout:
    tags = _read_tags(file)
    bits, number = _all(tags, _BITS, 1)[0], _all(tags, _FORMAT, 1)[0]
    width, height, photometric = tags[_WIDTH], tags[_HEIGHT], tags[_PHOTOMETRIC]
    is_tiled = _TILE_WIDTH in tags
    tile = (tags[_TILE_WIDTH], tags[_TILE_HEIGHT]) if is_tiled else (width, tags.get(_ROWS, height))
    samples, colours = tags.get(_SAMPLES, 1), _COLOURS[photometric]
    if min(width, height, *tile, samples - colours + 1) < 1:
        raise ValueError("damaged: a size in its header is 0, or it has fewer samples than colours")
    if tile[0] * (tile[1] if is_tiled else min(tile[1], height)) * samples > 8 * max(width * height, 1 << 19):
        raise ValueError(
            "its strips or tiles are far larger than its picture: refused as a decompression bomb"
        )
    extra = _all(tags, _EXTRA, 0)
    return _Layout(
        width=width,
        height=height,
        dtype=np.dtype(f"{'<' if tags.prefix == b'II' else '>'}{_NUMBERS[number]}{bits // 8}"),
        samples=samples,
        colours=colours,
        photometric=photometric,
        is_planar=tags.get(_PLANAR, 1) == 2 and samples > 1,
        compression=tags.get(_COMPRESSION, 1),
        predictor=tags.get(_PREDICTOR, 1),
        tile=tile if is_tiled else (width, min(tile[1], height)),
        offsets=_all(tags, 324 if is_tiled else _OFFSETS, 0),
        counts=_all(tags, 325 if is_tiled else _COUNTS, 0),
        alpha=extra[0] if samples > colours and extra[0] in (1, 2) else 0,
        orientation=tags.get(_ORIENTATION, 1) if tags.get(_ORIENTATION, 1) in UPRIGHT else 1,
    )


def _unpack(file: IO[bytes], layout: _Layout) -> UInt8Array:
    """Return (H, W, C) uint8, the colours and the alpha if there is one."""
    kept = layout.colours + (layout.alpha > 0)
    pixels = np.zeros((layout.height, layout.width, kept), np.uint8)
    white = _white(file, layout)
    for x, y, plane, values in _tiles(file, layout):
        first, last = (plane, plane + 1) if layout.is_planar else (0, kept)
        for channel in range(first, min(last, kept)):
            is_float_alpha = channel == layout.colours and layout.dtype.kind == "f"
            part = _to_8_bits(values[..., channel - first], 1.0 if is_float_alpha else white)
            pixels[y : y + part.shape[0], x : x + part.shape[1], channel] = part
    return pixels


def _to_8_bits(values: np.ndarray, white: float) -> UInt8Array:
    deep = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return (np.clip(deep, 0, white) * np.float32(255 / white) + np.float32(0.5)).astype(np.uint8)


def _white(file: IO[bytes], layout: _Layout) -> float:
    """Return the value of white: the greatest of 8 and 16 bits; beyond, 65535 or 1, or the brightest."""
    if layout.dtype.kind != "f" and layout.dtype.itemsize <= 2:
        return float(np.iinfo(layout.dtype).max)
    white = 1.0 if layout.dtype.kind == "f" else 65535.0
    counted = layout.colours + (layout.alpha > 0 and layout.dtype.kind != "f")
    for *_, plane, values in _tiles(file, layout):
        if plane < counted:
            seen = values[..., : 1 if layout.is_planar else counted]
            white = max(white, float(np.max(seen, where=np.isfinite(seen), initial=0)))
    return white


def _tiles(file: IO[bytes], layout: _Layout) -> Iterator[tuple[int, int, int, np.ndarray]]:
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
        values = _values(data, rows, layout)
        yield x, y, plane, values[: layout.height - y, : layout.width - x]


def _values(data: bytes, rows: int, layout: _Layout) -> np.ndarray:
    channels = 1 if layout.is_planar else layout.samples
    row_bytes = layout.tile[0] * channels * layout.dtype.itemsize
    if layout.tile[1] != rows and layout.compression == 1 and len(data) >= layout.tile[1] * row_bytes:
        rows = layout.tile[1]
    packed = _decompress(data, row_bytes, rows, layout.compression)
    shape = (rows, layout.tile[0], channels)
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


def _decompress(data: bytes, row_bytes: int, rows: int, compression: int) -> UInt8Array:
    """Return the (rows, row_bytes) uint8 of one strip or tile."""
    if compression == 1:
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


def _to_image(pixels: UInt8Array, layout: _Layout) -> Image.Image:
    """Make a picture of the samples: grey, RGB or CMYK, and their alpha."""
    colours = pixels[..., : layout.colours]
    if layout.photometric == 0:
        colours = 255 - colours
    if layout.alpha == 0 or layout.photometric == 5 or not pixels[..., -1].any():
        return Image.fromarray(
            np.ascontiguousarray(colours[..., 0] if layout.colours == 1 else colours),
            "CMYK" if layout.colours == 4 else None,
        )
    layers = np.concatenate(
        [np.repeat(colours, 3, 2) if layout.colours == 1 else colours, pixels[..., -1:]], axis=2
    )
    if layout.alpha == 1:  # colours are multiplied by alpha already
        return Image.frombuffer("RGBa", (layout.width, layout.height), layers, "raw", "RGBa", 0, 1).convert(
            "RGBA"
        )
    return Image.fromarray(layers)
