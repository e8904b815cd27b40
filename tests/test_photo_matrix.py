"""Photos of every layout are read as a second decoder reads them, or refused with the true reason.

One table per container: a new kind of photo or of damage is one more line.
"""

import io
import struct

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from meisho.errors import ImageError
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo
from photo_drawings import (
    ALPHA,
    BYTES,
    CLEAR,
    COLOURS,
    DEEP,
    FOURS,
    GREY,
    HEIGHT,
    MANY,
    ON_WHITE,
    WIDTH,
    YCBCR,
    X,
    Y,
    bmp,
    draw,
    encode,
    greys,
    netpbm,
    noisy,
    opaque,
    packed,
    png,
    psnr,
    raw_tiff,
    read,
    runs,
    second_reading,
    tiff,
    written,
    zeroed,
)

# --- TIFF: what is stored, as fractions of white; tifffile's options; what is shown -------------------------

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


# --- TIFF of any depth: what is stored, as fractions of white; photometric; what is shown -------------------

INK = np.dstack([1 - COLOURS, np.zeros((HEIGHT, WIDTH))])
PACKED_COLOURS = {
    "grey": (COLOURS[..., :1], 1, (), GREY),
    "white is 0": (1 - COLOURS[..., :1], 0, (), GREY),
    "RGB": (COLOURS, 2, (), COLOURS),
    "CMYK": (INK, 5, (), COLOURS),
    "grey, alpha": (np.dstack([COLOURS[..., :1], ALPHA]), 1, (2,), ALPHA * GREY + 1 - ALPHA),
    "RGB, alpha": (np.dstack([COLOURS, ALPHA]), 2, (2,), ON_WHITE),
    "CMYK, alpha": (np.dstack([INK, ALPHA]), 5, (2,), ON_WHITE),
    "RGB, a sample of no meaning, alpha": (np.dstack([COLOURS, 1 - ALPHA, ALPHA]), 2, (0, 2), ON_WHITE),
}


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("colours", PACKED_COLOURS)
def test_a_tiff_of_any_depth_is_read_as_tifffile_reads_it(colours, bits):
    """Its samples stand as tifffile unpacks them; what they mean is the drawing's, in as many steps."""
    fractions, photometric, extra, _ = PACKED_COLOURS[colours]
    stored = (fractions * (2**bits - 1)).round().astype(int)
    tags = {338: ("H", extra)} if extra else {}
    shown = PACKED_COLOURS[colours][3] if bits >= 6 else show_steps(colours, stored / (2**bits - 1))
    for order in "<>":
        for compression in (1, 8):
            for planes in ([stored], [stored[..., place] for place in range(stored.shape[-1])]):
                written_planes = [pack_samples(plane, bits, order) for plane in planes]
                content = raw_tiff(
                    written_planes,
                    bits,
                    stored.shape[-1],
                    photometric,
                    order=order,
                    compression=compression,
                    tags=tags,
                )
                if bits not in (6, 10, 14) or compression == 1:
                    second = tifffile.imread(io.BytesIO(content)).astype(int)
                    second = np.moveaxis(second, 0, -1) if len(planes) > 1 else second
                    assert np.array_equal(second.reshape(stored.shape), stored)
                assert psnr(read(content), 255 * shown) >= 34, (order, compression, len(planes))


def pack_samples(plane, bits, order):
    """Return bytes: whole bytes stand in the order of the file, other depths from the highest bit on."""
    if bits == 16:
        return plane.astype(f"{order}u2").tobytes()
    return packed(plane, bits).tobytes()


def show_steps(colours, fractions):
    """Return what is shown of `PACKED_COLOURS` in the few steps that a small depth has."""
    _, photometric, extra, _ = PACKED_COLOURS[colours]
    num_colours = {2: 3, 5: 4}.get(photometric, 1)
    shown = fractions[..., :num_colours]
    if photometric in (0, 5):
        shown = 1 - shown[..., :3]
    alpha = fractions[..., -1:] if extra else 1
    return np.broadcast_to(shown * alpha + 1 - alpha, (HEIGHT, WIDTH, 3))


# --- JPEG ---------------------------------------------------------------------------------------------------


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


