"""A damaged photo is refused; where its container has no checksum to tell it by, a table below says so."""

import io
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from meisho.errors import ImageError
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo
from photo_drawings import chunk, encode, noisy, tiff, zeroed

PICTURE = noisy()
PIXELS = np.asarray(PICTURE)
MANY = {"save_all": True, "append_images": [PICTURE.rotate(180)]}


def encode_heic():
    file = io.BytesIO()
    pytest.importorskip("pillow_heif").from_pillow(PICTURE).save(file, quality=90)
    return file.getvalue()


def saved(name, mode="RGB", **options):
    return lambda: encode(PICTURE.convert(mode), name, **options)


def strips(compression=None, kind="u1"):
    scale = np.iinfo(kind).max // 255
    stored = PIXELS.astype(kind) * np.dtype(kind).type(scale)
    return lambda: tiff(stored, photometric="rgb", compression=compression, rowsperstrip=20)


CONTAINERS = {
    "PNG": saved("PNG"),
    "PNG, interlaced": saved("PNG", interlace=1),
    "APNG": saved("PNG", **MANY),
    "JPEG": saved("JPEG", quality=90),
    "JPEG, progressive": saved("JPEG", quality=90, progressive=True),
    "MPO": saved("MPO", quality=90, **MANY),
    "WebP": saved("WEBP", quality=90),
    "WebP, without loss": saved("WEBP", lossless=True),
    "WebP, several": saved("WEBP", **MANY),
    "GIF": saved("GIF", "P"),
    "GIF, several": saved("GIF", "P", save_all=True, append_images=[PICTURE.rotate(180).convert("P")]),
    "BMP": saved("BMP"),
    "Netpbm": saved("PPM"),
    "JPEG 2000": saved("JPEG2000"),
    "JPEG 2000, bare": saved("JPEG2000", no_jp2=True),
    "AVIF": saved("AVIF", quality=90),
    "HEIC": encode_heic,
    "TIFF": strips(),
    "TIFF, 16 bits": strips(kind="u2"),
    "TIFF, LZW": strips("lzw"),
    "TIFF, LZW, 16 bits": strips("lzw", "u2"),
    "TIFF, deflate": strips("zlib"),
    "TIFF, deflate, 16 bits": strips("zlib", "u2"),
    "TIFF, PackBits": strips("packbits"),
    "TIFF, Zstandard": strips("zstd"),
    "TIFF, LZMA": strips("lzma"),
    "TIFF, JPEG": strips("jpeg"),
    "TIFF, fax": saved("TIFF", "1", compression="group4"),
    "TIFF, its table at the end": saved("TIFF", compression="tiff_lzw"),
}


