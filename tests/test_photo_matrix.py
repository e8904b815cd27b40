"""Photos of every layout are read as a second decoder reads them, or refused with the true reason.

One table per container: a new kind of photo or of damage is one more line.
"""

import io

import numpy as np
import pytest
from PIL import Image

from meisho.errors import ImageError
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo

tifffile = pytest.importorskip("tifffile")

WIDTH, HEIGHT = 96, 64
X, Y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
COLOURS = np.stack([X, Y, 0.8 * (1 - X)], axis=-1)


def read(content):
    return load_image(Photo("a", "a", content=content), ImageOptions(max_side_px=WIDTH))


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b.astype(float)) ** 2)))


def opaque(colours, alpha=1.0):
    return np.dstack([colours, np.full((HEIGHT, WIDTH), alpha)])


# --- TIFF: what is stored, as fractions of white; tifffile's options; what is shown -------------------------

GREY = np.repeat(COLOURS[..., :1], 3, axis=2)
ALPHA = np.where(X < 0.1, 1, 0.5)[..., None]
ON_WHITE = ALPHA * COLOURS + 1 - ALPHA
TIFF_COLOURS = {
    "RGB": (COLOURS, {"photometric": "rgb"}, COLOURS),
    "grey": (COLOURS[..., 0], {"photometric": "minisblack"}, GREY),
    "white is 0": (1 - COLOURS[..., 0], {"photometric": "miniswhite"}, GREY),
    "RGB, alpha": (np.dstack([COLOURS, ALPHA]), {"extrasamples": ["unassalpha"]}, ON_WHITE),
    "RGB, alpha multiplied": (
        np.dstack([COLOURS * ALPHA, ALPHA]),
        {"extrasamples": ["assocalpha"]},
        ON_WHITE,
    ),
    "RGB, alpha 0 everywhere": (opaque(COLOURS, 0), {"extrasamples": ["unassalpha"]}, COLOURS),
    "RGB, fourth sample of no meaning": (opaque(COLOURS, 0), {"extrasamples": ["unspecified"]}, COLOURS),
    "grey, alpha": (
        opaque(COLOURS[..., :1]),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
        GREY,
    ),
}
TIFF_LAYOUTS = {
    "strips": {"rowsperstrip": 20},
    "one strip": {},
    "tiles": {"tile": (32, 32)},
    "big endian": {"byteorder": ">", "rowsperstrip": 20},
    "BigTIFF": {"bigtiff": True},
    "deflate": {"compression": "zlib", "rowsperstrip": 20},
    "deflate, differences": {"compression": "zlib", "predictor": True, "tile": (32, 32)},
    "LZW, differences, big endian": {"compression": "lzw", "predictor": True, "byteorder": ">"},
    "PackBits": {"compression": "packbits", "rowsperstrip": 7},
}
TIFF_KINDS = ["u1", "u2", "u4", "i1", "i2", "f2", "f4", "f8"]


def encode_tiff(fractions, kind, planar, **options):
    dtype = np.dtype(kind)
    stored = fractions.astype(dtype)
    if dtype.kind != "f":
        stored = (fractions * np.iinfo(dtype).max).round().astype(dtype)
    if stored.ndim == 3:
        options |= {"planarconfig": planar}
        stored = np.moveaxis(stored, -1, 0) if planar == "separate" else stored
    file = io.BytesIO()
    tifffile.imwrite(file, stored, metadata=None, **{"photometric": "rgb", **options})
    return file.getvalue()


@pytest.mark.parametrize("kind", TIFF_KINDS)
@pytest.mark.parametrize("layout", TIFF_LAYOUTS)
@pytest.mark.parametrize("colours", TIFF_COLOURS)
def test_a_tiff_is_read_as_it_was_meant(colours, layout, kind):
    if "differences" in layout or "LZW" in layout or "PackBits" in layout:
        pytest.importorskip("imagecodecs")
    fractions, options, expected = TIFF_COLOURS[colours]
    for planar in ["contig", "separate"][: fractions.ndim - 1]:
        content = encode_tiff(fractions, kind, planar, **options, **TIFF_LAYOUTS[layout])
        assert psnr(read(content), 255 * expected) >= 35, planar


