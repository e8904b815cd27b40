import asmk_obvious
import numpy as np
import pytest
from asmk_world import features_of, make_centers, make_photos

from meisho.asmk.aggregation import aggregate_photos, pack_signs
from meisho.asmk.codebook import Codebook

CENTERS = make_centers()
PHOTOS = make_photos(CENTERS)


def unpack(values, dim):
    return np.unpackbits(values.view(np.uint8), axis=1)[:, :dim].astype(int) * 2 - 1


def test_residuals_of_a_word_are_added_and_scaled():
    # 2 features of word (0, 0): (3, 0) + (0, 4) = (3, 4), at unit length (.6, .8)
    codebook = Codebook(np.array([[0, 0], [9, 9]], np.float32))
    photo = features_of(np.array([[3, 0], [9, 8], [0, 4]], np.float32))
    found = aggregate_photos([photo], codebook, binary=False)
    np.testing.assert_array_equal(found.words, [0, 1])
    np.testing.assert_allclose(found.values, [[0.6, 0.8], [0, -1]], rtol=1e-6)


@pytest.mark.parametrize("assignments", [1, 3])
@pytest.mark.parametrize("binary", [False, True])
def test_photos_are_aggregated_as_by_the_obvious_version(assignments, binary):
    found = aggregate_photos(
        [features_of(p) for p in PHOTOS], Codebook(CENTERS), assignments=assignments, binary=binary
    )
    assert found.photos.max() == len(PHOTOS) - 2  # the last has no feature
    for number, photo in enumerate(PHOTOS):
        expected = asmk_obvious.aggregate(photo, CENTERS, assignments=assignments, binary=binary)
        mine = found.photos == number
        np.testing.assert_array_equal(found.words[mine], sorted(expected))
        values = unpack(found.values[mine], 64) if binary else found.values[mine]
        for value, word in zip(values, sorted(expected), strict=True):
            np.testing.assert_allclose(value, expected[word], atol=1e-6)


def test_signs_are_packed_with_zero_as_no_bit():
    vectors = np.zeros((1, 70), np.float32)
    vectors[0, [0, 69]], vectors[0, 1] = 1, -1
    packed = pack_signs(vectors)
    assert packed.shape == (1, 2) and packed.dtype == np.uint64
    np.testing.assert_array_equal(np.flatnonzero(np.unpackbits(packed.view(np.uint8))), [0, 69])


def test_no_photo_and_no_feature_are_answers():
    for photos in ([], [features_of(PHOTOS[-1])]):
        assert len(aggregate_photos(photos, Codebook(CENTERS)).words) == 0


def test_a_descriptor_at_the_center_has_no_direction():
    found = aggregate_photos([features_of(CENTERS[:1])], Codebook(CENTERS), binary=False)
    np.testing.assert_array_equal(found.values, np.zeros((1, 64)))
