from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from meisho.errors import ImageError
from meisho.extractors.sift import Sift
from meisho.images import LoadedImage
from meisho.local_describing import LocalDescriber, place_in_photo
from meisho.local_features import LocalFeatures
from meisho.photos import Box, Photo


def make_features(keypoints, size_px, scales=None):
    keypoints = np.array(keypoints, np.float32)
    return LocalFeatures(keypoints, np.ones((len(keypoints), 4)), np.ones(len(keypoints)), size_px, scales)


def test_working_pixels_lie_where_the_loaded_image_says():
    # crop of 200 x 100 px from (30, 20), shown at 50 x 50: a working pixel is 4 px wide and 2 px high;
    # its top-left corner (-0.5, -0.5) is the crop's, (29.5, 19.5); pixel (2, 3) has its centre at
    # 30 + 2.5 * 4 - 0.5 = 39.5 and 20 + 3.5 * 2 - 0.5 = 26.5
    image = LoadedImage(np.zeros((50, 50, 3), np.uint8), (400, 300), (30, 20, 230, 120))
    features = make_features([[-0.5, -0.5], [2, 3], [49.5, 49.5]], (50, 50), np.array([1.0, 2.0, 3.0]))
    placed = place_in_photo(features, image)
    np.testing.assert_allclose(placed.keypoints, [[29.5, 19.5], [39.5, 26.5], [229.5, 119.5]])
    np.testing.assert_allclose(placed.scales, np.array([1, 2, 3]) * np.sqrt(8), rtol=1e-6)
    assert placed.size_px == (400, 300)
    assert np.array_equal(placed.descriptors, features.descriptors)


def test_scales_that_are_not_known_stay_so():
    image = LoadedImage(np.zeros((50, 50, 3), np.uint8), (50, 50), (0, 0, 50, 50))
    assert place_in_photo(make_features([[1, 1]], (50, 50)), image).scales is None


def draw_blob(center, size_px, sigma_px):
    """Draw a bright Gaussian round `center`, px, on a grey ground."""
    y, x = np.mgrid[: size_px[1], : size_px[0]]
    squares = (x - center[0]) ** 2 + (y - center[1]) ** 2
    brightness = 60 + 180 * np.exp(-squares / (2 * sigma_px**2))
    return np.repeat(brightness[..., None], 3, axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("box", [None, Box(300.2, 150.7, 777, 602)])
@pytest.mark.parametrize("max_side_px", [160, 640, 900])
def test_a_blob_is_found_where_it_was_drawn(box, max_side_px, tmp_path):
    center, size_px, sigma_px = (512.3, 371.8), (1000, 750), 20
    Image.fromarray(draw_blob(center, size_px, sigma_px)).save(tmp_path / "blob.png")
    features = LocalDescriber(Sift(max_side_px=max_side_px)).describe(Photo("a", tmp_path / "blob.png", box))
    errors_px = np.linalg.norm(features.keypoints - center, axis=1)
    assert features.size_px == size_px
    assert errors_px.min() < 0.3
    found = features.scales[errors_px.argmin()]
    assert 0.75 * 2 * sigma_px < found < 1.25 * 2 * sigma_px  # a blob answers to its own sigma


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(cv2.resize(coarse, (160, 120))).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes(b"no photo")
    return [Photo(str(n), tmp_path / f"{n}.png", Box(0, 0, 80, 60) if n == 3 else None) for n in range(12)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_gives_each_photo_in_order_with_features_or_error(photos, num_workers):
    extractor = Sift(max_side_px=160)
    streamed = list(LocalDescriber(extractor, num_workers=num_workers).stream(iter(photos)))
    assert [photo for photo, _ in streamed] == photos
    kinds = Counter(type(found).__name__ for _, found in streamed)
    assert kinds == {"LocalFeatures": 11, "ImageError": 1}
    for photo, found in streamed:
        if photo.id == "5":
            assert "not a photo" in str(found)
            continue
        alone = LocalDescriber(extractor).describe(photo)
        assert np.array_equal(found.keypoints, alone.keypoints)
        assert np.array_equal(found.descriptors, alone.descriptors)


def test_a_photo_that_cannot_be_read_is_an_error(photos):
    with pytest.raises(ImageError, match="not a photo"):
        LocalDescriber(Sift()).describe(photos[5])