@pytest.mark.parametrize(
    ("stored", "options", "reason"),
    [
        (np.zeros((HEIGHT, WIDTH, 3), np.uint16), {"photometric": "cielab"}, "16 bits and photometric 8"),
        (np.zeros((HEIGHT, WIDTH), np.complex64), {"photometric": "minisblack"}, "are complex"),
        (np.zeros((HEIGHT, WIDTH), np.uint64), {"photometric": "minisblack"}, "64 bits per sample"),
    ],
)
def test_a_tiff_that_cannot_be_read_is_refused_with_the_true_reason(stored, options, reason):
    file = io.BytesIO()
    tifffile.imwrite(file, stored, metadata=None, **options)
    with pytest.raises(ImageError, match=reason):
        read(file.getvalue())


# --- JPEG ---------------------------------------------------------------------------------------------------


def noisy(mode="RGB"):
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return small.resize((320, 240), Image.Resampling.BICUBIC).convert(mode)


JPEG_KINDS = {
    "baseline": ("RGB", {}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "own tables": ("RGB", {"optimize": True}),
    "restarts": ("RGB", {"restart_marker_rows": 1}),
    "grey": ("L", {}),
    "CMYK": ("CMYK", {}),
}


def encode_jpeg(kind):
    mode, options = JPEG_KINDS[kind]
    file = io.BytesIO()
    noisy(mode).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def zeroed(data, first, last):
    first, last = int(len(data) * first), int(len(data) * last)
    return data[:first] + bytes(last - first) + data[last:]


JPEG_DAMAGES = {
    "half cut": lambda data: data[: len(data) // 2],
    "last tenth cut": lambda data: data[: len(data) * 9 // 10],
    "last 40 bytes cut": lambda data: data[:-40],
    "second half is zeros": lambda data: zeroed(data, 0.5, 1),
    "second half is zeros but for the end": lambda data: zeroed(data, 0.5, 1)[:-2] + b"\xff\xd9",
    "a hole of zeros": lambda data: zeroed(data, 0.5, 0.6),
    "a small hole of zeros": lambda data: zeroed(data, 0.7, 0.72),
}
JPEG_HARMLESS = {
    "whole": lambda data: data,
    "lacks its end marker": lambda data: data[:-2],
    "lacks half its end marker": lambda data: data[:-1],
    "zeros behind": lambda data: data + bytes(1000),
    "a film behind": lambda data: data + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9,
}


@pytest.mark.parametrize("damage", JPEG_DAMAGES)
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_damaged_jpeg_is_refused(kind, damage):
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        read(JPEG_DAMAGES[damage](encode_jpeg(kind)))


@pytest.mark.parametrize("change", JPEG_HARMLESS)
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_jpeg_is_read_as_pillow_reads_it_to_the_bit(kind, change):
    data = encode_jpeg(kind)
    image = load_image(Photo("a", "a", content=JPEG_HARMLESS[change](data)), ImageOptions(max_side_px=320))
    assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded():
    data = encode_jpeg("progressive")
    start = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="more than 100 scans"):
        read(data[:start] + data[start:-2] * 200 + b"\xff\xd9")


# --- BMP and PNG --------------------------------------------------------------------------------------------


def encode(image, name, **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["BMP", "PNG", "WEBP", "TIFF"])
def test_an_alpha_that_is_0_everywhere_hides_nothing(name):
    rgba = Image.fromarray(np.uint8(255 * opaque(COLOURS, 0) + 0.5))
    content = encode(rgba, name, **({"lossless": True, "exact": True} if name == "WEBP" else {}))
    assert psnr(read(content), 255 * COLOURS) >= 35


def test_a_damaged_checksum_decides_in_pixels_and_not_in_metadata():
    plain = encode(Image.fromarray(np.uint8(255 * COLOURS + 0.5)), "PNG", dpi=(72, 72))
    for kind in (b"pHYs", b"IDAT"):
        place = plain.index(kind)
        last = place + 4 + int.from_bytes(plain[place - 4 : place], "big")
        spoilt = plain[:last] + bytes([plain[last] ^ 1]) + plain[last + 1 :]
        if kind == b"pHYs":
            assert psnr(read(spoilt), 255 * COLOURS) >= 35
        else:
            with pytest.raises(ImageError, match="checksum of its IDAT is wrong"):
                read(spoilt)
