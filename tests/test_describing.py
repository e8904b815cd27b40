import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.decoding import SMALL_JOB, load_images
from meisho.describing import Describer
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import ConfigError, ImageError, InputError
from meisho.images import ImageOptions, load_image
from meisho.photos import Box, Photo
from processes import children, group, started, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


class MeanColor:
    """The template of extractors/base.py: three numbers per image, none of which depends on the batch."""

    dim = 3
    provenance = Provenance.from_options("mean_color", {})
    image_options = ImageOptions(max_side_px=64)

    def extract(self, images):
        assert images.dtype == np.uint8
        assert images.ndim == 4
        return normalize_rows(images.mean(axis=(1, 2), dtype=np.float32))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty small photos of five shapes, some with boxes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    photos = []
    for number in range(40):
        width, height = [(80, 60), (60, 80), (64, 64), (90, 30), (40, 64)][int(rng.integers(5))]
        path = folder / f"{number:02}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        photos.append(Photo(path.name, path, Box(2, 3, 30, 25) if number % 7 == 0 else None))
    return photos


@pytest.fixture
def broken(tmp_path):
    """Photos that cannot be read."""
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "empty.jpg").touch()
    return [Photo(name, tmp_path / name) for name in ("text.jpg", "empty.jpg", "missing.jpg")]


def slow_and_obvious(photos):
    extractor = MeanColor()
    return np.concatenate([extractor.extract(load_image(p, extractor.image_options)[None]) for p in photos])


@pytest.fixture
def workers():
    """Ids of the child processes that this test has started; one that an earlier test left may still end."""
    before = children()
    return lambda: children() - before


# --- what comes out ---


@pytest.mark.parametrize("num_workers", [0, 1, 3, None])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_descriptors_do_not_depend_on_batches_or_workers(photos, batch_size, num_workers):
    described = Describer(MeanColor(), batch_size=batch_size, num_workers=num_workers).describe(photos)
    assert described.ids == tuple(photo.id for photo in photos)
    assert described.provenance == MeanColor.provenance
    np.testing.assert_array_equal(described.vectors, slow_and_obvious(photos))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_photo_is_in_one_batch_or_among_the_errors(photos, broken, num_workers):
    mixed = [*photos[:10], *broken, *photos[10:]]
    batches = list(Describer(MeanColor(), batch_size=4, num_workers=num_workers).stream(mixed))
    described = [photo for batch in batches for photo in batch.photos]
    failed = [photo for batch in batches for photo, _ in batch.errors]
    assert sorted(p.id for p in described) == sorted(p.id for p in photos)
    assert failed == broken
    assert all(len(batch.photos) <= 4 for batch in batches)
    reasons = [error.reason for batch in batches for _, error in batch.errors]
    assert reasons[1:] == ["the file is empty (0 bytes)", "no such file"]


def test_batches_are_the_same_with_and_without_workers(photos):
    with_workers, without = (
        [batch.photos for batch in Describer(MeanColor(), batch_size=4, num_workers=n).stream(photos)]
        for n in (3, 0)
    )
    assert with_workers == without


def test_sizes_are_those_of_the_whole_upright_photos(photos):
    for batch in Describer(MeanColor(), batch_size=4, num_workers=0).stream(photos):
        for photo, (width, height) in zip(batch.photos, batch.sizes_px.tolist(), strict=True):
            with Image.open(photo.path) as image:
                assert image.size == (width, height)


def test_no_photos_give_no_descriptors():
    assert Describer(MeanColor()).describe([]).vectors.shape == (0, 3)
    assert list(Describer(MeanColor()).stream([])) == []


