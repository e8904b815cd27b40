"""What the tests of photos draw, write and read again."""

import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

from meisho.images import ImageOptions, load_image
from meisho.photos import Photo
from meisho.signatures import PNG

WIDTH, HEIGHT = 96, 64
X, Y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
COLOURS = np.stack([X, Y, 0.8 * (1 - X)], axis=-1)


def read(content):
    return load_image(Photo("a", "a", content=content), ImageOptions(max_side_px=WIDTH))


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b.astype(float)) ** 2)))


def opaque(colours, alpha=1.0):
    return np.dstack([colours, np.full((HEIGHT, WIDTH), alpha)])


GREY = np.repeat(COLOURS[..., :1], 3, axis=2)
ALPHA = np.where(X < 0.1, 1, 0.5)[..., None]
ON_WHITE = ALPHA * COLOURS + 1 - ALPHA


def encode(image, name, **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def noisy(mode="RGB"):
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return small.resize((320, 240), Image.Resampling.BICUBIC).convert(mode)


def zeroed(data, first, last):
    first, last = int(len(data) * first), int(len(data) * last)
    return data[:first] + bytes(last - first) + data[last:]


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


def packed(values, bits):
    """Return (H, bytes) uint8: whole numbers, (H, ...), of any depth, the first in the highest bits."""
    planes = values.reshape(len(values), -1, 1).astype(np.int64) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(planes.reshape(len(values), -1).astype(np.uint8), axis=1)


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def png(bits, colour_type, values, transparent=b"", *, palette=b"", interlaced=False):
    """Write a PNG of any depth; values are whole numbers, (H, W) or (H, W, C)."""
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour_type, 0, 0, interlaced)
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    rows = [row for y, x, down, across in passes for row in packed(values[y::down, x::across], bits)]
    chunks = [(b"PLTE", palette), (b"tRNS", transparent)]
    extra = b"".join(chunk(kind, body) for kind, body in chunks if body)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return PNG + chunk(b"IHDR", head) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


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


def raw_tiff(planes, bits, samples, photometric, *, order="<", compression=1, tags=()):
    """Write a TIFF of one strip for each of `planes`, bytes; `tags` are number -> (struct's letter, values).

    For what tifffile and Pillow do not write: any depth, reversed bits, few bytes of a palette.
    """
    strips = [zlib.compress(plane) if compression == 8 else plane for plane in planes]
    counts = [len(strip) for strip in strips]
    table = {
        256: ("I", [WIDTH]),
        257: ("I", [HEIGHT]),
        258: ("H", [bits] * samples),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        273: ("I", counts),
        277: ("H", [samples]),
        278: ("I", [HEIGHT]),
        279: ("I", counts),
        284: ("H", [1 if len(planes) == 1 else 2]),
        **dict(tags),
    }
    first = 8 + 2 + 12 * len(table) + 4
    behind = first + sum(size for size in _sizes(table) if size > 4)
    table[273] = ("I", [behind + sum(counts[:number]) for number in range(len(counts))])
    entries, values = b"", b""
    for number in sorted(table):
        letter, numbers = table[number]
        value = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(value) > 4:
            place, values = first + len(values), values + value
            value = struct.pack(f"{order}I", place)
        kind = {"B": 1, "H": 3, "I": 4}[letter]
        entries += struct.pack(f"{order}HHI", number, kind, len(numbers)) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(table))
    return head + entries + bytes(4) + values + b"".join(strips)


def _sizes(table):
    return [struct.calcsize(letter) * len(numbers) for letter, numbers in table.values()]


FOURS = (15 * COLOURS[..., 0]).round().astype(np.uint8)
MANY = {"save_all": True, "append_images": [DRAWN.rotate(180)]}
YCBCR = np.asarray(DRAWN.convert("YCbCr"))


def second_reading(content):
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    fractions = stored / np.iinfo(stored.dtype).max
    colours = fractions if stored.ndim == 3 else np.repeat(fractions[..., None], 3, axis=2)
    alpha = colours[..., 3:] if colours.shape[2] == 4 else np.ones((1, 1, 1))
    return 255 * (colours[..., :3] * alpha + 1 - alpha)[..., ::-1]
