import numpy as np
import pytest
from PIL import Image

from meisho.extractors.local_base import load_local_extractor
from meisho.geometry.matching import MutualMatcher
from meisho.geometry.ransac import RansacOptions, Verification
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.photo_pair import PhotoPair, StoredPairs, compare_photos
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.rerank.evidence import Evidence, LocalFeaturesInMemory
from meisho.rerank.geometric import GeometricReranker


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A texture, the same moved by (-30, -20) px, and another texture."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(1)
    first, other = (
        Image.fromarray(generator.integers(0, 256, (50, 75, 3), dtype=np.uint8)).resize(
            (600, 400), Image.Resampling.BICUBIC
        )
        for _ in range(2)
    )
    found = []
    for name, image in {"a": first, "b": first.crop((30, 20, 600, 400)), "c": other}.items():
        image.save(folder / f"{name}.png")
        found.append(Photo(name, folder / f"{name}.png"))
    return found


def test_stored_features_give_the_pairs_that_the_photos_give(photos):
    sift, matcher, ransac = load_local_extractor("sift"), MutualMatcher(), RansacOptions("affine")
    features = [LocalDescriber(sift).describe(photo) for photo in photos]
    pairs = StoredPairs(
        [photos[2], photos[0]], LocalFeaturesInMemory([features[2], features[0]], features), matcher, ransac
    )
    found = pairs.compare(1, np.array([1, 2]), photos[1:])
    for pair, database in zip(found, photos[1:], strict=True):
        expected = compare_photos(photos[0], database, sift, matcher, ransac)
        assert (pair.query, pair.database) == (photos[0], database)
        np.testing.assert_array_equal(pair.matches.rows, expected.matches.rows)
        np.testing.assert_array_equal(pair.verification.inliers, expected.verification.inliers)
        assert pair.extraction_seconds == 0 < pair.matching_seconds
    assert found[0].verification.num_inliers > 50 > 10 > found[1].verification.num_inliers
    assert [pair.same_place for pair in found] == [True, False]
    assert pairs.compare(0, np.empty(0, np.int64), []) == []


class Refusing(MutualMatcher):
    """Equal to a mutual matcher, and never asked."""

    def match(self, query, database):
        raise AssertionError("it was verified before")


def test_what_a_reranker_verified_is_not_verified_again(photos):
    sift, matcher, ransac = load_local_extractor("sift"), MutualMatcher(), RansacOptions("affine")
    features = [LocalDescriber(sift).describe(photo) for photo in photos]
    evidence = Evidence(local=LocalFeaturesInMemory(features[:1], features[1:]))
    ranking = Ranking(("a",), ("b", "c"), np.array([[1, 0]]), np.array([[0.6, 0.5]]))
    GeometricReranker(matcher=matcher, ransac=ransac).rerank(ranking, evidence)
    hidden = Refusing()
    evidence.verified.put((hidden, ransac), 0, 0, evidence.verified.get((matcher, ransac), 0, 0))
    pairs = StoredPairs(photos[:1], evidence.local, hidden, ransac, evidence.verified)
    (pair,) = pairs.compare(0, np.array([0]), photos[1:2])
    expected = compare_photos(photos[0], photos[1], sift, matcher, ransac)
    np.testing.assert_array_equal(pair.matches.rows, expected.matches.rows)
    np.testing.assert_array_equal(
        pair.verification.query_to_database, expected.verification.query_to_database
    )
    with pytest.raises(AssertionError, match="it was verified before"):
        pairs.compare(0, np.array([1]), photos[2:])


@pytest.mark.parametrize(("model", "least"), [("homography", 15), ("affine", 15), ("fundamental", 45)])
def test_the_same_place_needs_inliers_enough_for_the_model(photos, model, least):
    keypoints = np.random.default_rng(0).uniform(0, 400, (50, 2))
    some = LocalFeatures(keypoints, np.ones((50, 2)), np.ones(50), (600, 400))
    matches = Matches(np.column_stack([np.arange(50)] * 2), np.ones(50))
    for count, expected in ((0, False), (least - 1, False), (least, True)):
        verification = Verification(model, np.eye(3), np.arange(50) < count)
        assert PhotoPair(*photos[:2], some, some, matches, verification).same_place == expected
