import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from meisho.errors import InputError
from meisho.geometry.matching import MutualMatcher, match_many
from meisho.local_features import LocalFeatures

from .obvious import match_slowly


def match_mutual(query, database, **options):
    """Match one pair of photos."""
    return match_many(query, [database], **options)[0]


def make_descriptors(generator, count, dim=32):
    return generator.standard_normal((count, dim)).astype(np.float32)


def make_pair(seed=0, count=300, common=120, dim=128):
    """Two photos with `common` features in both, the others different."""
    generator = np.random.default_rng(seed)
    query, database = make_descriptors(generator, count, dim), make_descriptors(generator, count + 40, dim)
    places = generator.permutation(count + 40)[:common]
    database[places] = query[:common] + 0.3 * make_descriptors(generator, common, dim)
    return query, database


def as_pairs(matches):
    return [tuple(map(int, row)) for row in matches.rows]


@pytest.mark.parametrize("ratio", [None, 0.9, 0.5])
@pytest.mark.parametrize("min_similarity", [None, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_matches_are_those_of_the_obvious_way(seed, ratio, min_similarity):
    query, database = make_pair(seed, count=40, common=15, dim=8)
    options = {"ratio": ratio, "min_similarity": min_similarity}
    found = match_mutual(query, database, **options)
    assert as_pairs(found) == match_slowly(query, database, **options)
    assert 0 < len(found) < 40


SMALL_UNITS = np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]], np.float32
)


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 4), max_size=9),
    st.lists(st.integers(0, 4), max_size=9),
    st.sampled_from([None, 0.8, 1.0]),
)
def test_ties_go_to_the_lower_row(query_kinds, database_kinds, ratio):
    # few kinds of descriptors, whose products are exact in float32: nearly every comparison is a tie
    query = SMALL_UNITS[np.array(query_kinds, int)].reshape(-1, 4)
    database = SMALL_UNITS[np.array(database_kinds, int)].reshape(-1, 4)
    found = match_mutual(query, database, ratio=ratio)
    assert as_pairs(found) == match_slowly(query, database, ratio=ratio)


def test_the_chapter_s_tree_finds_the_same_mutual_neighbours():
    generator = np.random.default_rng(5)
    query, database = make_pair(5)
    query, database = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in (query, database))
    forward_distances, forward = cKDTree(database).query(query, distance_upper_bound=0.8)
    _, backward = cKDTree(query).query(database, distance_upper_bound=0.8)
    expected = [
        (i, j) for i, j in enumerate(forward) if np.isfinite(forward_distances[i]) and backward[j] == i
    ]
    lengths = generator.uniform(0.2, 5, (len(query), 1)).astype(np.float32)  # which must not matter
    found = match_mutual(query * lengths, database, min_similarity=1 - 0.8**2 / 2)
    assert as_pairs(found) == expected
    assert 60 < len(expected) < 300
    distances = np.sqrt(2 - 2 * found.similarities)
    np.testing.assert_allclose(distances, forward_distances[found.rows[:, 0]], atol=1e-3)


def test_many_photos_are_matched_as_one_by_one():
    generator = np.random.default_rng(1)
    query, first = make_pair(1)
    databases = [
        first,
        make_descriptors(generator, 7, 128),
        first[:0],
        make_descriptors(generator, 1, 128),
        first,
    ]
    together = match_many(query, databases, ratio=0.95)
    for database, matches in zip(databases, together, strict=True):
        alone = match_mutual(query, database, ratio=0.95)
        np.testing.assert_array_equal(matches.rows, alone.rows)
        np.testing.assert_array_equal(matches.similarities, alone.similarities)


def test_no_feature_and_no_photo_are_answers():
    query, database = make_pair()
    assert len(match_mutual(query[:0], database)) == len(match_mutual(query, database[:0])) == 0
    assert match_many(query, []) == []


def test_one_feature_on_each_side_is_a_match_even_with_a_ratio():
    assert as_pairs(
        match_mutual(np.ones((1, 4), np.float32), np.eye(4, dtype=np.float32)[:1], ratio=0.1)
    ) == [(0, 0)]


def test_each_feature_is_matched_once():
    found = match_mutual(*make_pair())
    assert len(np.unique(found.rows[:, 0])) == len(np.unique(found.rows[:, 1])) == len(found) > 100


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_its_photo(bad):
    query, database = make_pair()
    broken = database.copy()
    broken[3, 5] = bad
    with pytest.raises(InputError, match="database photo 1 hold NaN or infinity"):
        match_many(query, [database, broken])
    with pytest.raises(InputError, match="query"):
        match_mutual(broken, query)


def test_other_dimensions_are_refused():
    query, database = make_pair()
    with pytest.raises(InputError, match=r"must be \(K, 128\), got shape \(340, 127\)"):
        match_mutual(query, database[:, 1:])


@pytest.mark.parametrize(
    "options",
    [{"ratio": 0}, {"ratio": 1.1}, {"ratio": np.nan}, {"min_similarity": 2}, {"min_similarity": np.nan}],
)
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        match_mutual(*make_pair(), **options)
    with pytest.raises(InputError):
        MutualMatcher(**options)


def test_arguments_are_never_written_into():
    query, database = make_pair()
    before = query.copy(), database.copy()
    match_mutual(query, database, ratio=0.9)
    np.testing.assert_array_equal((query, database)[0], before[0])
    np.testing.assert_array_equal(database, before[1])


def test_the_matcher_takes_local_features():
    query, database = make_pair()
    features = [
        LocalFeatures(np.zeros((len(d), 2)), d, np.zeros(len(d)), (10, 10)) for d in (query, database)
    ]
    (found,) = MutualMatcher(ratio=0.9).match(features[0], features[1:])
    np.testing.assert_array_equal(found.rows, match_mutual(query, database, ratio=0.9).rows)
