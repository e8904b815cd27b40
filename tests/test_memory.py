"""What decoding may take: a photo over the budget is named, large ones wait, and time is bounded."""

import io
import os
import platform
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from meisho import decoding
from meisho.decoding import load_images
from meisho.errors import ConfigError, ImageError
from meisho.images import ImageOptions, load_image
from meisho.memory import (
    SMALL_BYTES,
    MemoryBudget,
    count_memory_bytes,
    default_decoding_bytes,
    parse_bytes,
    show_bytes,
)
from meisho.photos import Box, Photo


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500M", 500 * 2**20), ("2G", 2**31), ("1.5g", 3 * 2**29), ("64kb", 2**16), (" 1T ", 2**40)],
)
def test_a_size_is_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "0", "-1G", "nan", "inf", "1e999G", "2X", "two", "1 2", "M2"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="give one such as 500M or 2G"):
        parse_bytes(text)


@pytest.mark.parametrize(("size", "shown"), [(5, "5 bytes"), (2048, "2.0 KB"), (3 * 2**29, "1.5 GB")])
def test_a_size_is_shown(size, shown):
    assert show_bytes(size) == shown


def test_the_default_is_a_share_of_what_the_machine_has():
    assert SMALL_BYTES <= default_decoding_bytes() <= max(SMALL_BYTES, count_memory_bytes() / 4)


def test_a_part_waits_until_there_is_room():
    budget, entered = MemoryBudget(100), []
    started = threading.Event()

    def take_the_rest():
        started.set()
        with budget.reserve(60):
            entered.append("second")

    with budget.reserve(50):
        thread = threading.Thread(target=take_the_rest)
        thread.start()
        started.wait()
        with budget.reserve(50):
            entered.append("first")
    thread.join()
    assert entered == ["first", "second"]


def test_more_than_all_counts_as_all():
    budget = MemoryBudget(100)
    with budget.reserve(1000):
        pass
    with budget.reserve(100):
        pass


def draw(path, side, mode="RGB", **options):
    Image.new(mode, (side, side), "red" if mode == "RGB" else 30_000).save(path, **options)
    return Photo(path.name, path)


def grey_16_bits(path, side):
    draw(path, side, "I;16")
    return Photo(path.name, path)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_photo_over_the_budget_is_named_and_the_others_are_read(tmp_path, num_workers):
    photos = [
        draw(tmp_path / "large.png", 3000),
        draw(tmp_path / "small.png", 100),
        grey_16_bits(tmp_path / "deep.png", 4000),
        draw(tmp_path / "reduced.jpg", 5000),
    ]
    budget = 30 * 2**20
    loaded = load_images(photos, ImageOptions(64), num_workers=num_workers, memory_bytes=budget)
    reasons = {photo.id: image.reason if isinstance(image, ImageError) else "" for photo, image in loaded}
    assert reasons["small.png"] == reasons["reduced.jpg"] == ""
    for name in ("large.png", "deep.png"):
        assert "of memory, and photos may take 30.0 MB; allow more with --memory 1G" in reasons[name]


def test_large_photos_share_the_budget(tmp_path):
    photos = [draw(tmp_path / f"{number}.png", 3200) for number in range(6)]  # 82 MB each
    loaded = load_images(photos, ImageOptions(64), num_workers=2, memory_bytes=100 * 2**20)
    assert [(photo.id, image.size_px) for photo, image in loaded] == [(p.id, (3200, 3200)) for p in photos]


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.slow
def test_a_large_photo_that_is_turned_is_shrunk_before(tmp_path, orientation):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8))
    picture = small.resize((4500, 4001), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "turned.png", exif=exif, compress_level=1)
    ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")).save(
        tmp_path / "upright.png", compress_level=1
    )
    box = Box(301, 207, 3701, 3903)
    images = [
        load_image(Photo(name, tmp_path / name, box), ImageOptions(256)).astype(int)
        for name in ("turned.png", "upright.png")
    ]
    assert np.abs(images[0] - images[1]).max() <= 3


def test_a_progressive_jpeg_of_many_scans_is_refused(tmp_path):
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(jpeg, "JPEG", progressive=True)
    data = jpeg.getvalue()
    scan = data.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(data[:scan] + data[scan:-2] * 200 + data[-2:])
    with pytest.raises(ImageError, match="more than 100 scans"):
        load_image(Photo("a", tmp_path / "a.jpg"), ImageOptions(64))


def endless_png(path):
    """12,000 × 12,000 px of the most costly filter: seconds of a processor, in a file of a few 100 KB."""
    side = 12_000
    row = b"\x04" + bytes(range(256)) * (3 * side // 256 + 1)
    packer = zlib.compressobj(9)
    pixels = b"".join([packer.compress(row[: 1 + 3 * side]) for _ in range(side)] + [packer.flush()])

    def chunk(kind, data):
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    head = side.to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return Photo(path.name, path)


@pytest.mark.slow
def test_a_worker_that_computes_too_long_is_ended_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_SECONDS", 0.2)
    photos = [endless_png(tmp_path / "long.png"), draw(tmp_path / "short.png", 100)]
    loaded = load_images(photos, ImageOptions(64), num_workers=1, memory_bytes=2**32)
    found = {photo.id: image.reason if isinstance(image, ImageError) else "" for photo, image in loaded}
    assert "s of a processor" in found["long.png"]
    assert found["short.png"] == ""


_COUNT_HEAPS = """
import ctypes, threading
from meisho.memory import share_heaps
share_heaps()
libc, together = ctypes.CDLL(None), threading.Barrier(40)
def work():
    libc.malloc(100)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(40)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(("said", "heaps"), [(None, 2), ("1", 1)])
def test_threads_share_two_heaps_unless_the_user_says_otherwise(said, heaps):
    others = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    environment = others if said is None else others | {"MALLOC_ARENA_MAX": said}
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_HEAPS], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("<heap nr=") == heaps
