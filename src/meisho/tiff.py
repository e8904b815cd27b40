"""TIFF: which are read here, and how their samples lie; the layouts that Pillow reads wrongly or not at all.

Pillow reads the ordinary ones. What the samples of the others mean is said here and in `meisho.strips`, once
for all layouts: depth, sign or float, byte order, planes apart or together, photometric, alpha.
"""

import io
from typing import IO, TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from meisho.arrays import UInt8Array
from meisho.orientations import UPRIGHT
from meisho.strips import JPEG, Layout, unpack

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess  # what Pillow's own `load` returns

_REDUCED, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_OLD_KIND, _MOST = 255, 281
_PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 320, 322, 323, 324, 325
_INKS, _EXTRA, _FORMAT, _JPEG_TABLES, _SUBSAMPLING = 332, 338, 339, 347, 530

_NEEDED = {_WIDTH, _HEIGHT}
_STRUCTURE = _NEEDED | {_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _OFFSETS, _SAMPLES, _ROWS, _COUNTS}
_STRUCTURE |= {_PLANAR, _PREDICTOR, _PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS}
_STRUCTURE |= {_INKS, _EXTRA, _FORMAT, _JPEG_TABLES, _SUBSAMPLING}
_MOST_TAGS = 4096
_MOST_PAGES = 64
_COPIES = {1, 3, 4, 5, 6, 7}  # NewSubfileType: bit 0 is a smaller copy, bit 2 a mask
_DEPTHS_OF_WHITE = {(1 << bits) - 1 for bits in range(8, 17)}

_NUMBERS = {1: "u", 2: "i", 3: "f", 4: "u"}  # SampleFormat; 4 is "undefined"
_DEPTHS = {"u": {*range(1, 17), 32}, "i": {8, 16, 32}, "f": {16, 32, 64}}
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
"""Photometric -> number of colours: white is 0, black is 0, RGB, palette, CMYK, YCbCr."""

_DEFLATES = {8, 32946}
_COMPRESSIONS = {1, 5, 32773, 34925, 50000} | _DEFLATES  # none, LZW, PackBits, LZMA, Zstandard
_BY_PILLOW = {2, 3, 4, 6, 7, 32771, 32809} | _COMPRESSIONS  # and fax, JPEG, ThunderScan
_NAMES = {
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "JPEG of DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",  # which libtiff can be built with, and seldom is
    50002: "JPEG XL",
}

_Tags = TiffImagePlugin.ImageFileDirectory_v2


class DeepTiff(ImageFile.ImageFile):
    """A TIFF whose samples are unpacked here; its size is the upright one, as that of Pillow's."""

    format = "TIFF"
    format_description = "TIFF read by meisho"

    def __init__(self, file: IO[bytes], layout: Layout, orientation: int) -> None:
        self._layout, self._orientation = layout, orientation
        super().__init__(file)

    def _open(self) -> None:
        self._mode = "RGB"
        size = self._layout.width, self._layout.height
        self._size = size[::-1] if self._orientation >= 5 else size

    def load(self) -> "PixelAccess | None":
        """Decode the picture, once, and turn it upright."""
        if self._im is None and self.fp is not None:
            picture = _to_image(unpack(self.fp, self._layout), self._layout)
            if self._orientation in UPRIGHT:
                picture = picture.transpose(UPRIGHT[self._orientation])
            self._mode, self._im = picture.mode, picture.im
        return Image.Image.load(self)


def open_deep(file: IO[bytes]) -> DeepTiff | IO[bytes]:
    """Open a TIFF that is read here; for one that Pillow reads rightly, return a file to be opened by it.

    What is read is the first page that is neither a smaller copy of another nor a mask.

    Raises:
        ValueError: Nobody here can read it; the message says why.
    """
    number, tags = _find_page(file)
    _refuse_unknown(tags)
    if _is_for_pillow(tags) and not _is_big_both_ways(file):
        return file if number == 0 else _begin_with(file, tags)
    _refuse_strange(tags)
    orientation = tags.get(_ORIENTATION, 1)
    return DeepTiff(file, _read_layout(tags), orientation if orientation in UPRIGHT else 1)