def flipped(data, seed):
    rng = np.random.default_rng(seed)
    spoilt = np.frombuffer(data, np.uint8).copy()
    spoilt[rng.integers(len(data) // 3, len(data) - 50, 8)] ^= rng.integers(1, 256, 8, dtype=np.uint8)
    return spoilt.tobytes()


CUTS = {
    "a hundredth left": lambda data: data[: len(data) // 100],
    "half cut": lambda data: data[: len(data) // 2],
    "last tenth cut": lambda data: data[: len(data) * 9 // 10],
    "last hundredth cut": lambda data: data[: len(data) * 99 // 100],
    "last 40 bytes cut": lambda data: data[:-40],
    "last byte cut": lambda data: data[:-1],
}
HALF, HOLE, SMALL, FLIPS = "second half zeros", "a hole of zeros", "a small hole of zeros", "flipped bytes"
DAMAGES = {
    HALF: [lambda data: zeroed(data, 0.5, 1)],
    HOLE: [lambda data, at=at: zeroed(data, at, at + 0.1) for at in (0.3, 0.5, 0.7)],
    SMALL: [lambda data, at=at: zeroed(data, at, at + 0.02) for at in (0.3, 0.4, 0.6, 0.7)],
    FLIPS: [lambda data, seed=seed: flipped(data, seed) for seed in range(5)],
}
UNTOLD = {  # where there is no checksum, and any bytes make some picture
    "MPO": {FLIPS},  # as in any JPEG: bits that are flipped make other coefficients
    "WebP": {HOLE, SMALL, FLIPS},
    "WebP, without loss": {HOLE, SMALL, FLIPS},
    "WebP, several": {HOLE, SMALL, FLIPS},
    "GIF, several": {FLIPS},
    "BMP": {HALF, HOLE, SMALL, FLIPS},
    "Netpbm": {HALF, HOLE, SMALL, FLIPS},
    "JPEG 2000": {HOLE, SMALL, FLIPS},
    "JPEG 2000, bare": {HOLE, SMALL, FLIPS},
    "AVIF": {HOLE, SMALL, FLIPS},
    "HEIC": {HOLE, SMALL, FLIPS},
    "TIFF": {HALF, HOLE, SMALL, FLIPS},
    "TIFF, 16 bits": {HALF, HOLE, SMALL, FLIPS},
    "TIFF, LZW": {FLIPS},
    "TIFF, PackBits": {FLIPS},
    "TIFF, Zstandard": {SMALL, FLIPS},
    "TIFF, fax": {HOLE, SMALL, FLIPS},
    "TIFF, its table at the end": {FLIPS},
}
BY_LUCK = {  # told or not by what the bytes happen to be, so that nothing is promised
    "JPEG": {FLIPS},
    "JPEG, progressive": {HOLE, SMALL, FLIPS},
    "GIF": {HOLE, SMALL, FLIPS},
    "GIF, several": {HOLE, SMALL},
    "TIFF, LZW": {HOLE, SMALL},
    "TIFF, LZW, 16 bits": {HOLE, SMALL, FLIPS},
    "TIFF, PackBits": {HOLE, SMALL},
    "TIFF, Zstandard": {HOLE},
    "TIFF, JPEG": {FLIPS},
    "TIFF, its table at the end": {HOLE, SMALL},
}


def reworked(data, change):
    """Return a PNG whose inflated pixels are changed; the checksums of its chunks are right."""
    place = data.index(b"IDAT")
    last = place + 4 + int.from_bytes(data[place - 4 : place], "big")
    packed = change(zlib.decompress(data[place + 4 : last]))
    return data[: place - 4] + chunk(b"IDAT", packed) + data[last + 4 :]


def one_chunk(**options):
    """Return a PNG whose pixels stand in one chunk; its last rows are black."""
    picture = PIXELS.copy()
    picture[-9:] = 0
    data = encode(Image.fromarray(picture), "PNG", **options)
    while (place := data.index(b"IDAT")) and data.count(b"IDAT") > 1:
        data = join_idats(data, place)
    return data


def join_idats(data, place):
    last = place + 4 + int.from_bytes(data[place - 4 : place], "big")
    size = int.from_bytes(data[last + 4 : last + 8], "big")
    joined = data[place + 4 : last] + data[last + 12 : last + 12 + size]
    return data[: place - 4] + chunk(b"IDAT", joined) + data[last + 16 + size :]


ROW = 1 + 3 * PICTURE.width
INNER_DAMAGES = {  # of what is inflated; every chunk has its right checksum
    "half the rows": lambda rows: zlib.compress(rows[: len(rows) // ROW // 2 * ROW]),
    "the last row missing": lambda rows: zlib.compress(rows[:-ROW]),
    "the last byte missing": lambda rows: zlib.compress(rows[:-1]),
    "no row": lambda _: zlib.compress(b""),
    "filter 9": lambda rows: zlib.compress(b"\x09" + rows[1:]),
    "filter 5 in the last row": lambda rows: zlib.compress(rows[:-ROW] + b"\5" + rows[1 - ROW :]),
    "a wrong sum": lambda rows: zlib.compress(rows)[:-4] + b"abcd",
    "no end": lambda rows: zlib.compress(rows)[:-99],
    "no zlib": lambda rows: rows,
}


@pytest.mark.parametrize("damage", INNER_DAMAGES)
@pytest.mark.parametrize("interlace", [0, 1])
def test_a_png_that_is_damaged_within_its_chunks_is_refused(interlace, damage):
    whole = one_chunk(interlace=interlace)
    assert load(reworked(whole, zlib.compress)).shape == PIXELS.shape
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        load(reworked(whole, INNER_DAMAGES[damage]))


def load(data):
    return load_image(Photo("a", "a", content=data), ImageOptions(max_side_px=320))


def read_heic(data):
    """Read by libheif itself: there is no other decoder of HEIC among the packages of the tests."""
    return np.asarray(pytest.importorskip("pillow_heif").open_heif(io.BytesIO(data)))


def read_by_another(data):
    """Return what a second decoder shows, which has no more to go by; None where it refuses."""
    try:
        if data[:2] in (b"II", b"MM"):
            return tifffile.imread(io.BytesIO(data))
        if data[4:8] == b"ftyp":
            is_avif = b"avif" in data[:64]
            return imagecodecs.avif_decode(data) if is_avif else read_heic(data)
    except (ValueError, RuntimeError):
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_photo_that_is_cut_is_refused_or_whole_all_the_same(container, cut):
    """What stands behind the first picture may be lost: later pictures, end marks, notes."""
    whole = CONTAINERS[container]()
    try:
        seen = load(CUTS[cut](whole))
    except ImageError as error:
        assert error.reason.startswith(("truncated", "damaged", "not a photo in a known format"))
    else:
        assert np.array_equal(seen, load(whole))


def is_seen(spoilt, whole):
    """Whether damage is told, or hit what is not the first picture."""
    try:
        return np.array_equal(load(spoilt), load(whole))
    except ImageError as error:
        assert error.reason.startswith(("truncated", "damaged"))
        return True


def rows(*, untold):
    return [
        (container, damage)
        for container in CONTAINERS
        for damage in DAMAGES
        if (damage in UNTOLD.get(container, ())) == untold and damage not in BY_LUCK.get(container, ())
    ]


@pytest.mark.parametrize(("container", "damage"), rows(untold=False))
def test_damage_is_told(container, damage):
    whole = CONTAINERS[container]()
    assert all(is_seen(change(whole), whole) for change in DAMAGES[damage])


@pytest.mark.parametrize(("container", "damage"), rows(untold=True))
def test_what_is_not_told_another_decoder_does_not_tell_either(container, damage):
    whole = CONTAINERS[container]()
    unseen = [spoilt for change in DAMAGES[damage] if not is_seen(spoilt := change(whole), whole)]
    assert any(read_by_another(spoilt) is not None for spoilt in unseen)