def cut_before_scan(number, end):
    """Return a cut of a progressive JPEG: `number` scans, and what is put behind them."""
    data = encode_jpeg("progressive")
    starts = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]
    return data[: starts[number]] + end


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("number", range(1, 10))
def test_a_progressive_jpeg_that_is_cut_between_scans_is_refused(number, end):
    with pytest.raises(ImageError, match="ends before the last scan"):
        read(cut_before_scan(number, end))


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


def fields(masks, order="<u4", fractions=COLOURS):
    """Write a BMP of 16 or 32 bits whose colours stand where the masks say; and 0 beside them."""
    pixels = np.zeros((HEIGHT, WIDTH), np.int64)
    for channel, mask in enumerate(masks):
        low = mask & -mask
        pixels |= (fractions[::-1, :, channel] * (mask // low)).round().astype(np.int64) * low
    kind = np.dtype(order)
    return bmp(
        8 * kind.itemsize, pixels.astype(kind).tobytes(), compression=3, masks=struct.pack("<3I", *masks)
    )


def ascii_netpbm(magic, most, values):
    numbers = b" ".join(
        b"%d" % value + b"\n" * (place % 12 == 11) for place, value in enumerate(values.ravel())
    )
    return b"P%d\n# drawn\n%d %d\n" % (magic, WIDTH, HEIGHT) + (b"%d\n" % most if most else b"") + numbers


def ycck():
    ink = 255 - np.asarray(draw("CMYK"))  # Adobe stores light
    return imagecodecs.jpeg8_encode(ink, level=95, colorspace="CMYK", outcolorspace="YCCK")


def subsampled_tiff(down, across):
    units = [
        np.append(YCBCR[y : y + down, x : x + across, 0], YCBCR[y, x, 1:]).tobytes()
        for y in range(0, HEIGHT, down)
        for x in range(0, WIDTH, across)
    ]
    return raw_tiff([b"".join(units)], 8, 3, 6, tags={530: ("H", [across, down])})


def jpeg_tiff(mode, photometric, **options):
    return lambda: tiff(np.asarray(draw(mode)), photometric=photometric, compression="jpeg", **options)


def small_frame():
    """A GIF whose first frame covers but a part of it; the rest is clear."""
    frame = encode(draw("P").crop((0, 0, 48, 32)), "GIF")
    return frame[:6] + struct.pack("<HH", WIDTH, HEIGHT) + frame[10:]


SECOND = {
    **{
        f"PNG, interlaced, grey of {b} bits": lambda b=b: png(b, 0, DEEP[..., 0] >> (16 - b), interlaced=True)
        for b in (1, 2, 4, 8, 16)
    },
    **{
        f"PNG, interlaced, palette of {b} bits": lambda b=b: png(
            b, 3, DEEP[..., 0] >> (16 - b), palette=bytes(range(3 << b)), interlaced=True
        )
        for b in (1, 2, 4)
    },
    "PNG, interlaced, RGB of 16 bits": lambda: png(16, 2, DEEP, interlaced=True),
    "PNG, interlaced, RGBA": lambda: png(8, 6, np.asarray(draw("RGBA")), interlaced=True),
    "JPEG, grey": written("L", "JPEG", quality=95),
    "JPEG, restarts": written("RGB", "JPEG", quality=95, restart_marker_blocks=2),
    "JPEG, progressive": written("RGB", "JPEG", quality=95, progressive=True),
    "JPEG, YCCK": ycck,
    "BMP, 5-5-5": lambda: fields((0x7C00, 0x3E0, 0x1F), "<u2"),
    "BMP, 5-6-5": lambda: fields((0xF800, 0x7E0, 0x1F), "<u2"),
    "BMP, 32 bits, top first": lambda: bmp(
        32, opaque(BYTES[..., ::-1], 0).astype("u1").tobytes(), height=-HEIGHT
    ),
    "Netpbm, ASCII, 1 bit": lambda: ascii_netpbm(1, 0, (BYTES[..., 0] < 128).astype(int)),
    "Netpbm, ASCII, grey": lambda: ascii_netpbm(2, 255, BYTES[..., 0]),
    "Netpbm, ASCII, RGB": lambda: ascii_netpbm(3, 255, BYTES),
    "AVIF, grey": written("L", "AVIF", quality=95),
    "AVIF, alpha": written("RGBA", "AVIF", quality=95),
    "TIFF, YCbCr, 2 × 2": lambda: subsampled_tiff(2, 2),
    "TIFF, YCbCr, 1 × 2": lambda: subsampled_tiff(1, 2),
    "TIFF, grey in JPEG": jpeg_tiff("L", "minisblack"),
    "TIFF, RGB in JPEG": jpeg_tiff("RGB", "rgb", rowsperstrip=16),
    "TIFF, YCbCr in JPEG tiles": jpeg_tiff("RGB", "ycbcr", tile=(32, 32), subsampling=(2, 2)),
    "TIFF, fax, group 3": written("1", "TIFF", compression="group3"),
    "TIFF, palette of low bytes": lambda: raw_tiff(
        [BYTES[..., 0].tobytes()], 8, 1, 3, tags={320: ("H", np.tile(np.arange(256), 3))}
    ),
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


@pytest.mark.parametrize("kind", SECOND)
def test_a_photo_is_read_as_opencv_reads_it(kind):
    content = SECOND[kind]()
    assert psnr(read(content), second_reading(content)) >= 35


# --- What OpenCV does not read, or reads otherwise: the drawing is the measure ------------------------------

OLD_COPY = [(255, "H", 1, 2, True)]
AS_DRAWN = {
    "BMP, fields, 32 bits": (lambda: fields((0xFF0000, 0xFF00, 0xFF)), lambda: BYTES),
    "BMP, fields at the other end": (lambda: fields((0xFF000000, 0xFF0000, 0xFF00)), lambda: BYTES),
    "AVIF, 10 bits": (
        lambda: imagecodecs.avif_encode((DEEP >> 6).astype("u2"), level=95, bitspersample=10),
        lambda: BYTES,
    ),
    **{
        f"TIFF, {name}": (lambda name=name: tiff(BYTES, photometric="rgb", compression=name), lambda: BYTES)
        for name in ("zstd", "lzma")
    },
    **{
        f"TIFF, palette of {b} bits": (
            lambda b=b: raw_tiff(
                [packed(DEEP[..., 0] >> (16 - b), b).tobytes()],
                b,
                1,
                3,
                tags={320: ("H", np.tile(np.linspace(0, 65535, 1 << b).astype(int), 3))},
            ),
            lambda b=b: np.repeat((DEEP[..., :1] >> (16 - b)) * 255.0 / (2**b - 1), 3, 2),
        )
        for b in (1, 2, 4, 8)
    },
    **{
        f"PNG, grey of {b} bits, a clear one": (
            lambda b=b: png(b, 0, DEEP[..., 0] >> (16 - b), struct.pack(">H", b > 1)),
            lambda b=b: with_clear(DEEP[..., :1] >> (16 - b), b > 1, b),
        )
        for b in (1, 2, 4, 8)
    },
    "GIF, a clear colour": (
        lambda: encode(half_clear(), "GIF", transparency=0),
        lambda: np.where(Y[..., None] < 0.3, 255, np.asarray(half_clear().convert("RGB"))),
    ),
    "GIF, a small first frame": (
        small_frame,
        lambda: np.pad(
            np.asarray(draw("P").convert("RGB"), int)[:32, :48],
            ((0, 32), (0, 48), (0, 0)),
            constant_values=-1,
        ),
    ),
    "DIB": (lambda: bmp(24, BYTES[::-1, :, ::-1].tobytes())[14:], lambda: BYTES),
    **{
        f"Netpbm, RGB up to {most}": (
            lambda most=most, kind=kind: netpbm(6, most, (most * COLOURS).round().astype(kind)),
            lambda: BYTES,
        )
        for most, kind in [(100, "u1"), (254, "u1"), (256, ">u2")]
    },
    "Netpbm, grey up to 4095": (
        lambda: netpbm(5, 4095, (4095 * COLOURS[..., 0]).round().astype(">u2")),
        lambda: 255 * GREY,
    ),
    "PFM": (
        lambda: b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + COLOURS[::-1, :, 0].astype("<f4").tobytes(),
        lambda: 255 * GREY,
    ),
    "Netpbm, ASCII, RGB of 10 bits": (
        lambda: ascii_netpbm(3, 1023, (1023 * COLOURS).round().astype(int)),
        lambda: BYTES,
    ),
    "TIFF, YCbCr, planes apart": (
        lambda: raw_tiff([YCBCR[..., c].tobytes() for c in range(3)], 8, 3, 6, tags={530: ("H", [1, 1])}),
        lambda: BYTES,
    ),
    "TIFF, RGB in JPEG, planes apart": (
        lambda: tiff(
            np.moveaxis(BYTES, -1, 0), photometric="rgb", compression="jpeg", planarconfig="separate"
        ),
        lambda: BYTES,
    ),
    "TIFF, CMYK in JPEG": (
        jpeg_tiff("CMYK", "separated"),
        lambda: np.asarray(draw("CMYK").convert("RGB")),
    ),
    "TIFF, palette of 16 bits": (
        lambda: raw_tiff(
            [(DEEP[..., 0] // 257 * 257).astype("<u2").tobytes()],
            16,
            1,
            3,
            tags={320: ("H", np.tile(np.arange(65536), 3))},
        ),
        lambda: 255 * GREY,
    ),
    **{
        f"TIFF of {b} bits, reversed": (
            lambda b=b: raw_tiff(
                [reversed_bits(pack_samples(DEEP[..., 0] >> (16 - b), b, "<"))],
                b,
                1,
                1,
                tags={266: ("H", [2])},
            ),
            lambda b=b: np.repeat((DEEP[..., :1] >> (16 - b)) * 255.0 / (2**b - 1), 3, 2),
        )
        for b in (1, 2, 4, 8, 12, 16)
    },
    "TIFF, grey, alpha multiplied": (
        lambda: tiff(
            np.uint8(255 * np.dstack([ALPHA * COLOURS[..., :1], ALPHA])),
            photometric="minisblack",
            extrasamples=["assocalpha"],
        ),
        lambda: 255 * (ALPHA * GREY + 1 - ALPHA),
    ),
    **{
        f"TIFF, white is {most}": (
            lambda most=most, shown=shown: tiff(
                (COLOURS * shown).round().astype("u2"),
                photometric="rgb",
                extratags=[(281, "H", 3, (most,) * 3, True)],
            ),
            lambda shown=shown, white=white: BYTES * (shown / white),
        )
        for most, shown, white in [(4095, 4095, 4095), (1023, 1023, 1023), (40000, 40000, 65535)]
    },
    **{
        f"TIFF, floats up to {white}, a spark of {spark}": (
            lambda white=white, spark=spark: tiff(sparked(white, spark), photometric="rgb"),
            lambda: BYTES,
        )
        for white, spark in [(1, 1), (1, 1e30), (255, 255), (255, 1e9), (1, 40), (1, -1e30), (1, np.inf)]
    },
    "PFM, a spark": (
        lambda: b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + sparked(9, 1e9)[::-1, :, 0].astype("<f4").tobytes(),
        lambda: 255 * GREY,
    ),
    **{
        f"TIFF, {first}, then the picture, {kind}": (
            lambda small=small, tags=tags, kind=kind: pages_behind(small, tags, kind),
            lambda: BYTES,
        )
        for first, (small, tags) in {
            "a smaller copy": (BYTES, {"photometric": "rgb", "subfiletype": 1}),
            "a mask": (X > 0.5, {"photometric": "minisblack", "subfiletype": 4}),
            "a smaller copy in old words": (BYTES, {"photometric": "rgb", "extratags": OLD_COPY}),
        }.items()
        for kind in ("u1", "u2")
    },
    "TIFF, a smaller copy alone": (
        lambda: tiff(BYTES, photometric="rgb", subfiletype=1),
        lambda: BYTES,
    ),
    "BigTIFF, big endian": (
        lambda: tiff(BYTES, photometric="rgb", bigtiff=True, byteorder=">"),
        lambda: BYTES,
    ),
}


def sparked(white, spark):
    """Return floats in which one pixel lies far beyond the others."""
    values = (COLOURS * white).astype(np.float32)
    values[3, 90] = spark
    return values


def pages_behind(small, tags, kind):
    """Write a TIFF whose first two pages are small, marked by `tags`; the picture is the third."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as pages:
        for _ in range(2):
            pages.write(small[::-4, ::4], metadata=None, **tags)
        pages.write((COLOURS * np.iinfo(kind).max).astype(kind), photometric="rgb", metadata=None)
    return file.getvalue()


def with_clear(steps, clear, bits):
    return np.repeat(np.where(steps == clear, 255, steps * 255.0 / (2**bits - 1)), 3, axis=2)


def half_clear():
    return Image.fromarray(np.uint8(np.where(Y < 0.3, 0, 1 + X * 200))).convert("P")


def reversed_bits(data):
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()


@pytest.mark.parametrize("kind", AS_DRAWN)
def test_a_photo_is_read_as_it_was_drawn(kind):
    make, expected = AS_DRAWN[kind]
    shown, seen = expected().astype(float), read(make()).astype(float)
    seen[shown < 0] = -1  # what a small frame leaves open
    assert psnr(seen, shown) >= 35


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_heic_is_read_as_opencv_reads_avif(mode):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(draw(mode)).save(file, quality=95)
    assert psnr(read(file.getvalue()), second_reading(encode(draw(mode), "PNG"))) >= 35


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
    "PNG, colours beyond its palette": (
        lambda: png(8, 3, DEEP[..., 0] >> 8, palette=bytes(300)),
        "damaged: it names colours that its palette of 100 lacks",
    ),
    **{
        f"Netpbm, values beyond {most}": (
            lambda magic=magic, most=most, values=values: netpbm(magic, most, values),
            f"damaged: it holds values beyond {most}",
        )
        for magic, most, values in [
            (5, 100, BYTES[..., 0]),
            (6, 254, BYTES),
            (5, 4095, DEEP[..., 0]),
            (6, 65534, np.full_like(DEEP, 65535)),
        ]
    },
    "JPEG of 12 bits": (
        lambda: imagecodecs.jpeg_encode((DEEP >> 4).astype("u2"), bitspersample=12),
        "12 bits per colour",
    ),
    "JPEG without loss": (lambda: imagecodecs.jpeg_encode(BYTES, lossless=True), "JPEG without loss"),
    "JPEG without loss, of 16 bits": (
        lambda: imagecodecs.jpeg_encode(DEEP.astype("u2"), lossless=True, bitspersample=16),
        "JPEG without loss",
    ),
    "JPEG-LS": (lambda: imagecodecs.jpegls_encode(BYTES), "JPEG-LS"),
    "JPEG XL": (lambda: imagecodecs.jpegxl_encode(BYTES), "its format, JPEG XL, is not read"),
    "JPEG XR": (lambda: imagecodecs.jpegxr_encode(BYTES), "its format, JPEG XR, is not read"),
    "QOI": (lambda: imagecodecs.qoi_encode(BYTES), "its format, QOI, is not read"),
    "ICO": (written("RGB", "ICO"), "its format, ICO, is not read"),
    "PAM": (
        lambda: b"P7\nWIDTH 96\nHEIGHT 64\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + BYTES.tobytes(),
        "its format, PAM, is not read",
    ),
    "PFM of colours": (lambda: b"PF\n96 64\n-1.0\n" + bytes(96 * 64 * 12), "colour PFM, is not read"),
    "a film": (lambda: b"\0\0\0\x18ftypmp42" + bytes(999), "its format, video, is not read"),
    "BMP of rare fields": (lambda: fields((0xF00, 0xF0, 0xF), "<u2"), "BMP bit fields of this kind"),
    "BMP of 2 bits": (lambda: bmp(2, bytes(24 * 64), palette=greys(4)), "BMP of 2 bits"),
    "TIFF, JPEG of 12 bits": (
        lambda: tiff(
            (DEEP[..., 0] >> 4).astype("u2"),
            photometric="minisblack",
            compression="jpeg",
            compressionargs={"bitspersample": 12},
        ),
        "12 bits and compression 7",
    ),
    "TIFF, WebP": (lambda: tiff(BYTES, photometric="rgb", compression="webp"), r"50001 \(WebP\)"),
    "TIFF, JPEG 2000": (lambda: tiff(BYTES, photometric="rgb", compression="jpeg2000"), r"\(JPEG 2000\)"),
    "TIFF of 24 bits": (lambda: raw_tiff([bytes(96 * 64 * 3)], 24, 1, 1), "24 bits per sample"),
    "TIFF, other inks": (
        lambda: raw_tiff([bytes(96 * 64 * 6)], 8, 6, 5, tags={332: ("H", [2])}),
        "other inks than CMYK",
    ),
    "TIFF, subsampled planes": (
        lambda: raw_tiff([bytes(96 * 64)] * 3, 8, 3, 6, tags={530: ("H", [2, 2])}),
        "subsampled YCbCr",
    ),
    "TIFF of a sensor": (lambda: tiff(BYTES[..., 0], photometric="cfa"), "photometric 32803"),
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