def test_only_errors_are_told_in_batches_without_photos(broken):
    batches = list(Describer(MeanColor(), batch_size=2).stream(broken))
    assert [len(batch.errors) for batch in batches] == [2, 1]
    assert all(batch.vectors.shape == (0, 3) and batch.sizes_px.shape == (0, 2) for batch in batches)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_describe_photos_raises_the_first_photo_that_cannot_be_read(photos, broken, num_workers):
    with pytest.raises(ImageError, match=r"text\.jpg: not a photo"):
        Describer(MeanColor(), num_workers=num_workers).describe([*photos[:5], *broken, *photos[5:]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_describe_photos_leaves_out_what_it_tells(photos, broken, num_workers):
    errors, mixed = [], [*photos[:5], *broken, *photos[5:]]
    described = Describer(MeanColor(), num_workers=num_workers).describe(mixed, on_error=errors.append)
    assert described.ids == tuple(photo.id for photo in photos)
    assert np.allclose(described.vectors, slow_and_obvious(photos), atol=1e-6)
    assert [error.path for error in errors] == [photo.path for photo in broken]


def test_an_id_that_stands_twice_is_refused_before_any_work(photos):
    class NoExtractor(MeanColor):
        def extract(self, images):
            raise AssertionError("work was done")

    with pytest.raises(InputError, match=r"00\.png"):
        Describer(NoExtractor()).describe([*photos, photos[0]])


def test_an_extractor_that_loses_rows_is_found_out(photos):
    class LosesRows(MeanColor):
        def extract(self, images):
            return super().extract(images)[:1]

    with pytest.raises(InputError, match="a batch of 4 photos needs vectors"):
        Describer(LosesRows(), batch_size=4, num_workers=0).describe(photos)


def test_sizes_of_batches_and_pools_are_checked(photos):
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Describer(MeanColor(), batch_size=0).stream(photos)
    with pytest.raises(ConfigError, match="num_workers is -1"):
        Describer(MeanColor(), num_workers=-1).stream(photos)


# --- memory ---


@pytest.mark.parametrize("num_workers", [0, 2])
def test_photos_are_drawn_only_as_they_are_needed(photos, num_workers):
    drawn = []

    def endless():
        for number in count():
            drawn.append(number)
            yield photos[number % len(photos)]

    stream = Describer(MeanColor(), batch_size=4, num_workers=num_workers).stream(endless())
    num_described = sum(len(next(stream).photos) for _ in range(50))
    stream.close()
    assert len(drawn) - num_described <= 32 + 8 * 4


def test_many_shapes_do_not_gather(tmp_path):
    def all_different():
        for width in range(1, 200):
            path = tmp_path / f"{width}.png"
            Image.new("L", (width, 200)).save(path)
            drawn.append(path)
            yield Photo(path.name, path)

    class Full(MeanColor):
        image_options = ImageOptions(max_side_px=200, min_side_px=1)

    drawn, num_described, most_held = [], 0, 0
    for batch in Describer(Full(), batch_size=4, num_workers=0).stream(all_different()):
        most_held = max(most_held, len(drawn) - num_described)
        num_described += len(batch.photos)
    assert num_described == 199
    assert most_held == 8 * 4


# --- processes ---


@linux
def test_a_small_job_starts_no_process(photos, workers):
    loaded = load_images(photos[:SMALL_JOB], ImageOptions())
    next(loaded)
    assert workers() == set()
    assert len(list(loaded)) == SMALL_JOB - 1


@linux
def test_workers_end_with_the_work(photos, workers):
    stream = Describer(MeanColor(), batch_size=1, num_workers=2).stream(photos)
    next(stream)
    assert len(workers()) == 2
    assert len(list(stream)) == len(photos) - 1
    assert workers() == set()


@linux
def test_workers_end_when_the_stream_is_left_early(photos, workers):
    stream = Describer(MeanColor(), batch_size=1, num_workers=2).stream(photos)
    next(stream)
    stream.close()
    assert workers() == set()


@linux
def test_workers_end_when_the_photos_raise(photos, workers):
    def interrupted():
        yield from photos
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        describe_photos_of_stream(interrupted())
    assert workers() == set()


def describe_photos_of_stream(photos):
    return [batch.photos for batch in Describer(MeanColor(), batch_size=1, num_workers=2).stream(photos)]


@linux
def test_killed_workers_lose_no_photo(photos, workers):
    many = [Photo(str(n), photos[n % 40].path) for n in range(400)]
    killed, vectors = 0, {}
    for batch in Describer(MeanColor(), batch_size=8, num_workers=2).stream(many):
        assert batch.errors == ()
        vectors |= dict(zip((photo.id for photo in batch.photos), batch.vectors, strict=True))
        if len(vectors) // 80 > killed:
            for worker in workers():
                os.kill(worker, signal.SIGKILL)
            killed += 1
    assert killed >= 4
    assert len(vectors) == 400
    expected = slow_and_obvious([Photo(p.id, p.path) for p in photos])
    np.testing.assert_array_equal(np.stack([vectors[str(n)] for n in range(400)]), np.tile(expected, (10, 1)))


@linux
def test_a_photo_that_kills_its_worker_is_named_and_the_others_are_described(photos, workers, tmp_path):
    """What the system's out-of-memory killer does: whoever has this photo open is killed."""
    fatal = Photo("fatal", tmp_path / "fatal.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)).save(fatal.path)
    done = threading.Event()
    killed = []

    def kill_its_readers():
        while not done.is_set():
            for worker in workers():
                if opens(worker, fatal.path):
                    os.kill(worker, signal.SIGKILL)
                    killed.append(worker)

    killer = threading.Thread(target=kill_its_readers)
    killer.start()
    try:
        batches = list(
            Describer(MeanColor(), batch_size=4, num_workers=2).stream([*photos[:20], fatal, *photos[20:]])
        )
    finally:
        done.set()
        killer.join()
    errors = [error for batch in batches for error in batch.errors]
    assert len(set(killed)) == 2
    assert [photo for photo, _ in errors] == [fatal]
    assert errors[0][1].reason == "decoding it ended the worker process twice (signal 9, SIGKILL)"
    assert sorted(p.id for batch in batches for p in batch.photos) == [photo.id for photo in photos]


def opens(process, path):
    try:
        return any(link.readlink() == path for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:  # it has ended meanwhile
        return False


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from meisho.descriptors import Provenance
from meisho.describing import Describer
from meisho.images import ImageOptions
from meisho.photos import Photo
class Slow:
    dim, provenance, image_options = 1, Provenance.from_options("slow", {}), ImageOptions(max_side_px=64)
    def extract(self, images):
        print("batch", flush=True)
        sys.stdin.read()
        return np.ones((len(images), 1), np.float32)
photos = [Photo(str(n), Path(sys.argv[1])) for n in range(100)]
print(len(Describer(Slow(), num_workers=2).describe(photos)))
"""


def test_a_script_needs_no_main_guard(photos):
    """Also one that comes from standard input and has no file: the workers do not run it again."""
    result = subprocess.run(
        [sys.executable, "-", photos[1].path],
        input=SCRIPT,
        capture_output=True,
        text=True,
    )
    assert result.stdout.splitlines()[-1] == "100"
    assert result.stderr == ""


@linux
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(photos, ending):
    command = [sys.executable, "-c", SCRIPT, photos[1].path]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"batch\n"  # and there it stays
        wait_until(lambda: len(group(parent.pid)) == 3, parent)  # itself and two workers
        if ending == signal.SIGINT:
            os.killpg(parent.pid, ending)  # as a terminal does it
        else:
            parent.send_signal(ending)
        parent.wait()
        wait_until(lambda: not group(parent.pid))
