import numpy as np
import pytest

from meisho.errors import InputError
from meisho.geometry.ransac import RansacOptions
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.ranking import Ranking
from meisho.rerank.evidence import Evidence, LocalFeaturesInMemory
from meisho.rerank.geometric import GeometricReranker, choose_first, verify_photos

from .places import make_evidence, make_ranking


class Counting(LocalFeaturesInMemory):
    """Local features in memory that remember what was asked for."""

    def __init__(self, evidence):
        super().__init__(evidence.of_queries, evidence.of_database)
        object.__setattr__(self, "asked", [])

    def database(self, rows):
        self.asked.append(list(rows))
        return super().database(rows)


@pytest.fixture(scope="module")
def evidence():
    return make_evidence()


def inliers_of(evidence, ranking, query_row):
    """Slowly: the number of inliers of every database row."""
    query = evidence.query(query_row)
    return {
        row: verify_photos(query, evidence.database([row]))[0].num_inliers
        for row in range(len(ranking.database_ids))
    }


class Numbers:
    """Evidence whose pairs verify with given numbers of inliers (Q, N): a photo has so many of the points."""

    points = np.random.default_rng(0).uniform(0, 480, (100, 2))

    def __init__(self, numbers):
        self.numbers = np.asarray(numbers)

    def query(self, query_row):
        self.query_row = query_row
        return self._features(100)

    def database(self, rows):
        return [self._features(self.numbers[self.query_row, row]) for row in rows]

    def _features(self, count):
        looks = np.eye(100, dtype=np.float32)[:count]
        return LocalFeatures(self.points[:count], looks, np.zeros(count), (640, 480))


def test_the_numbers_of_the_tests_are_what_is_verified():
    numbers = [[0, 9, 100, 40]]
    source = Numbers(numbers)
    found = verify_photos(source.query(0), source.database([0, 1, 2, 3]))
    assert [f.num_inliers for f in found] == numbers[0]


def test_photos_of_the_same_place_come_first(evidence):
    ranking = make_ranking(evidence)
    for order in ("inliers", "combined"):
        reranked = GeometricReranker(order=order, weight=2).rerank(ranking, Evidence(local=evidence))
        for query_row, ranks in enumerate(reranked.ranks):
            assert set(ranks[:3]) == {3 * query_row, 3 * query_row + 1, 3 * query_row + 2}


def test_order_is_by_inliers_then_first_score_then_row():
    numbers = [[40, 25, 40, 0, 25, 0]]
    first_scores = np.array([[0.5, 0.9, 0.8, 0.7, 0.9, 0.6]])
    ranking = make_ranking(None, scores=first_scores)
    reranked = GeometricReranker(order="inliers").rerank(ranking, Evidence(local=Numbers(numbers)))
    assert reranked.ranks.tolist() == [[2, 0, 1, 4, 3, 5]]
    np.testing.assert_array_equal(np.floor(reranked.scores), [[40, 40, 25, 25, 0, 0]])


def test_combined_scores_are_the_formula():
    numbers = np.array([[40, 25, 8, 0, 30, 9]])
    first_scores = np.array([[0.5, 0.9, 0.8, 0.7, 0.2, 0.6]])
    ranking = make_ranking(None, scores=first_scores)
    reranker = GeometricReranker(order="combined", weight=0.4, chance=8, scale=16)
    reranked = reranker.rerank(ranking, Evidence(local=Numbers(numbers)))
    # by hand: 0.4 (1 - exp(-n / 16)) with n = 32, 17, 0, 0, 22, 1 adds .34587, .26176, 0, 0, .29886, .02423
    expected = np.array([0.84587, 1.16176, 0.8, 0.7, 0.49886, 0.62423])
    order = np.argsort(-expected)
    assert reranked.ranks[0].tolist() == order.tolist()
    np.testing.assert_allclose(reranked.scores[0], expected[order], atol=1e-5)


def test_no_evidence_changes_no_order():
    ranking = make_ranking(None, scores=np.random.default_rng(0).uniform(0, 1, (3, 20)))
    for order in ("inliers", "combined"):
        reranked = GeometricReranker(order=order, first=10).rerank(
            ranking, Evidence(local=Numbers(np.zeros((3, 20), int)))
        )
        np.testing.assert_array_equal(reranked.ranks, ranking.ranks)
    np.testing.assert_array_equal(reranked.scores, ranking.scores)  # those of "combined"


def test_only_the_first_are_verified_and_the_rest_keep_their_order(evidence):
    ranking, counting = make_ranking(evidence), Counting(evidence)
    reranked = GeometricReranker(first=5, order="inliers").rerank(ranking, Evidence(local=counting))
    for before, after, asked in zip(ranking.ranks, reranked.ranks, counting.asked, strict=True):
        assert before[:5].tolist() == asked  # in one batch
        assert set(after[:5]) == set(before[:5])
        np.testing.assert_array_equal(after[5:], before[5:])


def test_rows_to_skip_are_taken_out_before_the_first_are_chosen(evidence):
    ranking, counting = make_ranking(evidence), Counting(evidence)
    skip = tuple(ranks[[0, 2, 3]] for ranks in ranking.ranks)
    reranked = GeometricReranker(first=4).rerank(ranking, Evidence(local=counting), skip=skip)
    for before, after, asked in zip(ranking.ranks, reranked.ranks, counting.asked, strict=True):
        shortlist = before[[1, 4, 5, 6]]
        assert asked == shortlist.tolist()
        assert set(after[:4]) == set(shortlist)
        np.testing.assert_array_equal(after[4:], before[[0, 2, 3, *range(7, 12)]])


