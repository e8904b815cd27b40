"""Malformed photos for the fuzz tests: one seeded folder of valid photos, spoilt copies and oddities."""

import io
import os
import socket
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

KINDS = [
    ("jpg", "RGB", {}),
    ("jpg", "CMYK", {}),
    ("jpg", "L", {"progressive": True}),
    ("png", "RGBA", {}),
    ("png", "I;16", {}),
    ("png", "P", {}),
    ("gif", "P", {"animated": True}),
    ("webp", "RGBA", {}),
    ("webp", "RGB", {"lossless": True, "animated": True}),
    ("tif", "RGB", {"compression": "tiff_lzw"}),
    ("tif", "CMYK", {}),
    ("tif", "L", {"compression": "jpeg"}),
    ("bmp", "RGB", {}),
    ("ppm", "L", {}),
    ("jp2", "RGB", {}),
    ("avif", "RGB", {}),
    ("heic", "RGB", {}),
]


def encode(rng, ending, mode, *, animated=False, **options):
    """One valid photo of random content, with EXIF, as a file's bytes."""
    width, height = (int(side) for side in rng.integers(20, 160, 2))
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height))
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(1, 9))
    if ending not in ("gif", "bmp", "ppm", "jp2"):
        options["exif"] = exif.tobytes()
    if animated:
        options |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    file = io.BytesIO()
    if ending == "heic":
        pytest.importorskip("pillow_heif").from_pillow(image).save(file, **options)
    else:
        names = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}
        image.save(file, names.get(ending, ending.upper()), **options)
    return file.getvalue()


def truncate(rng, data):
    return data[: int(rng.integers(len(data)))]


def flip_bits(rng, data):
    spoilt = np.frombuffer(data, np.uint8).copy()
    where = rng.integers(len(spoilt), size=int(rng.integers(1, 9)))
    spoilt[where] ^= np.uint8(1) << rng.integers(8, size=len(where), dtype=np.uint8)
    return spoilt.tobytes()


def spoil_header(rng, data):
    spoilt = np.frombuffer(data, np.uint8).copy()
    spoilt[rng.integers(min(len(data), 200), size=3)] = rng.integers(256, size=3)
    return spoilt.tobytes()


def cut_out(rng, data):
    first, last = sorted(rng.integers(len(data) + 1, size=2))
    return data[:first] + data[last:]


def insert_noise(rng, data):
    where = int(rng.integers(len(data)))
    return data[:where] + rng.bytes(int(rng.integers(1, 200))) + data[where:]


def empty(rng, data):
    return b""


def make_noise(rng, data):
    return data[:12] + rng.bytes(300)


def inflate_size(rng, data):
    """Claim a huge size where the header of a PNG, GIF or BMP holds it; elsewhere spoil two bytes."""
    where = {b"\x89P": 16, b"GI": 6, b"BM": 18}.get(data[:2], int(rng.integers(len(data) - 8)))
    return (
        data[:where]
        + bytes([0, 0, 234, 96, 0, 0, 234, 96])[: 4 if data[:2] == b"GI" else 8]
        + data[where + 8 :]
    )


MUTATIONS = [truncate, flip_bits, spoil_header, cut_out, insert_noise, empty, make_noise, inflate_size]


def write_oddities(folder):
    """What a disk holds besides malformed bytes; returns the number of entries that look like photos."""
    (folder / "folder.jpg").mkdir()
    (folder / "broken.jpg").symlink_to(folder / "gone.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "again").symlink_to(folder)
    (folder / "again.jpg").symlink_to(folder)
    (folder / "locked.jpg").write_bytes(b"x")
    (folder / "locked.jpg").chmod(0)
    (folder / "locked").mkdir(mode=0)
    chunk = zlib.compress(bytes(40_000_000))
    header = b"\0\0\xea\x60" * 2 + bytes([1, 0, 0, 0, 0])
    png = [(b"IHDR", header), (b"IDAT", chunk), (b"IEND", b"")]
    body = b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in png
    )
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
    if sys.platform == "linux":
        (folder / os.fsdecode(b"not-text-\xff\xfe.jpg")).write_bytes(b"\xff\xd8\xff")
        (folder / "device.jpg").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as unix:
            here = os.open(folder, os.O_RDONLY)  # a socket's path may not be long
            unix.bind(f"/proc/self/fd/{here}/socket.jpg")
            os.close(here)


def write_malformed_folder(folder):
    """Write more than 1,300 malformed and 102 valid photos; returns the valid ones' names."""
    pytest.importorskip("pillow_heif")
    rng = np.random.default_rng(20240229)
    valid = set()
    bases = [
        (ending, encode(rng, ending, mode, **options)) for _ in range(5) for ending, mode, options in KINDS
    ]
    for number, (ending, data) in enumerate(bases):
        (folder / f"{number:03}-valid.{ending}").write_bytes(data)
        valid.add(f"{number:03}-valid.{ending}")
        for mutation in MUTATIONS * 2:
            name = f"{number:03}-{mutation.__name__}-{rng.integers(10**9)}.{ending}"
            (folder / name).write_bytes(mutation(rng, data))
    swapped = [(folder / f"{n:03}-swapped.{KINDS[n % 7][0]}", data) for n, (_, data) in enumerate(bases[:17])]
    for path, data in swapped:
        path.write_bytes(data)
        valid.add(path.name)  # the content decides, not the ending
    write_oddities(folder)
    return valid