def _find_page(file: IO[bytes]) -> tuple[int, _Tags]:
    """Return the number and the tags of the page to be read; the first where all are copies or masks."""
    first = _read_tags(file)
    tags, seen = first, {0}
    for number in range(_MOST_PAGES):
        if tags.get(_REDUCED) not in _COPIES and tags.get(_OLD_KIND) != 2:
            return number, tags
        if tags.next in seen:
            break
        seen.add(tags.next)
        tags = _read_tags(file, tags.next)
    return 0, first


def _begin_with(file: IO[bytes], page: _Tags) -> IO[bytes]:
    """Return a copy of the file whose first page is the given one: Pillow may refuse what stands before."""
    file.seek(0)
    data = bytearray(file.read())
    order: Literal["little", "big"] = "little" if page.prefix == b"II" else "big"
    place = slice(8, 16) if 43 in data[2:4] else slice(4, 8)
    data[place] = page.offset.to_bytes(place.stop - place.start, order)
    return io.BytesIO(data)


def _read_tags(file: IO[bytes], place: int | None = None) -> _Tags:
    """Return the tags of the page at `place`, or of the first; Pillow passes over those it cannot read."""
    file.seek(0)
    head = file.read(16)
    is_big = 43 in head[2:4]
    tags = _Tags(b"II+\0" + head[4:] if is_big else head[:8], head[:2])  # it takes MM and 43 for small ones
    file.seek(tags.next if place is None else place)
    tags.load(file)
    if not tags.keys() >= _NEEDED or _listed_tags(file, tags, is_big=is_big) & _STRUCTURE - tags.keys():
        raise ValueError("truncated or damaged: its table of contents cannot be read")
    return tags


def _listed_tags(file: IO[bytes], tags: _Tags, *, is_big: bool) -> set[int]:
    """Return the numbers of all tags that the table of contents lists, with values or without."""
    count_bytes, entry_bytes = (8, 20) if is_big else (2, 12)
    order: Literal["little", "big"] = "little" if tags.prefix == b"II" else "big"
    file.seek(tags.offset)
    num_tags = min(int.from_bytes(file.read(count_bytes), order), _MOST_TAGS)
    entries = file.read(num_tags * entry_bytes)
    return {int.from_bytes(entries[n : n + 2], order) for n in range(0, len(entries), entry_bytes)}


def _is_big_both_ways(file: IO[bytes]) -> bool:
    """Whether it is a BigTIFF of big-endian numbers, of which Pillow cannot read the table of contents."""
    file.seek(0)
    return file.read(4) == b"MM\0+"


