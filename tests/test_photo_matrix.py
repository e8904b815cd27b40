"""Photos of every layout are read as a second decoder reads them, or refused with the true reason.

One table per container: a new kind of photo or of damage is one more line.
"""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from meisho.errors import ImageError
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo
from meisho.signatures import PNG

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
        (np.zeros((HEIGHT, WIDTH, 3), np.uint16), {"photometric": "cielab"}, "CIELab"),
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


# --- What a second decoder, OpenCV, reads: the drawing, how it is written -----------------------------------

BYTES = np.uint8(255 * COLOURS + 0.5)
DEEP = (65535 * COLOURS).astype(">u2")
DRAWN = Image.fromarray(BYTES)
CLEAR = np.where(Y[..., None] < 0.3, np.array([300, 600, 900]), DEEP).astype(">u2")


def draw(mode):
    if mode in ("LA", "RGBA"):
        colours = DRAWN.convert("RGB" if mode == "RGBA" else "L")
        return Image.merge(mode, (*colours.split(), Image.fromarray(np.uint8(255 * ALPHA[..., 0]))))
    return DRAWN.quantize(200) if mode == "P" else DRAWN.convert(mode)


def written(mode, name, **options):
    return lambda: encode(draw(mode), name, **options)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(bits, colour_type, values, transparent=b""):
    """Write a PNG of any depth; values are whole numbers, (H, W) or (H, W, C)."""
    planes = values.reshape(HEIGHT, -1, 1).astype(np.int64) >> np.arange(bits - 1, -1, -1) & 1
    rows = np.packbits(planes.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour_type, 0, 0, 0)
    clear = chunk(b"tRNS", transparent) if transparent else b""
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return PNG + chunk(b"IHDR", head) + clear + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bmp(bits, data, *, compression=0, palette=b"", masks=b"", height=HEIGHT):
    start = 54 + len(masks) + len(palette)
    sizes = (40, WIDTH, height, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
    head = struct.pack("<IHHIIiiHHIIiiII", start + len(data), 0, 0, start, *sizes)
    return b"BM" + head + masks + palette + data


def runs(values, bits):
    pairs = values if bits == 8 else values[:, ::2] << 4 | values[:, 1::2]
    rows = [b"".join(bytes([8 // bits, value]) for value in row) + b"\0\0" for row in pairs[::-1]]
    return b"".join(rows) + b"\0\1"


def netpbm(magic, most, values):
    return b"P%d %d %d %d\n" % (magic, WIDTH, HEIGHT, most) + values.tobytes()


def greys(num):
    return b"".join(bytes([value * 255 // (num - 1)] * 3 + [0]) for value in range(num))


def tiff(stored, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, stored, metadata=None, **options)
    return file.getvalue()


FOURS = (15 * COLOURS[..., 0]).round().astype(np.uint8)
MANY = {"save_all": True, "append_images": [DRAWN.rotate(180)]}
YCBCR = np.asarray(DRAWN.convert("YCbCr"))
SECOND = {
    **{f"PNG, {m}": written(m, "PNG") for m in ("1", "L", "LA", "P", "RGB", "RGBA")},
    **{f"PNG, grey of {b} bits": lambda b=b: png(b, 0, DEEP[..., 0] >> (16 - b)) for b in (1, 2, 4, 8, 16)},
    "PNG, RGB of 16 bits": lambda: png(16, 2, DEEP),
    "PNG, RGBA of 16 bits": lambda: png(16, 6, np.dstack([DEEP, (65535 * ALPHA).astype(int)])),
    "PNG, LA of 16 bits": lambda: png(16, 4, np.dstack([DEEP[..., :1], (65535 * ALPHA).astype(int)])),
    "PNG, one clear colour": lambda: png(8, 2, CLEAR >> 8, struct.pack(">3H", 1, 2, 3)),
    "PNG, one clear entry": written("P", "PNG", transparency=3),
    "APNG": written("RGB", "PNG", **MANY),
    **{f"JPEG, sampling {s}": written("RGB", "JPEG", quality=95, subsampling=s) for s in (0, 1, 2)},
    "JPEG, RGB of Adobe": written("RGB", "JPEG", quality=95, keep_rgb=True),
    "JPEG, CMYK": written("CMYK", "JPEG", quality=95),
    "JPEG, several": written("RGB", "MPO", **MANY),
    "WebP": written("RGB", "WEBP", quality=90),
    "WebP, without loss, alpha": written("RGBA", "WEBP", lossless=True),
    "WebP, several": written("RGB", "WEBP", **MANY),
    "GIF": written("P", "GIF"),
    "GIF, several": written("RGB", "GIF", **MANY),
    **{f"BMP, {m}": written(m, "BMP") for m in ("1", "L", "P", "RGB", "RGBA")},
    "BMP, top first": lambda: bmp(24, BYTES[..., ::-1].tobytes(), height=-HEIGHT),
    "BMP, 4 bits": lambda: bmp(4, (FOURS[::-1, ::2] << 4 | FOURS[::-1, 1::2]).tobytes(), palette=greys(16)),
    "BMP, runs of 8": lambda: bmp(8, runs(BYTES[..., 0], 8), compression=1, palette=greys(256)),
    "BMP, runs of 4": lambda: bmp(4, runs(FOURS, 4), compression=2, palette=greys(16)),
    **{f"Netpbm, {m}": written(m, "PPM") for m in ("1", "L", "RGB")},
    "Netpbm, grey of 16 bits": lambda: netpbm(5, 65535, DEEP[..., 0]),
    "Netpbm, RGB of 16 bits": lambda: netpbm(6, 65535, DEEP),
    **{f"JPEG 2000, {m}": written(m, "JPEG2000") for m in ("L", "RGB", "RGBA")},
    "JPEG 2000, bare": written("RGB", "JPEG2000", no_jp2=True),
    "JPEG 2000, grey of 16 bits": lambda: cv2.imencode(".jp2", DEEP[..., 0].astype("u2"))[1].tobytes(),
    "AVIF": written("RGB", "AVIF", quality=90),
    "TIFF, CMYK": lambda: tiff(np.asarray(draw("CMYK")), photometric="separated"),
    "TIFF, palette": written("P", "TIFF"),
    "TIFF, 1 bit": lambda: tiff(np.asarray(draw("1")), photometric="minisblack"),
    "TIFF, 1 bit, white is 0": lambda: tiff(np.asarray(draw("1")), photometric="miniswhite"),
    "TIFF, fax": written("1", "TIFF", compression="group4"),
    "TIFF, YCbCr": lambda: tiff(YCBCR, photometric="ycbcr", subsampling=(1, 1)),
    "TIFF, YCbCr in JPEG": written("RGB", "TIFF", compression="jpeg"),
    "TIFF, several": lambda: tiff(np.stack([BYTES, BYTES[::-1]]), photometric="rgb"),
}


def second_reading(content):
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    fractions = stored / np.iinfo(stored.dtype).max
    colours = fractions if stored.ndim == 3 else np.repeat(fractions[..., None], 3, axis=2)
    alpha = colours[..., 3:] if colours.shape[2] == 4 else np.ones((1, 1, 1))
    return 255 * (colours[..., :3] * alpha + 1 - alpha)[..., ::-1]


@pytest.mark.parametrize("kind", SECOND)
def test_a_photo_is_read_as_opencv_reads_it(kind):
    content = SECOND[kind]()
    assert psnr(read(content), second_reading(content)) >= 35


def test_a_clear_grey_of_16_bits_is_laid_on_white():
    hidden = 255 * np.where(Y[..., None] < 0.3, 1, GREY)  # OpenCV passes over it: the drawing is the measure
    assert psnr(read(png(16, 0, CLEAR[..., 0], struct.pack(">H", 300))), hidden) >= 35


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_tiff_is_turned_upright_whoever_reads_it(turn, kind):
    tag = (274, "H", 1, turn, True)
    content = tiff((COLOURS * np.iinfo(kind).max).astype(kind), photometric="rgb", extratags=[tag])
    assert psnr(read(content), second_reading(content)) >= 35


REFUSED = {
    "JPEG 2000, RGB of 16 bits": (
        lambda: cv2.imencode(".jp2", DEEP[..., ::-1].astype("u2"))[1].tobytes(),
        "16 bits per colour",
    ),
    "PNG, a clear colour of 16 bits": (
        lambda: png(16, 2, CLEAR, struct.pack(">3H", 300, 600, 900)),
        "16-bit RGB with one transparent colour",
    ),
    "TIFF, CIELab": (lambda: tiff(BYTES, photometric="cielab"), "CIELab"),
    "TIFF, a rare compression": (
        lambda: tiff(BYTES, photometric="rgb", extratags=[]).replace(
            struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 50002)
        ),
        "compression 50002",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_rightly_is_refused_in_words(kind):
    make, reason = REFUSED[kind]
    with pytest.raises(ImageError, match=reason):
        read(make())
