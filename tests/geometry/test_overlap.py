import math

import numpy as np
import pytest

from meisho.geometry.overlap import measure_overlap
from meisho.geometry.ransac import Verification

QUERY, PHOTO = (0, 0, 400, 300), (0, 0, 200, 200)
MIDDLE = np.array([[150.0, 100.0], [250.0, 100.0], [200.0, 200.0]])


def measure(H, query=QUERY, photo=PHOTO, model="homography"):
    return measure_overlap(Verification(model, np.asarray(H, float), np.ones(3, bool)), MIDDLE, query, photo)


def turned(degrees, zoom=1.0, squeeze=1.0):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[zoom * c, -zoom * squeeze * s, 0], [zoom * s, zoom * squeeze * c, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("H", "of_query", "of_photo"),
    [
        (np.eye(3), 200 * 200 / (400 * 300), 1.0),
        (np.diag([0.5, 0.5, 1]), 1.0, 200 * 150 / (200 * 200)),
        ([[1, 0, -300], [0, 1, 0], [0, 0, 1]], 100 * 200 / (400 * 300), 0.5),
        ([[1, 0, 900], [0, 1, 0], [0, 0, 1]], 0.0, 0.0),
    ],
)
def test_shares_of_moved_and_scaled_photos(H, of_query, of_photo):
    found = measure(H)
    assert (found.of_query, found.of_photo) == pytest.approx((of_query, of_photo))
    assert found.slant == pytest.approx(0)


@pytest.mark.parametrize(
    ("H", "slant"), [(turned(90), 1), (turned(180), 1), (turned(60), 0.5), (turned(0, 3, 0.25), 0.75)]
)
def test_slant_tells_turned_and_squeezed_maps(H, slant):
    assert measure(H, photo=(-900, -900, 900, 900)).slant == pytest.approx(slant, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_shares_are_those_of_counted_pixels(seed):
    rng = np.random.default_rng(seed)
    H = turned(rng.uniform(-40, 40), rng.uniform(0.3, 1.5)) + rng.uniform(-20, 20, (3, 3)) * [[0], [0], [0]]
    H[:2, 2] = rng.uniform(-60, 60, 2)
    H[2, :2] = rng.uniform(-4e-4, 4e-4, 2)
    y, x = np.mgrid[0:300, 0:400] + 0.5
    there = np.column_stack([x.ravel(), y.ravel(), np.ones(x.size)]) @ H.T
    mapped = there[:, :2] / there[:, 2:]
    inside = ((mapped >= 0) & (mapped <= 200)).all(axis=1) & (there[:, 2] > 0)
    y, x = np.mgrid[0:200, 0:200] + 0.5
    back = np.column_stack([x.ravel(), y.ravel(), np.ones(x.size)]) @ np.linalg.inv(H).T
    mapped = back[:, :2] / back[:, 2:]
    seen = ((mapped >= 0) & (mapped <= [400, 300])).all(axis=1) & (back[:, 2] > 0)
    found = measure(H)
    assert (found.of_query, found.of_photo) == pytest.approx((inside.mean(), seen.mean()), abs=0.01)


def test_what_lies_beyond_the_horizon_is_not_seen():
    found = measure([[1, 0, 0], [0, 1, 0], [-0.0032, 0, 1]], photo=(0, 0, 100_000, 100_000))
    assert 0 < found.of_query < 0.8
    assert math.isfinite(found.slant)


def test_a_fundamental_matrix_and_no_inliers_say_nothing():
    assert measure(np.ones((3, 3)), model="fundamental") is None
    nothing = Verification("affine", np.eye(3), np.zeros(3, bool))
    assert measure_overlap(nothing, MIDDLE, QUERY, PHOTO) is None
    assert measure_overlap(Verification("affine", None, np.ones(3, bool)), MIDDLE, QUERY, PHOTO) is None
