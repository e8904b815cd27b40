import cv2
import numpy as np

from meisho.extractors.sift import Sift, root_sift


def draw_noise(seed=0, side=200):
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def test_root_sift_is_the_root_of_each_share():
    # shares of 1, 3 and 12 among 16: 1/16, 3/16, 12/16
    raw = np.zeros((2, 128), np.float32)
    raw[0, :3] = [1, 3, 12]
    rooted = root_sift(raw)
    np.testing.assert_allclose(rooted[0, :3], [0.25, np.sqrt(3) / 4, np.sqrt(12) / 4], rtol=1e-6)
    assert not rooted[0, 3:].any()
    assert not rooted[1].any()


def test_cosines_of_root_sift_are_hellinger_kernels():
    a, b = np.random.default_rng(0).uniform(0, 200, (2, 128)).astype(np.float32)
    hellinger = np.sqrt(a / a.sum() * b / b.sum()).sum()
    rooted = root_sift(np.stack([a, b]))
    np.testing.assert_allclose(rooted[0] @ rooted[1], hellinger, rtol=1e-5)


def test_the_features_are_those_of_opencv_strongest_first():
    image = draw_noise()
    features = Sift(max_keypoints=10_000).extract(image)
    points, raw = cv2.SIFT.create(enable_precise_upscale=True).detectAndCompute(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None
    )
    order = np.argsort([-p.response for p in points], kind="stable")
    assert len(features) == len(points) > 50
    np.testing.assert_array_equal(features.keypoints, np.float32([points[i].pt for i in order]))
    np.testing.assert_array_equal(features.descriptors, root_sift(raw[order]))


def test_fewer_features_are_the_first_of_more():
    image = draw_noise(1)
    many, few = (Sift(max_keypoints=count).extract(image) for count in (1000, 20))
    assert len(few) == 20
    np.testing.assert_array_equal(few.scores, many.scores[:20])


def test_a_lower_contrast_threshold_finds_more():
    image = (100 + draw_noise(2) // 16).astype(np.uint8)
    assert len(Sift(contrast_threshold=0.01).extract(image)) > len(Sift().extract(image))


def test_keypoints_of_a_mirrored_image_are_mirrored():
    # a bias of the detector would move both to the same side: the sums would miss the width by twice of it
    image = draw_noise(3, side=320)
    there = Sift().extract(image).keypoints
    back = Sift().extract(image[:, ::-1]).keypoints * [-1, 1] + [319, 0]
    distances = np.linalg.norm(there[:, None] - back[None], axis=2)
    offsets = (there - back[distances.argmin(axis=1)])[distances.min(axis=1) < 1]
    assert len(offsets) > 0.9 * len(there)
    assert np.abs(offsets.mean(axis=0)).max() < 0.02  # 0.5 without enable_precise_upscale
