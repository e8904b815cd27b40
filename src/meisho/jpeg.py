"""JPEG: bytes -> pixels, refused where libjpeg had to guess.

Pillow drops what libjpeg warns of, and so shows half a photo, or a shifted one, as whole. `simplejpeg` is the
same libjpeg-turbo, gives the same pixels to the bit, and raises on a warning. Missing end markers alone harm
no pixel: one is appended where the file does not end in one.
"""

import re
from typing import IO

import numpy as np
import simplejpeg
from PIL import Image

MAX_SCANS = 100
"""Progressive encoders write about 10; each costs the time of a whole photo, however few bytes it has."""

JPEG2000_MAGICS = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
_END = b"\xff\xd9"
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
        ValueError: It ends too early, is damaged, or has too many scans; the message says which.
    """
    file = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    data = file.read()
    if data.count(b"\xff\xda") > MAX_SCANS:  # cannot stand in pixels, where 00 follows each ff
        raise ValueError(f"more than {MAX_SCANS} scans: refused, it would take too long to decode")
    width, height = (-(-side // reduction) for side in size)
    pixels = _decode(data, _SPACES[image.mode], width, height)
    if pixels.shape[:2] != (height, width):
        raise ValueError("damaged: its header tells two sizes")
    if image.mode == "CMYK":
        np.invert(pixels, out=pixels)  # stored as light, as Adobe does it, and as Pillow reads all of them
    return Image.frombuffer(image.mode, (width, height), pixels, "raw", image.mode, 0, 1)


def refuse_deep_colours(file: IO[bytes]) -> None:
    """Refuse a JPEG 2000 of colours beyond 8 bits, whose white Pillow shows as black; deep greys are right.

    Raises:
        ValueError: It is such a file.
    """
    head = file.read(1 << 16)
    file.seek(0)
    sizes = head[head.find(JPEG2000_MAGICS[0]) :][40:]  # from the number of components on
    if int.from_bytes(sizes[:2], "big") > 1 and len(sizes) > 2 and (sizes[2] & 127) + 1 > 8:
        depth = (sizes[2] & 127) + 1
        raise ValueError(f"a JPEG 2000 of {depth} bits per colour is not supported; save it as 8 bits")


def _decode(data: bytes, space: str, width: int, height: int) -> np.ndarray:
    whole = data if data.endswith(_END) else data + _END

    def decode(*, strict: bool) -> np.ndarray:
        pixels: np.ndarray = simplejpeg.decode_jpeg(
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
