"""JPEG: bytes -> pixels, refused where libjpeg had to guess.

Pillow drops what libjpeg warns of, and so shows half a photo, or a shifted one, as whole. `simplejpeg` is the
same libjpeg-turbo, gives the same pixels to the bit, and raises on a warning. Missing end markers alone harm
no pixel: one is appended where the file does not end in one.
"""

import re
from collections.abc import Iterator
from typing import IO

import numpy as np
import simplejpeg
from PIL import Image

from meisho.arrays import UInt8Array
from meisho.signatures import JPEG2000

_STRANGE = {
    **dict.fromkeys((0xC3, 0xCB), "without loss"),  # 0xCB: and arithmetic coding
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "in layers of several sizes"),
    0xF7: "without loss (JPEG-LS)",
}
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of which one tells the kind and the size
_PROGRESSIVE = {0xC2, 0xCA}
_ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a length

MAX_SCANS = 100
"""Progressive encoders write about 10; each costs the time of a whole photo, however few bytes it has."""

_HOLE_BYTES = 128
_END = b"\xff\xd9"
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"  # and a byte: 0 for colours as they are, 1 for YCbCr
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
_HARMLESS = re.compile(
    r"Corrupt JPEG data: (\d|1[0-6]) extraneous bytes before marker 0xd9"  # filled up at the end
    r"|Unknown Adobe color transform|Warning: unknown JFIF revision"
)


