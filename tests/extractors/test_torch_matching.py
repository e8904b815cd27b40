import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import on_gpu
from meisho.errors import ConfigError, InputError
from meisho.extractors.torch_matching import TorchMutualMatcher
from meisho.geometry.base import load_matcher
from meisho.geometry.matching import MutualMatcher
from meisho.local_features import LocalFeatures

SMALL_UNITS = np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]], np.float32
)


def as_features(descriptors):
    descriptors = np.asarray(descriptors, np.float32)
    count = len(descriptors)
    return LocalFeatures(np.zeros((count, 2)), descriptors, np.zeros(count), (10, 10))


def make_photos(seed, counts, dim=64):
    """A query of 120 features, and photos that have half of them in common with it, moved a little."""
    generator = np.random.default_rng(seed)
    query = generator.standard_normal((120, dim))
    photos = [generator.standard_normal((count, dim)) * 3 for count in counts]
    for photo in photos:
        common = min(len(photo), 60)
        places = generator.permutation(len(photo))[:common]
        photo[places] = query[:common] + 0.4 * generator.standard_normal((common, dim))
    return as_features(query), [as_features(photo) for photo in photos]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_allclose(ours.similarities, theirs.similarities, atol=1e-6)


@pytest.mark.parametrize("options", [{"ratio": None}, {"ratio": 0.9}, {"ratio": 0.8, "min_similarity": 0.9}])
@pytest.mark.parametrize("seed", range(3))
def test_matches_are_those_of_numpy(seed, options):
    query, photos = make_photos(seed, [100, 150, 0, 1, 80, 200])
    expected = MutualMatcher(**options).match(query, photos)
    assert_equal(TorchMutualMatcher(**options, device="cpu").match(query, photos), expected)
    assert 40 < len(expected[0]) < 100


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 4), max_size=9),
    st.lists(st.lists(st.integers(0, 4), max_size=9), max_size=4),
    st.sampled_from([None, 0.8, 1.0]),
    st.sampled_from([None, 0.5]),
    st.sampled_from([1, 200, 10_000]),
)
def test_ties_go_to_the_lower_row_as_in_numpy(query_kinds, photo_kinds, ratio, least, max_bytes):
    # few kinds of descriptors, whose products are exact in float32: nearly every comparison is a tie
    query, *photos = (
        as_features(SMALL_UNITS[np.array(kinds, int)].reshape(-1, 4)) for kinds in (query_kinds, *photo_kinds)
    )
    options = {"ratio": ratio, "min_similarity": least}
    found = TorchMutualMatcher(**options, device="cpu", max_bytes=max_bytes).match(query, photos)
    assert_equal(found, MutualMatcher(**options).match(query, photos))


@pytest.mark.parametrize("max_bytes", [1, 4 * 120 * 300, 1 << 30])
def test_a_photo_s_matches_do_not_depend_on_the_memory(max_bytes):
    query, photos = make_photos(7, [100, 150, 300, 0, 20])
    found = TorchMutualMatcher(device="cpu", max_bytes=max_bytes).match(query, photos)
    assert_equal(found, MutualMatcher().match(query, photos))


def test_the_matrices_stay_within_the_memory_that_is_given(monkeypatch):
    query, photos = make_photos(7, [100, 150, 300, 120, 20])
    most = 4 * 120 * 300
    matcher = TorchMutualMatcher(device="cpu", max_bytes=most)
    sizes, choose = [], matcher._choose

    def watch(similarities):
        sizes.append(similarities.nbytes)
        return choose(similarities)

    monkeypatch.setattr(matcher, "_choose", watch)
    matcher.match(query, photos)
    assert sizes == [4 * 120 * 2 * 150, most, 4 * 120 * 2 * 120]


def test_no_feature_and_no_photo_are_answers():
    query, photos = make_photos(1, [50, 0])
    matcher = TorchMutualMatcher(device="cpu")
    assert [len(m) for m in matcher.match(as_features(np.empty((0, 64))), photos)] == [0, 0]
    assert [m.rows.shape for m in matcher.match(query, photos[1:])] == [(0, 2)]
    assert matcher.match(query, []) == []


def test_other_dimensions_are_refused_by_their_photo():
    query, photos = make_photos(1, [50])
    with pytest.raises(InputError, match=r"photo 1 must be \(K, 64\), got shape \(7, 32\)"):
        TorchMutualMatcher(device="cpu").match(query, [*photos, as_features(np.ones((7, 32)))])


def test_options_outside_their_range_are_refused():
    with pytest.raises(InputError, match="ratio"):
        TorchMutualMatcher(ratio=0)
    with pytest.raises(InputError, match="min_similarity"):
        TorchMutualMatcher(min_similarity=2)
    with pytest.raises(ConfigError, match="max_bytes"):
        TorchMutualMatcher(max_bytes=0)
    with pytest.raises(ConfigError, match="device"):
        TorchMutualMatcher(device="abacus")


def test_it_is_loaded_by_its_name():
    assert isinstance(load_matcher("mutual-torch", device="cpu"), TorchMutualMatcher)


@on_gpu
@pytest.mark.parametrize("max_bytes", [None, 4 * 120 * 300])
def test_a_gpu_finds_the_same_matches(max_bytes):
    query, photos = make_photos(5, [100, 150, 0, 1, 80, 200])
    found = TorchMutualMatcher(device="cuda", max_bytes=max_bytes).match(query, photos)
    for ours, theirs in zip(found, MutualMatcher().match(query, photos), strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_allclose(ours.similarities, theirs.similarities, atol=1e-5)


@on_gpu
def test_ties_on_a_gpu_go_to_the_lower_row():
    generator = np.random.default_rng(3)
    kinds = [generator.integers(0, 5, count) for count in (40, 60, 33)]
    query, *photos = (as_features(SMALL_UNITS[kind]) for kind in kinds)
    found = TorchMutualMatcher(ratio=None, device="cuda").match(query, photos)
    assert_equal(found, MutualMatcher(ratio=None).match(query, photos))
