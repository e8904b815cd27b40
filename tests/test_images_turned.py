"""A photo that says how it is turned is shown upright, once, whichever container says it and however."""

import io

import numpy as np
import pytest
from PIL import Image

from meisho.images import read_size
from meisho.photos import Photo
from photo_drawings import (
    BYTES,
    DEEP,
    DRAWN,
    HEIGHT,
    WIDTH,
    chunk,
    encode,
    packed,
    psnr,
    raw_tiff,
    read,
    tiff,
)

SENSOR = {  # EXIF orientation -> how the sensor saw an upright picture (EXIF 2.32, 4.6.4.A: row 0, column 0)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def stored(turn, pixels=BYTES):
    return np.ascontiguousarray(SENSOR[turn](pixels))


def exif(turn):
    tags = Image.Exif()
    tags[0x0112] = turn
    return tags


def saved(name, **options):
    return lambda turn: encode(Image.fromarray(stored(turn)), name, exif=exif(turn), **options)


def save_mpo(turn):
    return saved("MPO", quality=95, save_all=True, append_images=[DRAWN])(turn)


def save_heic(turn):
    """Write the turn as boxes that turn and mirror, and the EXIF that a camera writes beside them."""
    file = io.BytesIO()
    picture = pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(stored(turn)))
    picture.save(file, quality=95, exif=exif(turn).tobytes())
    assert (b"irot" in file.getvalue() or b"imir" in file.getvalue()) == (turn != 1)
    assert b"Exif" in file.getvalue()
    return file.getvalue()


def save_png_by_text(turn):
    """Write a PNG that keeps its EXIF as text in hexadecimal digits, as ImageMagick did."""
    body = b"Exif\0\0" + exif(turn).tobytes().removeprefix(b"Exif\0\0")
    text = b"\nexif\n%8d\n" % len(body) + body.hex().encode() + b"\n"
    plain = encode(Image.fromarray(stored(turn)), "PNG")
    return plain[:33] + chunk(b"tEXt", b"Raw profile type exif\0" + text) + plain[33:]


def tiff_turned(pixels, **options):
    def write(turn):
        return tiff(stored(turn, pixels), extratags=[(274, "H", 1, turn, True)], **options)

    return write


def tiff_of_12_bits(turn):
    values = stored(turn, DEEP[..., 0].astype(int) >> 4)
    tags = {
        256: ("I", [values.shape[1]]),
        257: ("I", [values.shape[0]]),
        274: ("H", [turn]),
        278: ("I", [len(values)]),
    }
    return raw_tiff([packed(values, 12).tobytes()], 12, 1, 1, tags=tags)


RGB = {"photometric": "rgb"}
TURNED = {
    "JPEG": saved("JPEG", quality=95, subsampling=0),
    "MPO": save_mpo,
    "PNG": saved("PNG"),
    "PNG, as text": save_png_by_text,
    "WebP": saved("WEBP", quality=95),
    "WebP, without loss": saved("WEBP", lossless=True),
    "AVIF": saved("AVIF", quality=95),
    "HEIC": save_heic,
    "TIFF": tiff_turned(BYTES, **RGB),
    "TIFF, LZW": tiff_turned(BYTES, compression="lzw", **RGB),
    "TIFF, deflate": tiff_turned(BYTES, compression="zlib", **RGB),
    "TIFF, JPEG": tiff_turned(BYTES, compression="jpeg", **RGB),
    "TIFF, 16 bits": tiff_turned(DEEP.astype("u2"), **RGB),
    "TIFF, 16 bits, tiles": tiff_turned(DEEP.astype("u2"), tile=(32, 32), **RGB),
    "TIFF, 12 bits": tiff_of_12_bits,
}


@pytest.mark.parametrize("turn", SENSOR)
@pytest.mark.parametrize("container", TURNED)
def test_a_photo_is_turned_upright_once(container, turn):
    content = TURNED[container](turn)
    upright = np.repeat(BYTES[..., :1], 3, 2) if container == "TIFF, 12 bits" else BYTES
    assert read_size(Photo("a", "a", content=content)) == (WIDTH, HEIGHT)
    assert psnr(read(content), upright) >= 35
