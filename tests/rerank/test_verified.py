import numpy as np
import pytest

from meisho.rerank.verified import VerifiedPairs

from .places import make_pair


@pytest.mark.parametrize("matrix", [None, np.diag([2.0, 3.0, 1.0])])
def test_a_pair_comes_back_as_it_was(matrix):
    pairs, pair = VerifiedPairs(), make_pair(7, 3, matrix)
    pairs.put("how", 1, 2, pair)
    found = pairs.get("how", 1, 2)
    np.testing.assert_array_equal(found.matches.rows, pair.matches.rows)
    np.testing.assert_array_equal(found.matches.similarities, pair.matches.similarities)
    np.testing.assert_array_equal(found.verification.inliers, pair.verification.inliers)
    assert (found.verification.query_to_database is None) == (matrix is None)
    assert found.verification.model == "affine" and pairs.num_inliers("how", 1, 2) == 3


def test_pairs_are_told_apart_by_rows_and_by_how_they_were_verified():
    pairs = VerifiedPairs()
    pairs.put("how", 1, 2, make_pair(7, 3))
    for key in (("how", 2, 1), ("otherwise", 1, 2)):
        assert pairs.get(*key) is None and pairs.num_inliers(*key) is None
    pairs.put("otherwise", 1, 2, make_pair(7, 5))
    pairs.put("how", 0, 4, make_pair(7, 0))
    assert len(pairs) == 3
    assert [pairs.find_verified(least) for least in (1, 4, 6)] == [{(1, 2)}, {(1, 2)}, set()]


def test_the_number_of_inliers_stays_when_the_geometry_goes():
    pairs = VerifiedPairs(max_bytes=3 * (1_000 + 72 + 13 * 100))
    for row in range(5):
        pairs.put("how", 0, row, make_pair(100, row))
    assert [pairs.get("how", 0, row) is not None for row in range(5)] == [False, False, True, True, True]
    assert [pairs.num_inliers("how", 0, row) for row in range(5)] == [0, 1, 2, 3, 4]
