"""Over a thousand malformed photos: each is an array or an ImageError, and no valid photo is lost beside."""

import numpy as np
import pytest

from malformed import write_malformed_folder
from meisho.describing import Describer
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import ImageError
from meisho.images import ImageOptions, load_image
from meisho.photo_folder import find_photos
from meisho.photos import Photo

OPTIONS = ImageOptions(max_side_px=64)


class MeanColor:
    dim = 3
    provenance = Provenance.from_options("mean_color", {})
    image_options = OPTIONS

    def extract(self, images):
        return normalize_rows(images.mean(axis=(1, 2), dtype=np.float32))


@pytest.fixture(scope="module")
def malformed_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("malformed")
    return folder, write_malformed_folder(folder)


def test_each_malformed_photo_is_an_array_or_an_image_error(malformed_folder):
    folder, valid = malformed_folder
    num_errors = 0
    paths = sorted(folder.iterdir())
    assert len(paths) - len(valid) >= 1300
    for path in paths:
        try:
            image = load_image(Photo("a", path), OPTIONS)
        except ImageError as error:
            num_errors += 1
            assert path.name not in valid, str(error)
            assert error.path == path
            assert error.reason
            assert "\n" not in str(error)
        else:
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
            assert max(image.shape) == 64
    assert 700 < num_errors < len(paths) - len(valid)  # some flipped bits leave a readable photo


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_valid_photo_is_lost_among_malformed_ones(malformed_folder, num_workers):
    folder, valid = malformed_folder
    found = find_photos(folder)
    photos, problems = found.photos, found.problems
    vectors, errors = {}, {}
    for batch in Describer(MeanColor(), batch_size=8, num_workers=num_workers).stream(photos):
        vectors |= dict(zip((photo.id for photo in batch.photos), batch.vectors, strict=True))
        errors |= {photo.id: error for photo, error in batch.errors}
    assert vectors.keys() | errors.keys() == {photo.id for photo in photos}
    assert not vectors.keys() & errors.keys()
    assert not [problem for problem in problems if problem.path.name in valid]
    assert valid <= vectors.keys()
    for name in valid:
        expected = MeanColor().extract(load_image(Photo(name, folder / name), OPTIONS)[None])[0]
        np.testing.assert_array_equal(vectors[name], expected)
