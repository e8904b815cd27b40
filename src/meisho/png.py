"""PNG: bytes -> the chunks that make the picture, each checked -> pixels, of which none is missing.

Metadata cannot decide whether it is read. Pillow tells of a wrong filter or checksum, and of rows that are
missing only where the stream does not end; where it does, it leaves them 0.
"""

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from meisho.signatures import PNG

_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_ORIENTED = (b"Raw profile type ", b"XML:com.adobe.xmp\0")  # keywords of texts that may hold the EXIF turn
_MAX_TEXT_BYTES = 1000  # inflates to 1 MB at most
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps across and down, of the parts of an interlaced PNG, in order."""
_MOST_BYTES = 1 << 20


def keep_picture(data: bytes) -> io.BytesIO:
    """Return the PNG with nothing but its EXIF and its picture, in this order.

    Raises:
        ValueError: A chunk of the picture is damaged, or the file ends within one.
    """
    kept: list[bytes | memoryview] = [PNG]
    notes: list[bytes] = []
    for kind, body, chunk in _chunks(data):
        if kind in _PICTURE:
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
                raise ValueError(f"damaged: the checksum of its {kind.decode()} is wrong")
            if kind == b"tRNS" and len(body) == 6 and kept[1][16:18] == b"\x10\x02":
                raise ValueError(
                    "a PNG of 16-bit RGB with one transparent colour is not supported; give it alpha"
                )
            kept.append(chunk)
        elif (kind == b"eXIf" and len(body) < 1 << 16) or (kind in _TEXTS and _may_turn(body)):
            notes.append(_make_chunk(kind, body))
    kept[2:2] = notes  # before the pixels: Pillow knows them before it decodes
    kept.append(_make_chunk(b"IEND", b""))
    return io.BytesIO(b"".join(kept))


def decode_png(image: Image.Image) -> None:
    """Decode an opened PNG in place.

    Raises:
        ValueError: Its rows are fewer than its header says, or it names colours that its palette lacks.
        OSError: Its pixels cannot be decoded.
    """
    file: io.BytesIO = image.fp  # type: ignore[attr-defined]
    image.load()
    depth = file.getvalue()[24]
    if image.mode == "L" and depth < 8 and "transparency" in image.info:
        image.info["transparency"] *= 255 // ((1 << depth) - 1)  # as Pillow does with the pixels alone
    last_rows = np.asarray(image.crop((0, max(0, image.height - 2), *image.size)))
    if image.info.get("interlace") or not last_rows.reshape(len(last_rows), -1).any(axis=1).all():
        _refuse_short(file.getvalue())  # 0 may be black, or not written to
    if image.mode == "P" and image.palette is not None:
        num_colours = len(image.palette.palette) // 3
        if int(np.asarray(image).max()) >= num_colours:
            raise ValueError(f"damaged: it names colours that its palette of {num_colours} lacks")


def _refuse_short(data: bytes) -> None:
    """Refuse a PNG whose pixels, once inflated, are fewer bytes than its header asks for."""
    missing, unpacker = _pixel_bytes(data[16:29]), zlib.decompressobj()
    for kind, body, _ in _chunks(data):
        rest: bytes | memoryview = body if kind == b"IDAT" else b""
        while missing > 0 and rest and not unpacker.eof:
            missing -= len(unpacker.decompress(rest, _MOST_BYTES))
            rest = unpacker.unconsumed_tail
    if missing > len(unpacker.flush()):
        raise ValueError("truncated: it ends before its picture does")


def _pixel_bytes(head: bytes) -> int:
    """Return the number of bytes of all rows, each with one for its filter, by the body of IHDR."""
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    bits = head[8] * _CHANNELS[head[9]]
    passes = _PASSES if head[12] else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield the kind, the body and the whole of each chunk up to IEND, or up to where metadata breaks off."""
    view, start, has_pixels = memoryview(data), len(PNG), False
    while start + 8 <= len(data):
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if kind == b"IEND":
            return
        if end > len(data):
            if has_pixels and kind not in _PICTURE:
                return
            raise ValueError("truncated: it ends before its picture does")
        has_pixels |= kind == b"IDAT"
        yield kind, view[start + 8 : end - 4], view[start:end]
        start = end


def _may_turn(body: memoryview) -> bool:
    return len(body) <= _MAX_TEXT_BYTES and bytes(body[:20]).startswith(_ORIENTED)


def _make_chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    named = kind + body
    return len(body).to_bytes(4, "big") + named + zlib.crc32(named).to_bytes(4, "big")
