"""`GuardedDecoder`: photos that are decoded in processes that may die, asked by many threads at once."""

import io
import os
import signal
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.decoding import GuardedDecoder
from meisho.describing import describe_photo
from meisho.errors import ImageError, MismatchError
from meisho.extractors.base import load_extractor
from meisho.images import (
    GuardedPhoto,
    Header,
    ImageOptions,
    as_photos,
    load_sized_image,
    make_thumbnail,
    read_header,
)
from meisho.photos import Box, Photo

OPTIONS = ImageOptions(max_side_px=64, multiple_px=8)
MODEL = load_extractor("default", max_side_px=96).provenance


@pytest.fixture
def decoder():
    decoder = GuardedDecoder(2)
    yield decoder
    decoder.close()


def photo(seed=0, size=(90, 60), format="PNG", box=None):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format)
    return Photo(f"photo {seed}", Path(f"photo {seed}"), box, data.getvalue())


def said(described):
    return described.vector.tobytes(), described.size_px


READS = {
    "image": (
        lambda decoder, photo: decoder.load(photo, OPTIONS).pixels.tobytes(),
        lambda photo: load_sized_image(photo, OPTIONS).pixels.tobytes(),
    ),
    "picture": (
        lambda decoder, photo: decoder.draw(photo, 32, 90),
        lambda photo: make_thumbnail(photo, 32, 90),
    ),
    "header": (lambda decoder, photo: decoder.read_header(photo), read_header),
    "descriptor": (
        lambda decoder, photo: said(decoder.ask(describe_photo, photo, MODEL)),
        lambda photo: said(describe_photo(photo, MODEL)),
    ),
}


@pytest.mark.parametrize("box", [None, Box(10, 5, 60, 50)])
@pytest.mark.parametrize("read", READS)
def test_it_reads_what_is_read_here(decoder, read, box):
    far, here = READS[read]
    for each in (photo(1, box=box), photo(2, format="JPEG", box=box)):
        assert far(decoder, each) == here(each)


@pytest.mark.parametrize("read", READS)
def test_it_refuses_what_is_refused_here_in_the_same_words(decoder, read):
    far, here = READS[read]
    broken = Photo("x", Path("x"), None, b"no photo")
    with pytest.raises(ImageError) as refused:
        far(decoder, broken)
    with pytest.raises(ImageError) as refused_here:
        here(broken)
    assert str(refused.value) == str(refused_here.value)


def test_many_threads_get_their_own(decoder):
    photos = [photo(seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(lambda each: decoder.load(each, OPTIONS).pixels, photos))
    for each, pixels in zip(photos, loaded, strict=True):
        assert np.array_equal(pixels, load_sized_image(each, OPTIONS).pixels)


def test_workers_that_were_killed_are_started_again(decoder):
    decoder.start()
    for worker in decoder._crew.workers:
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
    assert decoder.read_header(photo(1)) == Header((90, 60), "PNG")


def test_what_a_function_raises_is_raised_here(decoder):
    with pytest.raises(MismatchError, match="the model is not what it was"):
        decoder.ask(describe_photo, photo(1), replace(MODEL, weights_sha256="0" * 64))


def count_starts(folder):
    (folder / str(os.getpid())).touch()


def own_process(photo, *, admit):
    return os.getpid()


def test_the_worker_that_is_asked_first_prepares_when_it_starts_and_when_it_starts_again(tmp_path):
    decoder = GuardedDecoder(3, prepare=partial(count_starts, tmp_path))
    try:
        decoder.start()
        asked = [decoder.ask(own_process, photo(1)) for _ in range(3)]
        os.kill(asked[0], signal.SIGKILL)
        asked += [decoder.ask(own_process, photo(1)) for _ in range(3)]
        assert [len(set(each)) for each in (asked[:3], asked[3:], asked)] == [1, 1, 2]
        assert {int(path.name) for path in tmp_path.iterdir()} == set(asked)
    finally:
        decoder.close()


def refuse():
    raise ImageError(Path("x"), "not today")


def test_a_worker_that_cannot_prepare_answers_all_the_same():
    decoder = GuardedDecoder(1, prepare=refuse)
    try:
        assert decoder.read_header(photo(1)) == Header((90, 60), "PNG")
    finally:
        decoder.close()


def test_what_takes_too_much_memory_is_refused_before_it_is_decoded():
    decoder = GuardedDecoder(1, memory_bytes=2**26)
    try:
        header = io.BytesIO()
        Image.new("L", (9000, 9000)).save(header, "PNG")
        with pytest.raises(ImageError, match="of memory, and photos may take"):
            decoder.read_header(Photo("x", Path("x"), None, header.getvalue()))
    finally:
        decoder.close()


def test_a_closed_one_reads_nothing(decoder):
    assert decoder.load(photo(1), OPTIONS)
    decoder.close()
    with pytest.raises(CancelledError):
        decoder.load(photo(1), OPTIONS)


def test_a_guarded_photo_is_loaded_by_its_loader():
    asked = []

    def load(photo, options):
        asked.append((photo.box, options))
        return load_sized_image(Photo(photo.id, photo.path, photo.box, photo.content), options)

    plain = photo(3, box=Box(0, 0, 30, 30))
    guarded = GuardedPhoto(plain.id, plain.path, plain.box, plain.content, "name", load)
    assert as_photos(guarded) == (guarded,)
    loaded = load_sized_image(guarded, OPTIONS)
    assert np.array_equal(loaded.pixels, load_sized_image(plain, OPTIONS).pixels)
    assert asked == [(plain.box, OPTIONS)]
