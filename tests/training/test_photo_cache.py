import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from meisho.errors import ConfigError, ImageError, InputError
from meisho.images import ImageOptions, load_image
from meisho.photos import Box, Photo
from meisho.training.photo_cache import CachedPhotos, CacheOptions, fill_cache, read_entries

SMALL = ImageOptions(max_side_px=48)
RAW = CacheOptions(SMALL, "raw")
JPEG = CacheOptions(SMALL, "jpeg")


class Opened:
    """Photos by number, as the cache has them."""

    def __init__(self, folder, photos, options):
        self.photos, self.cached = photos, CachedPhotos(folder, options)
        self.records = self.cached.find(photos)
        self.num_cached = np.count_nonzero(self.records["length"])

    def load(self, row):
        return self.cached.load(self.photos[row], self.records[row])


def draw_photo(path, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    Image.fromarray(coarse).resize((128, 96), Image.Resampling.BICUBIC).save(path, quality=95)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(12):
        draw_photo(tmp_path / "photos" / f"{number}.jpg", number)
    return [Photo(str(number), tmp_path / "photos" / f"{number}.jpg") for number in range(12)]


def fill(folder, photos, options):
    return list(fill_cache(folder, photos, options, num_workers=0))


def size_of(folder):
    return (folder / "photos.bin").stat().st_size


def test_raw_photos_are_what_the_decoder_gives(tmp_path, photos):
    assert fill(tmp_path / "cache", photos, RAW) == [None] * 12
    cached = Opened(tmp_path / "cache", photos, RAW)
    assert len(cached.records) == cached.num_cached == 12
    for row, photo in enumerate(photos):
        pixels = cached.load(row)
        assert np.array_equal(pixels, load_image(photo, SMALL))
        assert pixels.shape == (36, 48, 3) and not pixels.flags.writeable


def test_jpeg_photos_are_close_and_the_same_whether_they_are_cached_or_not(tmp_path, photos):
    fill(tmp_path / "cache", photos, JPEG)
    cached = Opened(tmp_path / "cache", photos, JPEG)
    without = Opened(tmp_path / "nowhere", photos, JPEG)
    assert (cached.num_cached, without.num_cached) == (12, 0)
    for row, photo in enumerate(photos):
        pixels = cached.load(row)
        assert np.array_equal(pixels, without.load(row))
        assert np.abs(pixels.astype(int) - load_image(photo, SMALL)).mean() < 3


def test_small_photos_are_not_enlarged_unless_asked_to(tmp_path, photos):
    small = CacheOptions()
    fill(tmp_path / "cache", photos[:1], small)
    assert Opened(tmp_path / "cache", photos[:1], small).load(0).shape == (96, 128, 3)
    large = CacheOptions(ImageOptions(max_side_px=512))
    assert Opened(tmp_path / "cache", photos[:1], large).load(0).shape == (384, 512, 3)
    reduced = ImageOptions(max_side_px=100, enlarge=False)
    assert load_image(photos[0], reduced).shape == (75, 100, 3)
    narrow = ImageOptions(max_side_px=512, enlarge=False, min_side_px=112, multiple_px=16)
    assert load_image(photos[0], narrow).shape == (112, 128, 3)  # least side and multiple hold all the same


def test_what_is_cached_is_not_decoded_again(tmp_path, photos):
    fill(tmp_path / "cache", photos[:5], RAW)
    entries = read_entries(tmp_path / "cache")
    assert fill(tmp_path / "cache", [*photos, photos[0]], RAW) == [None] * 13
    later = read_entries(tmp_path / "cache")
    assert len(later.records) == 12
    assert np.array_equal(later.records[:5], entries.records)
    before = size_of(tmp_path / "cache")
    fill(tmp_path / "cache", photos, RAW)
    assert size_of(tmp_path / "cache") == before == 12 * 36 * 48 * 3


def test_a_changed_photo_another_box_and_another_size_are_other_photos(tmp_path, photos):
    fill(tmp_path / "cache", photos, RAW)
    draw_photo(photos[0].path, 99)
    os.utime(photos[1].path, (1, 1))
    boxed = Photo("2", photos[2].path, Box(0, 0, 50, 50))
    assert Opened(tmp_path / "cache", [photos[0], photos[1], boxed, photos[3]], RAW).num_cached == 1
    assert Opened(tmp_path / "cache", photos, JPEG).num_cached == 0
    larger = CacheOptions(ImageOptions(max_side_px=64), "raw")
    assert Opened(tmp_path / "cache", photos, larger).num_cached == 0
    fill(tmp_path / "cache", photos, RAW)
    cached = Opened(tmp_path / "cache", photos, RAW)
    assert np.array_equal(cached.load(0), load_image(photos[0], SMALL))


def test_photos_that_cannot_be_read_are_told_and_not_kept(tmp_path, photos):
    photos[3].path.write_bytes(b"no photo")
    photos[7].path.unlink()
    problems = [problem for problem in fill(tmp_path / "cache", photos, RAW) if problem]
    assert [problem.path for problem in problems] == [photos[3].path, photos[7].path]
    cached = Opened(tmp_path / "cache", photos, RAW)
    assert cached.num_cached == 10
    with pytest.raises(ImageError, match=r"3\.jpg"):
        cached.load(3)
    assert np.array_equal(cached.load(11), load_image(photos[11], SMALL))


def test_the_file_stays_within_its_bound_and_the_rest_is_decoded(tmp_path, photos):
    bounded = CacheOptions(SMALL, "raw", max_bytes=3 * 36 * 48 * 3 + 100)
    assert fill(tmp_path / "cache", photos, bounded) == [None] * 12
    cached = Opened(tmp_path / "cache", photos, bounded)
    assert cached.num_cached == 3
    assert size_of(tmp_path / "cache") <= bounded.max_bytes
    assert np.array_equal(cached.load(9), load_image(photos[9], SMALL))


def test_what_finds_no_room_is_not_decoded_at_every_start(tmp_path, photos):
    bounded = CacheOptions(SMALL, "raw", max_bytes=3 * 36 * 48 * 3 + 100)
    fill(tmp_path / "cache", photos, bounded)
    for photo in photos[4:]:
        photo.path.write_bytes(b"no photo")  # it would be told if it were decoded
    assert fill(tmp_path / "cache", photos, bounded) == [None] * 12


def test_photos_that_are_not_asked_for_make_room(tmp_path, photos):
    bounded = CacheOptions(SMALL, "raw", max_bytes=6 * 36 * 48 * 3)
    fill(tmp_path / "cache", photos[:6], bounded)
    old = Opened(tmp_path / "cache", photos[:6], bounded)
    first = old.load(0).copy()
    fill(tmp_path / "cache", photos[4:10], bounded)
    cached = Opened(tmp_path / "cache", photos[4:10], bounded)
    assert cached.num_cached == 6
    for row in range(6):
        assert np.array_equal(cached.load(row), load_image(photos[4 + row], SMALL))
    assert size_of(tmp_path / "cache") == bounded.max_bytes
    assert np.array_equal(old.load(0), first)  # who has the old file open goes on with it
    late = pickle.loads(pickle.dumps(old))  # has the old records, and opens the new file: checksums tell
    assert np.array_equal(late.load(5), load_image(photos[5], SMALL))


@pytest.mark.parametrize("torn", ["records", "pixels", "pixels without record"])
def test_what_a_kill_leaves_half_written_is_cut_off(tmp_path, photos, torn):
    folder = tmp_path / "cache"
    fill(folder, photos[:6], RAW)
    index, pixels = folder / "photos.idx", folder / "photos.bin"
    if torn == "records":
        index.write_bytes(index.read_bytes()[:-7])
    elif torn == "pixels":
        pixels.write_bytes(pixels.read_bytes()[:-7])
    else:
        with pixels.open("ab") as file:
            file.write(b"some pixels")
    kept = 6 if torn == "pixels without record" else 5
    assert Opened(folder, photos, RAW).num_cached == kept
    fill(folder, photos, RAW)
    cached = Opened(folder, photos, RAW)
    assert cached.num_cached == 12 and size_of(folder) == 12 * 36 * 48 * 3
    for row in (0, 5, 11):
        assert np.array_equal(cached.load(row), load_image(photos[row], SMALL))


def test_damaged_pixels_are_found_and_decoded(tmp_path, photos):
    folder = tmp_path / "cache"
    fill(folder, photos, RAW)
    with (folder / "photos.bin").open("r+b") as file:
        file.seek(36 * 48 * 3 + 5)
        file.write(b"\x00\x01\x02\x03")
    cached = Opened(folder, photos, RAW)
    for row in range(3):
        assert np.array_equal(cached.load(row), load_image(photos[row], SMALL))


KILLED = """
import sys
from pathlib import Path
from meisho.datasets.photo_files import photos_below
from meisho.images import ImageOptions
from meisho.training.photo_cache import CacheOptions, fill_cache
options = CacheOptions(ImageOptions(max_side_px=48), "raw")
for _ in fill_cache(Path(sys.argv[2]), photos_below(Path(sys.argv[1])), options, num_workers=0):
    print("photo", flush=True)
    sys.stdin.readline()
"""


def test_a_killed_filling_goes_on_where_it_was(tmp_path, photos):
    folder = tmp_path / "cache"
    for count in (3, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, tmp_path / "photos", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count):
            assert process.stdout.readline() == b"photo\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stdin.close()
        assert count <= len(read_entries(folder).records) <= count + 1
    fill(folder, photos, RAW)  # the dead process does not hold the lock
    cached = Opened(folder, photos, RAW)
    assert cached.num_cached == 12
    assert all(np.array_equal(cached.load(row), load_image(photos[row], SMALL)) for row in range(12))


def test_two_who_fill_at_once_decode_each_photo_once(tmp_path, photos):
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(fill, tmp_path / "cache", photos, RAW) for _ in range(3)]
        assert all(job.result() == [None] * 12 for job in jobs)
    assert len(read_entries(tmp_path / "cache").records) == 12


def test_a_cache_can_be_sent_to_processes_and_read_by_threads(tmp_path, photos):
    fill(tmp_path / "cache", photos, JPEG)
    cached = Opened(tmp_path / "cache", photos, JPEG)
    expected = [cached.load(row) for row in range(12)]
    sent = pickle.loads(pickle.dumps(cached))
    with ThreadPoolExecutor(4) as pool:
        for row, pixels in zip(range(12), pool.map(sent.load, range(12)), strict=True):
            assert np.array_equal(pixels, expected[row])


def test_a_cache_that_cannot_be_written_says_so(tmp_path, photos):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"photo cache cannot be written .*give another folder"):
        fill(tmp_path / "file" / "cache", photos, RAW)
    with pytest.raises(ConfigError, match="encoding 'png' is neither"):
        CacheOptions(encoding="png")
    with pytest.raises(ConfigError, match="max_bytes is -1"):
        CacheOptions(max_bytes=-1)
