import numpy as np
import pytest
from asmk_world import make_centers, unit

from meisho.asmk.codebook import Codebook, learn_codebook
from meisho.errors import CollectionError, InputError


def cloud(count=1_000, dim=16, seed=3):
    centers = make_centers(20, dim)
    generator = np.random.default_rng(seed)
    near = centers[generator.integers(0, 20, count)]
    return unit(near + 0.3 * unit(generator.standard_normal(near.shape)))


def test_words_are_the_nearest_centers_nearest_first():
    codebook = Codebook(np.array([[0, 0], [4, 0], [0, 3]], np.float32))
    points = np.array([[1, 0], [0, 2], [3, 1]], np.float32)
    np.testing.assert_array_equal(codebook.assign(points, count=2), [[0, 1], [2, 0], [1, 0]])


def test_assigning_agrees_with_the_obvious_version():
    points, codebook = cloud(300), Codebook(make_centers(150, 16))
    distances = ((points[:, None] - codebook.centers) ** 2).sum(axis=2)
    np.testing.assert_array_equal(codebook.assign(points, count=7), np.argsort(distances, axis=1)[:, :7])


def test_a_tie_goes_to_the_lower_word():
    codebook = Codebook(np.ones((3, 4), np.float32))
    np.testing.assert_array_equal(codebook.assign(np.zeros((1, 4), np.float32), count=3), [[0, 1, 2]])


def test_more_words_than_there_are_cannot_be_assigned():
    assert Codebook(make_centers(3)).assign(make_centers(5), count=9).shape == (5, 3)


def test_no_descriptor_and_no_word_are_answers():
    assert Codebook(make_centers(3)).assign(np.empty((0, 64), np.float32)).shape == (0, 1)
    assert len(learn_codebook(np.empty((0, 64), np.float32), 5, np.random.default_rng(0))) == 0


def test_descriptors_of_another_extractor_are_refused():
    with pytest.raises(InputError, match="64 dimensions, these have 32"):
        Codebook(make_centers()).assign(np.zeros((1, 32), np.float32))


def test_the_same_generator_learns_the_same_words():
    first, again, other = (
        learn_codebook(cloud(), 30, np.random.default_rng(seed)).centers for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_round_brings_the_words_nearer():
    def error(iterations):
        codebook = learn_codebook(cloud(), 20, np.random.default_rng(0), iterations=iterations)
        differences = cloud() - codebook.centers[codebook.assign(cloud())[:, 0]]
        return (differences**2).sum()

    errors = [error(iterations) for iterations in (1, 2, 4, 10)]
    assert errors == sorted(errors, reverse=True)


def test_words_are_as_good_as_those_of_faiss_in_the_middle_of_several_starts():
    faiss = pytest.importorskip("faiss")
    points = cloud()

    def error(codebook):
        differences = points - codebook.centers[codebook.assign(points)[:, 0]]
        return float((differences**2).sum())

    def reference(seed):
        means = faiss.Kmeans(16, 50, niter=10, seed=seed, min_points_per_centroid=1)
        means.train(points)
        return error(Codebook(means.centroids))

    ours = [error(learn_codebook(points, 50, np.random.default_rng(seed))) for seed in range(4)]
    assert np.median(ours) < 1.03 * np.median([reference(seed) for seed in range(1, 5)])


def test_a_word_without_descriptors_moves_to_the_furthest():
    points = np.array([[0.0], [0.0], [0.0], [10.0]], np.float32)
    for seed in range(8):  # whichever two are chosen first
        centers = learn_codebook(points, 2, np.random.default_rng(seed)).centers
        np.testing.assert_array_equal(np.sort(centers.ravel()), [0, 10])


def test_fewer_descriptors_than_words_give_fewer_words():
    assert len(learn_codebook(cloud(7), 30, np.random.default_rng(0))) == 7


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 1, "iterations": 0}])
def test_sizes_below_one_are_refused(options):
    with pytest.raises(InputError, match="must be 1 or more"):
        learn_codebook(cloud(9), generator=np.random.default_rng(0), **options)


def test_centers_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="finite"):
        Codebook(np.array([[np.nan]], np.float32))


def test_a_saved_codebook_is_the_same(tmp_path):
    codebook = Codebook(make_centers())
    codebook.save(tmp_path / "words.npz")
    np.testing.assert_array_equal(Codebook.load(tmp_path / "words.npz").centers, codebook.centers)


def test_what_is_no_codebook_is_refused_by_name(tmp_path):
    for name, content in {"a.npz": b"", "b.npz": b"PK\x03\x04 broken", "c.npz": b"\x80\x04N."}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CollectionError, match=name):
            Codebook.load(tmp_path / name)
    with pytest.raises(CollectionError, match=r"d\.npz"):
        Codebook.load(tmp_path / "d.npz")