def test_skipping_is_the_same_as_a_ranking_without_these_rows(evidence):
    ranking = make_ranking(evidence)
    generator = np.random.default_rng(3)
    skip = tuple(generator.permutation(12)[:4] for _ in ranking.query_ids)
    for reranker in (GeometricReranker(first=6), GeometricReranker(first=6, order="inliers")):
        reranked = reranker.rerank(ranking, Evidence(local=evidence), skip=skip)
        kept = [~np.isin(ranks, unwanted) for ranks, unwanted in zip(ranking.ranks, skip, strict=True)]
        without = Ranking(
            ranking.query_ids,
            ranking.database_ids,
            np.array([ranks[keep] for ranks, keep in zip(ranking.ranks, kept, strict=True)]),
            np.array([scores[keep] for scores, keep in zip(ranking.scores, kept, strict=True)]),
        )
        expected = reranker.rerank(without, Evidence(local=evidence))
        for ranks, other, unwanted in zip(reranked.ranks, expected.ranks, skip, strict=True):
            np.testing.assert_array_equal(ranks[~np.isin(ranks, unwanted)], other)


def test_a_pair_is_verified_once_however_many_skips_ask_for_it(evidence):
    ranking, counting = make_ranking(evidence), Counting(evidence)
    skips = [None, tuple(ranks[:3] for ranks in ranking.ranks), tuple(ranks[5:] for ranks in ranking.ranks)]
    reranker, together = GeometricReranker(first=5), Evidence(local=counting)
    for skip in skips:
        reranked = reranker.rerank(ranking, together, skip=skip)
        alone = reranker.rerank(ranking, Evidence(local=evidence), skip=skip)
        np.testing.assert_array_equal(reranked.ranks, alone.ranks)
        np.testing.assert_array_equal(reranked.scores, alone.scores)
    assert sum(map(len, counting.asked)) == 8 * len(ranking.query_ids)  # the first 5, and 3 behind them
    assert len(together.verified) == 8 * len(ranking.query_ids)


def test_what_was_verified_otherwise_is_verified_again(evidence):
    ranking, together = make_ranking(evidence), Evidence(local=evidence)
    GeometricReranker(first=2).rerank(ranking, together)
    GeometricReranker(first=2, ransac=RansacOptions()).rerank(ranking, together)
    assert len(together.verified) == 2 * 2 * len(ranking.query_ids)


def test_inliers_agree_with_one_pair_at_a_time(evidence):
    ranking = make_ranking(evidence)
    reranked = GeometricReranker(order="inliers").rerank(ranking, Evidence(local=evidence))
    for query_row in range(len(ranking.query_ids)):
        counts = inliers_of(evidence, ranking, query_row)
        assert np.floor(reranked.scores[query_row]).tolist() == sorted(counts.values(), reverse=True)


def test_the_options_of_matching_and_ransac_are_used(evidence):
    ranking = make_ranking(evidence)
    query_row, row = 0, 0
    strict = RansacOptions(reproj_threshold_px=0.3)
    (found,) = verify_photos(evidence.query(query_row), evidence.database([row]), ransac=strict)
    (usual,) = verify_photos(evidence.query(query_row), evidence.database([row]))
    assert 0 < found.num_inliers < usual.num_inliers

    class Nothing:
        def match(self, query, database):
            return [Matches(np.empty((0, 2), int), np.empty(0)) for _ in database]

    reranked = GeometricReranker(matcher=Nothing()).rerank(ranking, Evidence(local=evidence))
    np.testing.assert_array_equal(reranked.ranks, ranking.ranks)


def test_a_share_of_the_photo_s_size_is_a_threshold_for_each_photo(evidence):
    by_share = RansacOptions(threshold_share=8 / 640)
    found = verify_photos(evidence.query(0), evidence.of_database, ransac=by_share)
    usual = verify_photos(
        evidence.query(0), evidence.of_database, ransac=RansacOptions(reproj_threshold_px=8)
    )
    assert [f.num_inliers for f in found] == [f.num_inliers for f in usual]


def test_photos_without_features_are_verified_with_no_inliers(evidence):
    empty = LocalFeatures(np.empty((0, 2)), np.empty((0, 32)), np.empty(0), (640, 480))
    assert verify_photos(evidence.query(0), [empty])[0].num_inliers == 0
    assert verify_photos(empty, evidence.of_database[:2])[1].num_inliers == 0


def test_the_first_are_chosen_without_fill_and_skipped_rows():
    ranking = Ranking(
        ("a", "b"),
        tuple("vwxyz"),
        np.array([[3, 1, 4, 0], [2, 0, -1, -1]]),
        np.array([[4, 3, 2, 1], [2, 1, -9, -9]]),
    )
    chosen = choose_first(ranking, 2, (np.array([1, 2]), np.array([], int)))
    assert [rows.tolist() for rows in chosen] == [[3, 4], [2, 0]]
    with pytest.raises(InputError, match="1 lists of rows to skip for 2 queries"):
        choose_first(ranking, 2, (np.array([1]),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "votes"}, "votes"),
        ({"first": 0}, "first"),
        ({"weight": -1}, "weight"),
        ({"scale": 0}, "scale"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        GeometricReranker(**options)