def _all(tags: _Tags, tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return tuple(value) if isinstance(value, tuple) else (value,)


def _describe_bits(tags: _Tags) -> str:
    return "/".join(map(str, sorted(set(_all(tags, _BITS, 1))))) + " bits"


def _refuse_unknown(tags: _Tags) -> None:
    """Refuse what neither Pillow nor this module reads."""
    photometric, compression = tags.get(_PHOTOMETRIC), tags.get(_COMPRESSION, 1)
    if photometric is None:
        raise ValueError("damaged: this TIFF does not say what its colours are (no photometric)")
    if photometric in (8, 9, 10):  # the same numbers are other colours under another white
        raise ValueError("a TIFF of CIELab colours is not supported; save it as RGB")
    if photometric not in _COLOURS:
        said = f"{_describe_bits(tags)} and photometric {photometric}"
        raise ValueError(f"a TIFF of {said} is not supported; save it as RGB")
    num_extra = len(_all(tags, _EXTRA, 0)) if _EXTRA in tags else 0
    if photometric == 5 and (tags.get(_INKS, 1) != 1 or tags.get(_SAMPLES, 1) - num_extra != 4):
        raise ValueError("a TIFF of other inks than CMYK is not supported; save it as RGB")
    if compression not in _BY_PILLOW:
        name = f"{compression} ({_NAMES[compression]})" if compression in _NAMES else compression
        raise ValueError(f"a TIFF of compression {name} is not supported; save it with LZW or none")


def _is_for_pillow(tags: _Tags) -> bool:
    """Whether Pillow reads it rightly: one of its layouts, up to 8 bits, no checksum to see to."""
    bits, numbers = _all(tags, _BITS, 1), _all(tags, _FORMAT, 1)
    photometric, samples = tags[_PHOTOMETRIC], tags.get(_SAMPLES, 1)
    if max(bits) > 8 or not {*numbers} <= {1, 4} or (photometric == 5 and samples > 4):
        return False
    if tags.get(_PLANAR, 1) == 2 and samples > 1 and (photometric, samples, {*bits}) != (2, 3, {8}):
        return False
    if photometric == 3 and max(_all(tags, _PALETTE, 65535)) < 256:  # Pillow takes the high bytes: black
        return False
    compression = tags.get(_COMPRESSION, 1)
    if compression == JPEG or (compression in _DEFLATES and photometric != 6):
        return False
    if (photometric == 6 and compression == 1) or (photometric < 2 and _all(tags, _EXTRA, 0) == (1,)):
        return False
    return _is_in_pillows_table(tags)


def _is_in_pillows_table(tags: _Tags) -> bool:
    bits, extra = _all(tags, _BITS, 1), _all(tags, _EXTRA, 0) if _EXTRA in tags else ()
    samples, photometric = tags.get(_SAMPLES, 1), tags[_PHOTOMETRIC]
    if len(bits) == 1:
        bits *= samples
    spare = {2: 3, 6: 3, 5: 4}.get(photometric, 1)
    extra = (extra + (0,) * samples)[: max(0, samples - spare)] if samples > spare and not extra else extra
    key = (tags.prefix, photometric, (1,), tags.get(_FILL_ORDER, 1), bits, extra)
    return key in TiffImagePlugin.OPEN_INFO


def _refuse_strange(tags: _Tags) -> None:
    """Refuse what this module does not read."""
    bits, numbers, photometric = _all(tags, _BITS, 1), _all(tags, _FORMAT, 1), tags[_PHOTOMETRIC]
    said = f"a TIFF of {_describe_bits(tags)}"
    if len({*bits}) > 1 or len({*numbers}) > 1 or not {*numbers} <= {*_NUMBERS}:
        raise ValueError(f"{said} whose samples differ in kind or are complex is not supported")
    if tags.get(_COMPRESSION, 1) not in _COMPRESSIONS | ({JPEG} if bits[0] == 8 else set()):
        raise ValueError(f"{said} and compression {tags.get(_COMPRESSION)} is not supported")
    channels = 1 if tags.get(_PLANAR, 1) == 2 else tags.get(_SAMPLES, 1)
    if tags.get(_COMPRESSION) == JPEG and channels not in (1, 3, 4):
        raise ValueError(f"a TIFF of {channels} samples in JPEG is not supported; save it with LZW or none")
    kind = _NUMBERS[numbers[0]]
    if bits[0] not in _DEPTHS[kind] or (photometric in (3, 6) and (kind != "u" or bits[0] > 16)):
        raise ValueError(f"{said} per sample is not supported; save it as 8 or 16 bits")
    if tags.get(_PREDICTOR, 1) != 1 and bits[0] % 8:
        raise ValueError(f"{said} with a predictor is not supported; save it as 8 or 16 bits")


def _read_layout(tags: _Tags) -> Layout:
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
    extra = _all(tags, _EXTRA, 0)[: samples - colours]
    is_planar = tags.get(_PLANAR, 1) == 2 and samples > 1
    is_ycbcr_jpeg = photometric == 6 and tags.get(_COMPRESSION) == JPEG and not is_planar
    alphas = [place for place, meaning in enumerate(extra) if meaning in (1, 2)]
    return Layout(
        width=width,
        height=height,
        bits=_all(tags, _BITS, 1)[0],
        kind=_NUMBERS[_all(tags, _FORMAT, 1)[0]],
        order="<" if tags.prefix == b"II" else ">",
        is_reversed=tags.get(_FILL_ORDER, 1) == 2,
        samples=samples,
        colours=colours,
        photometric=2 if is_ycbcr_jpeg else photometric,
        is_planar=is_planar,
        compression=tags.get(_COMPRESSION, 1),
        predictor=tags.get(_PREDICTOR, 1),
        tile=tile if is_tiled else (width, min(tile[1], height)),
        offsets=_all(tags, _TILE_OFFSETS if is_tiled else _OFFSETS, 0),
        counts=_all(tags, _TILE_COUNTS if is_tiled else _COUNTS, 0),
        alpha=colours + alphas[0] if alphas else None,
        is_multiplied=bool(alphas) and extra[alphas[0]] == 1,
        palette=_read_palette(tags) if photometric == 3 else None,
        jpeg_tables=bytes(tags.get(_JPEG_TABLES, b"")),
        is_ycbcr_jpeg=is_ycbcr_jpeg,
        subsampling=_read_subsampling(tags),
        white=_read_white(tags),
    )


def _read_white(tags: _Tags) -> int | None:
    """Return the greatest value where it says that its samples have fewer bits than are stored.

    By the standard, the greatest value is but a statistic: it is taken where it is the greatest of a depth.
    """
    most = {*_all(tags, _MOST, 0)}
    return int(max(most)) if len(most) == 1 and most <= _DEPTHS_OF_WHITE else None


def _read_palette(tags: _Tags) -> UInt8Array:
    """Return the (N, 3) uint8 colours; some writers fill but the low bytes of what are 16 bits."""
    values = np.array(_all(tags, _PALETTE, 0), np.uint32)
    if len(values) != 3 << _all(tags, _BITS, 1)[0]:
        raise ValueError("damaged: its palette has another size than its depth asks for")
    return (values if values.max() < 256 else values >> 8).astype(np.uint8).reshape(3, -1).T


def _read_subsampling(tags: _Tags) -> tuple[int, int]:
    """Return how many pixels, across and down, share their colour; 1, 1 where libjpeg sees to it."""
    if tags[_PHOTOMETRIC] != 6 or tags.get(_COMPRESSION, 1) == JPEG:
        return 1, 1
    is_plain = tags.get(_COMPRESSION, 1) == tags.get(_PLANAR, 1) == 1 and _all(tags, _BITS, 1)[0] == 8
    if _SUBSAMPLING in tags:
        across, down, *_ = *_all(tags, _SUBSAMPLING, 1), 1
    else:  # 2, 2 by rule, unless there are enough bytes for all
        counts = _all(tags, _TILE_COUNTS if _TILE_WIDTH in tags else _COUNTS, 0)
        across = down = 2 if is_plain and sum(counts) < 3 * tags[_WIDTH] * tags[_HEIGHT] else 1
    is_known = is_plain and tags.get(_SAMPLES) == 3 and {across, down} <= {1, 2, 4}
    if (across, down) != (1, 1) and not is_known:
        raise ValueError("a TIFF of this subsampled YCbCr is not supported; save it as RGB")
    return across, down


def _to_image(pixels: UInt8Array, layout: Layout) -> Image.Image:
    """Make a picture of the samples: grey, RGB or CMYK, and their alpha."""
    num_colours = 3 if layout.palette is not None else layout.colours
    colours = pixels[..., :num_colours]
    if layout.photometric == 0:
        colours = 255 - colours
    mode = {1: "L", 4: "CMYK"}.get(num_colours, "YCbCr" if layout.photometric == 6 else "RGB")
    size = layout.width, layout.height
    picture = Image.frombuffer(mode, size, np.ascontiguousarray(colours), "raw", mode, 0, 1)
    if mode == "YCbCr":
        picture = picture.convert("RGB")
    if layout.alpha is None or not pixels[..., -1].any():
        return picture
    alpha = Image.fromarray(np.ascontiguousarray(pixels[..., -1]))
    bands = (*picture.convert("RGB").split(), alpha)
    if layout.is_multiplied:
        layers = np.dstack([np.asarray(band) for band in bands])
        return Image.frombuffer("RGBa", size, layers, "raw", "RGBa", 0, 1).convert("RGBA")
    return Image.merge("RGBA", bands)
