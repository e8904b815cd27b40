"""Local features of made-up places: photos of one place share features that a homography relates."""

import numpy as np

from meisho.geometry.ransac import Verification
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.ranking import Ranking
from meisho.rerank.evidence import LocalFeaturesInMemory
from meisho.rerank.verified import VerifiedPair

SIZE_PX = (640, 480)


def random_homography(generator):
    angle, zoom = generator.uniform(-0.2, 0.2), generator.uniform(0.7, 1.4)
    rotation = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    H = np.eye(3)
    H[:2, :2] = rotation + generator.normal(0, 0.03, (2, 2))
    H[:2, 2] = generator.uniform(-40, 40, 2)
    H[2, :2] = generator.normal(0, 5e-5, 2)
    return H


def photograph(place, generator, num_common, count=80):
    """One photo of a place ((P, 2) points, (P, 32) descriptors) with `num_common` of its features."""
    points, descriptors = place
    seen = generator.permutation(len(points))[:num_common]
    mapped = np.column_stack([points[seen], np.ones(num_common)]) @ random_homography(generator).T
    keypoints = generator.uniform(0, 480, (count, 2))
    keypoints[:num_common] = mapped[:, :2] / mapped[:, 2:] + generator.normal(0, 0.5, (num_common, 2))
    looks = generator.standard_normal((count, 32))
    looks[:num_common] = descriptors[seen] + 0.2 * generator.standard_normal((num_common, 32))
    return LocalFeatures(keypoints, looks, np.arange(count, 0, -1), SIZE_PX)


def make_evidence(*, num_places=4, views=3, num_common=60, seed=0):
    """Query q shows place q; database row p * views + v shows place p."""
    generator = np.random.default_rng(seed)
    places = [
        (generator.uniform(0, 480, (70, 2)), generator.standard_normal((70, 32))) for _ in range(num_places)
    ]
    queries = [photograph(place, generator, num_common) for place in places]
    database = [photograph(place, generator, num_common) for place in places for _ in range(views)]
    return LocalFeaturesInMemory(queries, database)


def make_ranking(evidence, *, seed=0, depth=None, scores=None):
    """A ranking by random scores in (0, 1), or by given ones (Q, N)."""
    if scores is None:
        shape = len(evidence.of_queries), len(evidence.of_database)
        scores = np.random.default_rng(seed).uniform(0, 1, shape)
    ids = [
        tuple(f"{kind}{row}" for row in range(count)) for kind, count in zip("qd", scores.shape, strict=True)
    ]
    ranking = Ranking.from_scores(*ids, scores)
    return ranking if depth is None else ranking.top(depth)


def make_pair(num_matches, num_inliers, matrix=None):
    """A pair with so many matches, the first of them inliers of an affine map."""
    rows = np.stack([np.arange(num_matches), np.arange(num_matches)[::-1]], axis=1)
    inliers = np.arange(num_matches) < num_inliers
    return VerifiedPair(
        Matches(rows, np.linspace(1, 0, num_matches)), Verification("affine", matrix, inliers)
    )