def decode_jpeg(image: Image.Image, size: tuple[int, int], reduction: int) -> Image.Image:
    """Return the pixels of an opened JPEG at 1/`reduction` of its size, (width, height) px, rounded up.

    Args:
        image: The JPEG, opened by Pillow and not loaded.
        size: Its full width and height as stored, px.
        reduction: 1, 2, 4 or 8.

    Raises:
        ValueError: It ends too early, is damaged, has too many scans, or is of a kind that is not read; the
            message says which.
    """
    file = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    data = file.read()
    if data.count(b"\xff\xda") > MAX_SCANS:  # cannot stand in pixels, where 00 follows each ff
        raise ValueError(f"more than {MAX_SCANS} scans: refused, it would take too long to decode")
    refuse_strange(data)
    _refuse_missing_scans(data)
    width, height = (-(-side // reduction) for side in size)
    pixels = _decode(data, _SPACES[image.mode], width, height)
    if pixels.shape[:2] != (height, width):
        raise ValueError("damaged: its header tells two sizes")
    if image.mode == "CMYK":
        np.invert(pixels, out=pixels)  # stored as light, as Adobe does it, and as Pillow reads all of them
    return Image.frombuffer(image.mode, (width, height), pixels, "raw", image.mode, 0, 1)


def refuse_strange(data: bytes) -> None:
    """Refuse a JPEG of a kind that is not read: asked for less than its full size, libjpeg may even crash.

    Raises:
        ValueError: It is such a file.
    """
    for marker, depth in _frames(data):
        if marker in _STRANGE:
            raise ValueError(f"a JPEG {_STRANGE[marker]} is not supported; save it as an ordinary JPEG")
        if depth != 8:
            raise ValueError(f"a JPEG of {depth} bits per colour is not supported; save it as 8 bits")


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the depth in bits of each frame before the first scan."""
    for marker, first, _ in _segments(data):
        if marker in _FRAMES:
            yield marker, int.from_bytes(data[first + 4 : first + 5])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, the start and the end of each segment before the first scan, as libjpeg does."""
    start = 2
    while (start := data.find(b"\xff", start)) >= 0:
        while data[start + 1 : start + 2] == b"\xff":
            start += 1
        marker, size = data[start + 1 : start + 2], data[start + 2 : start + 4]
        if marker in (b"", b"\xda", b"\xd9") or len(size) < 2:
            return
        end = start + 2 + (0 if marker[0] in _ALONE else int.from_bytes(size))
        yield marker[0], start, end
        start = end


def _refuse_missing_scans(data: bytes) -> None:
    """Refuse a progressive JPEG that was cut between two scans: libjpeg shows it blurred, without a warning.

    Coefficients whose first bits were sent and whose last were not tell it. Those that were never sent are
    lawful zeros, unless the file has no end either.
    """
    segments = [*_segments(data)]
    frame = next((start for marker, start, _ in segments if marker in _PROGRESSIVE), None)
    if frame is None:
        return
    components = data[frame + 10 : frame + 10 + 3 * data[frame + 9] : 3]
    begun, ended = dict.fromkeys(components, 0), dict.fromkeys(components, 0)
    places, has_end = _find_scans(data, max(end for *_, end in segments))
    for place in places:
        num_components = data[place + 4] if place + 4 < len(data) else 0
        head = data[place + 5 : place + 8 + 2 * num_components]
        if len(head) < 3 + 2 * num_components:
            break
        first, last, bits = head[-3:]
        coefficients = (2 << (last & 63)) - (1 << (first & 63))
        for component in head[:-3:2]:
            begun[component] = begun.get(component, 0) | coefficients
            ended[component] = ended.get(component, 0) | (0 if bits & 15 else coefficients)
    is_whole = all(sent == (1 << 64) - 1 for sent in ended.values())
    if begun != ended or not (has_end or is_whole):
        raise ValueError("truncated: it ends before the last scan of its picture")


def _find_scans(data: bytes, start: int) -> tuple[list[int], bool]:
    """Return the places of all scans of the first picture, and whether it has an end."""
    values = np.frombuffer(data, np.uint8)[start:]
    marks = np.flatnonzero(values[:-1] == 0xFF)  # three times as fast as to search for two bytes
    kinds = values[marks + 1]
    ends, scans = marks[kinds == 0xD9], marks[kinds == 0xDA]
    return (start + (scans[scans < ends[0]] if len(ends) else scans)).tolist(), len(ends) > 0


def refuse_deep_colours(file: IO[bytes]) -> None:
    """Refuse a JPEG 2000 of colours beyond 8 bits, whose white Pillow shows as black; deep greys are right.

    Raises:
        ValueError: It is such a file.
    """
    head = file.read(1 << 16)
    file.seek(0)
    sizes = head[head.find(JPEG2000[0]) :][40:]  # from the number of components on
    if int.from_bytes(sizes[:2], "big") > 1 and len(sizes) > 2 and (sizes[2] & 127) + 1 > 8:
        depth = (sizes[2] & 127) + 1
        raise ValueError(f"a JPEG 2000 of {depth} bits per colour is not supported; save it as 8 bits")


def decode_strip(
    tables: bytes, data: bytes, shape: tuple[int, int, int], *, is_ycbcr: bool = False
) -> UInt8Array:
    """Return the samples of a strip or tile of a TIFF: (H, W, C) uint8, C is 1, 3 or 4.

    Args:
        tables: The JPEG's tables, as the TIFF keeps them; or nothing.
        data: The JPEG of this strip or tile.
        shape: How many rows, columns and channels it has.
        is_ycbcr: It is stored as YCbCr and becomes RGB; else samples are returned as they are.

    Raises:
        ValueError: It is damaged, ends too early, or is of a kind that is not read.
    """
    height, width, channels = shape
    whole = b"\xff\xd8" + _ADOBE + bytes([is_ycbcr]) + _without_notes(tables) + _without_notes(data)
    refuse_strange(whole)
    try:
        high, wide, *_ = simplejpeg.decode_jpeg_header(whole)
    except ValueError as error:
        raise ValueError(f"damaged: {error}") from error
    if not (width <= wide < width + 16 and height <= high < max(height, 2 * height) + 16):
        raise ValueError("damaged: a strip or tile has another size than it should")
    return _decode(whole, {1: "GRAY", 3: "RGB", 4: "CMYK"}[channels], wide, high)[:height, :width]


def _without_notes(data: bytes) -> bytes:
    """Return a JPEG behind its first marker, without what it says of its colours: the TIFF says it."""
    kept, last = [], 2
    for marker, start, end in _segments(data):
        kept.append(b"" if 0xE0 <= marker <= 0xEF else data[start:end])
        last = end
    rest = data[last:]
    return b"".join(kept) + (b"" if rest.startswith(_END) else rest)


def _refuse_zeros(data: bytes) -> None:
    """Refuse a JPEG with a hole of zeros, or which ends in them: they, too, unpack to some picture.

    Zeros are the first code of a table. Where that is not the end of a block, but one more coefficient of
    it, as in the tables that cameras use, no picture holds many: its blocks would be full to the last.
    """
    words = np.frombuffer(data, np.uint64, len(data) // 8)[:: _HOLE_BYTES // 16]  # a hole holds one of these
    if words.all() or bytes(_HOLE_BYTES) not in data:
        return
    segments = [*_segments(data)]
    scan = max((end for *_, end in segments), default=0)
    end = data.find(_END, scan)
    if end < 0 and data.endswith(bytes(_HOLE_BYTES)):
        raise ValueError("damaged: it ends in zeros, before its picture does")
    is_holed = data.find(bytes(_HOLE_BYTES), scan, end if end >= 0 else len(data)) >= 0
    is_sequential = any(marker in (0xC0, 0xC1) for marker, *_ in segments)
    if is_holed and is_sequential and not _can_hold_zeros(data, segments, scan):
        raise ValueError("damaged: there is a hole of zeros in its picture")


def _can_hold_zeros(data: bytes, segments: list[tuple[int, int, int]], scan: int) -> bool:
    """Whether zeros are the end of a block in the tables of all components of the first scan."""
    firsts = {}  # number of a table of AC coefficients -> what its first code stands for
    for marker, start, end in segments:
        place = start + 4
        while marker == 0xC4 and place + 17 < end:
            if data[place] >> 4 == 1:
                firsts[data[place] & 15] = data[place + 17]
            place += 17 + sum(data[place + 1 : place + 17])
    head = data[data.find(b"\xff\xda", scan) + 4 :][:9]
    tables = head[2 : 2 * head[0] + 1 : 2] if head else b""
    return all(firsts.get(table & 15, 0) == 0 for table in tables)


def _decode(data: bytes, space: str, width: int, height: int) -> UInt8Array:
    _refuse_zeros(data)
    whole = data if data.endswith(_END) else data + _END

    def decode(*, strict: bool) -> UInt8Array:
        pixels: UInt8Array = simplejpeg.decode_jpeg(
            whole, space, False, False, min_height=height, min_width=width, min_factor=1, strict=strict
        )
        return pixels

    try:
        return decode(strict=True)
    except ValueError as error:
        reason = " ".join(str(error).split())
        if _HARMLESS.match(reason):
            return decode(strict=False)
        if not data.rstrip(b"\0").endswith(_END) and "remature end" in reason:
            raise ValueError("truncated: it ends before its picture does") from error
        raise ValueError(f"damaged: {reason}") from error
