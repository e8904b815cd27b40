"""PNG: bytes -> the chunks that make the picture, each checked; metadata cannot decide whether it is read."""

import io
import zlib
from collections.abc import Iterator

from meisho.signatures import PNG

_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_ORIENTED = (b"Raw profile type ", b"XML:com.adobe.xmp\0")  # keywords of texts that may hold the EXIF turn
_MAX_TEXT_BYTES = 1000  # inflates to 1 MB at most


def keep_picture(data: bytes) -> io.BytesIO:
    """Return the PNG with nothing but its picture and its EXIF.

    Raises:
        ValueError: A chunk of the picture is damaged, or the file ends within one.
    """
    kept: list[bytes | memoryview] = [PNG]
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
            kept.append(_make_chunk(kind, body))
    kept.append(_make_chunk(b"IEND", b""))
    return io.BytesIO(b"".join(kept))


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
