"""Where keypoints lie: drawn photos, moved and scaled by known maps, and seen from two sides."""

import cv2
import numpy as np
import pytest

from meisho.extractors.learned_matching import LighterGlue, LightGlue
from meisho.extractors.local_base import load_local_extractor
from meisho.geometry.matching import MutualMatcher
from meisho.images import ImageOptions, load_image
from meisho.local_describing import LocalDescriber
from meisho.toycity import build_toycity, facade_homographies, load_toycity

MEDIAN_ERROR_PX = {
    "sift": 0.2,
    "aliked": 0.5,
    "xfeat": 1.6,
}  # XFeat decides anew in each cell of 8 px
NEAR_PX = 4


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("toycity") / "city"
    build_toycity(root, landmarks=2, views=3, distractors=1, num_workers=0)
    return root, load_toycity(root)


@pytest.fixture(scope="module", params=MEDIAN_ERROR_PX)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def extractor(name):
    return load_local_extractor(name, device="cpu") if name != "sift" else load_local_extractor(name)


def move(image, scale, shift_px):
    """Show `image` at another scale: px (x, y) goes to scale * (x, y) + shift."""
    height, width = (round(side * scale / 32) * 32 for side in image.shape[:2])
    if scale < 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(scale**-2 - 1))
    A_there = np.array([[scale, 0, shift_px[0]], [0, scale, shift_px[1]]])
    return cv2.warpAffine(
        image, A_there, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.4])
@pytest.mark.slow
def test_keypoints_move_with_the_image_by_parts_of_a_pixel(city, name, extractor, scale):
    shift_px = np.array([3.3, 5.6])
    image = load_image(city[1].database[5], ImageOptions(max_side_px=480, multiple_px=32))
    there = extractor.extract(move(image, scale, shift_px))
    here = extractor.extract(image)
    rows = MutualMatcher().match(here, [there])[0].rows
    errors_px = there.keypoints[rows[:, 1]] - (scale * here.keypoints[rows[:, 0]] + shift_px)
    errors_px /= max(1, scale)  # in px of the smaller image
    right = errors_px[np.abs(errors_px).max(axis=1) < NEAR_PX]
    assert len(right) > max(100, 0.5 * len(errors_px))
    assert np.median(np.linalg.norm(right, axis=1)) < MEDIAN_ERROR_PX[name]
    assert np.abs(np.median(right, axis=0)).max() < 0.3


@pytest.mark.parametrize(
    ("name", "matcher", "least_share"),
    [
        ("sift", MutualMatcher, 0.25),
        ("xfeat", MutualMatcher, 0.5),
        ("xfeat", LighterGlue, 0.8),
        ("aliked", MutualMatcher, 0.5),
        ("aliked", LightGlue, 0.8),
    ],
    indirect=["name"],
)
@pytest.mark.slow
def test_matches_of_two_photos_of_a_facade_lie_on_its_plane(city, extractor, matcher, least_share):
    root, dataset = city
    photo, same, other = (dataset.database[row] for row in (4, 5, 1))
    features = [LocalDescriber(extractor).describe(p) for p in (photo, same, other)]
    of_same, of_other = matcher().match(features[0], features[1:])
    facades = facade_homographies(root, photo.id, same.id)
    near = errors_from_facades(features[0], features[1], facades, of_same) < NEAR_PX
    assert near.mean() > least_share
    assert near.sum() > 60
    if matcher is not MutualMatcher:
        assert len(of_other) < len(of_same) / 2


def errors_from_facades(a, b, facades, matches):
    """Px of photo b between each match and where the facade that suits it best would have it."""
    points, found = a.keypoints[matches.rows[:, 0]], b.keypoints[matches.rows[:, 1]]
    errors_px = []
    for facade in facades:
        there = np.column_stack([points, np.ones(len(points))]) @ facade.H_a_to_b.T
        errors_px.append(np.linalg.norm(there[:, :2] / there[:, 2:] - found, axis=1))
    return np.min(errors_px, axis=0)
