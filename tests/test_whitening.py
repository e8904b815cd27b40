import json

import numpy as np
import pytest

from meisho.descriptors import Descriptors, Provenance, normalize_rows
from meisho.errors import InputError, MismatchError, WeightsError
from meisho.whitening import Whitening, fit_learned_whitening, fit_pca_whitening, whitening_doubts

SOURCE = Provenance.from_options("timm:resnet34", {"p": 3.0, "whitening": None}, "ab" * 32)


def describe(vectors, provenance=SOURCE):
    vectors = np.asarray(vectors, np.float32)
    return Descriptors(tuple(f"photo{i}" for i in range(len(vectors))), vectors, provenance)


def correlated_vectors(rng, count=400, dim=6):
    return rng.standard_normal((count, dim)) @ rng.standard_normal((dim, dim)) + rng.standard_normal(dim)


def without_normalisation(whitening, vectors):
    return (vectors - whitening.mean) @ whitening.projection.T


def test_pca_whitening_gives_an_identity_covariance():
    descriptors = describe(correlated_vectors(np.random.default_rng(0)))
    whitened = without_normalisation(
        fit_pca_whitening(descriptors, shrinkage=0), descriptors.vectors.astype(np.float64)
    )
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(whitened.T @ whitened / len(whitened), np.eye(6), atol=1e-4)


def test_pca_whitening_worked_by_hand():
    # x varies by ±2 (variance 4), y by ±1 (variance 1) about (5, 7): first x / 2, then y / 1
    descriptors = describe([[3, 6], [7, 6], [3, 8], [7, 8]])
    whitening = fit_pca_whitening(descriptors, shrinkage=0)
    np.testing.assert_allclose(whitening.mean, [5, 7])
    np.testing.assert_allclose(np.abs(whitening.projection), [[0.5, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(np.abs(whitening.transform(descriptors.vectors)), np.full((4, 2), 0.5**0.5))


def test_pca_whitening_keeps_the_directions_of_largest_variance():
    descriptors = describe(np.random.default_rng(0).standard_normal((500, 4)) * [1, 10, 0.1, 3])
    whitening = fit_pca_whitening(descriptors, dim=2)
    assert whitening.dim == 2
    assert np.abs(whitening.projection).argmax(axis=1).tolist() == [1, 3]


def test_pca_shrinkage_makes_the_map_gentler():
    descriptors = describe([[3, 6], [7, 6], [3, 8], [7, 8]])
    # the mean eigenvalue is 2.5: 1/sqrt(4 + 2.5) and 1/sqrt(1 + 2.5)
    projection = fit_pca_whitening(descriptors, shrinkage=1.0).projection
    np.testing.assert_allclose(np.abs(projection).max(axis=1), [6.5**-0.5, 3.5**-0.5], rtol=1e-6)


def test_directions_without_variance_are_left_out_without_shrinkage_and_kept_with_it():
    vectors = np.random.default_rng(0).standard_normal((50, 3))
    descriptors = describe(np.c_[vectors, np.full(50, 2.0)])
    assert fit_pca_whitening(descriptors, shrinkage=0).dim == 3
    whitening = fit_pca_whitening(descriptors)
    assert whitening.dim == 4
    variances = np.var(vectors, axis=0).sum() / 4  # the mean eigenvalue, which the last direction has alone
    assert np.linalg.norm(whitening.projection[3]) == pytest.approx((1000 * variances) ** -0.5, rel=1e-4)


@pytest.mark.parametrize("num", [3, 5, 30])
def test_few_descriptors_do_not_become_equidistant(num):
    vectors = np.random.default_rng(0).standard_normal((num, 30))
    vectors[1] = vectors[0] + 0.1 * vectors[1]  # two photos of one thing
    descriptors = describe(normalize_rows(vectors))
    whitened = fit_pca_whitening(descriptors).transform(descriptors.vectors)
    scores = (whitened @ whitened.T)[np.triu_indices(num, 1)]
    assert scores[0] > 0.1 + scores[1:].max()
    with pytest.raises(InputError, match="all at one distance; set shrinkage"):
        fit_pca_whitening(descriptors, shrinkage=0)


def test_more_dimensions_than_few_descriptors_vary_in_are_refused():
    descriptors = describe(np.random.default_rng(0).standard_normal((20, 40)))
    for dim in (20, 39):
        with pytest.raises(InputError, match=rf"20 descriptors vary in 19 directions, too few for dim={dim}"):
            fit_pca_whitening(descriptors, dim=dim)
    assert fit_pca_whitening(descriptors, dim=19).dim == 19
    assert fit_pca_whitening(descriptors).dim == fit_pca_whitening(descriptors, dim=40).dim == 40


def test_with_much_shrinkage_descriptors_stay_what_they_are():
    descriptors = describe(normalize_rows(np.random.default_rng(0).standard_normal((20, 6)) + 1))
    whitened = fit_pca_whitening(descriptors, shrinkage=1e5).transform(descriptors.vectors)
    before = descriptors.vectors @ descriptors.vectors.T
    np.testing.assert_allclose(whitened @ whitened.T, before, atol=1e-3)


NO_FIT = {  # descriptors, options, what is said
    "one": (np.ones((1, 3)), {}, "at least 2"),
    "all the same": (np.ones((5, 3)), {}, "all the same"),
    "all zero": (np.zeros((5, 3)), {}, "all the same"),
    "NaN": (np.array([[1, np.nan], [0, 1], [1, 1]]), {}, "NaN or infinity"),
    "infinity": (np.array([[1, np.inf], [0, 1], [1, 1]]), {}, "NaN or infinity"),
    "dim 0": (np.eye(3), {"dim": 0}, "between 1 and 3"),
    "dim above all": (np.eye(3), {"dim": 4}, "between 1 and 3"),
    "shrinkage below 0": (np.eye(3), {"shrinkage": -1.0}, "at least 0"),
    "shrinkage NaN": (np.eye(3), {"shrinkage": np.nan}, "at least 0"),
    "shrinkage infinite": (np.eye(3), {"shrinkage": np.inf}, "at least 0"),
}


@pytest.mark.parametrize("name", NO_FIT)
def test_what_cannot_be_whitened_is_refused_in_words(name):
    vectors, options, message = NO_FIT[name]
    rows = np.zeros(1, np.int64), np.full(1, len(vectors) - 1, np.int64)
    with pytest.raises(InputError, match=message):
        fit_pca_whitening(describe(vectors), **options)
    with pytest.raises(InputError, match=message.replace("all the same", "all the same|pairs")):
        fit_learned_whitening(describe(vectors), *rows, **options)


DOUBTS = {  # photos, of 1,280 dimensions, options, whether something is said
    "as many as can be": (5000, {}, False),
    "enough": (40, {}, False),
    "very few": (9, {}, True),
    "few dimensions": (4000, {"dim": 64}, True),
    "many dimensions": (4000, {"dim": 512}, False),
    "the default, said": (40, {"shrinkage": 1000.0}, False),
    "little shrinkage": (2000, {"shrinkage": 0.1}, True),
    "little shrinkage, many photos": (20_000, {"shrinkage": 0.1}, False),
}


@pytest.mark.parametrize("name", DOUBTS)
@pytest.mark.parametrize("learned", [False, True])
def test_what_is_known_to_hurt_is_said(name, learned):
    num, options, is_said = DOUBTS[name]
    doubts = whitening_doubts(num, 1280, learned=learned, **options)
    assert bool(doubts) == is_said


def test_that_little_shrinkage_harms_the_photos_that_are_searched_is_said():
    assert "halved mAP" in whitening_doubts(40, 1280, shrinkage=10.0)[0]
    assert whitening_doubts(40, 1280, shrinkage=10.0, learned=True) == ()


def test_the_default_keeps_what_tells_the_places_of_its_own_photos_apart():
    """Twelve places, ten photos each, in 200 dimensions: a shrinkage of 1 takes the places away."""
    rng = np.random.default_rng(0)
    places = np.repeat(rng.standard_normal((12, 200)), 10, axis=0)
    descriptors = describe(normalize_rows(places + 1.7 * rng.standard_normal((120, 200)) + 1))
    same = np.arange(120)[:, None] // 10 == np.arange(120)[None] // 10

    def found(vectors):
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -1)
        return np.mean(same[np.arange(120), scores.argmax(axis=1)])

    plain = found(descriptors.vectors)
    assert found(fit_pca_whitening(descriptors).transform(descriptors.vectors)) > plain - 0.02
    assert found(fit_pca_whitening(descriptors, dim=60).transform(descriptors.vectors)) > plain - 0.05
    assert found(fit_pca_whitening(descriptors, shrinkage=1).transform(descriptors.vectors)) < plain - 0.15


def test_learned_whitening_makes_differences_within_pairs_white():
    rng = np.random.default_rng(0)
    descriptors = describe(correlated_vectors(rng))
    queries, positives = np.arange(0, 400, 2), np.arange(1, 400, 2)
    whitening = fit_learned_whitening(descriptors, queries, positives, shrinkage=0)
    vectors = descriptors.vectors.astype(np.float64)
    differences = (vectors[queries] - vectors[positives]) @ whitening.projection.T
    np.testing.assert_allclose(differences.T @ differences / 200, np.eye(6), atol=1e-3)


def test_learned_whitening_agrees_with_the_formula_by_an_unsymmetric_solver():
    rng = np.random.default_rng(1)
    vectors = correlated_vectors(rng, count=60, dim=4).astype(np.float32)
    queries, positives = rng.integers(0, 60, 40), rng.integers(0, 60, 40)
    # S = mean of (q - p)(q - p)ᵀ = L Lᵀ; the map is (eigenvectors of the scatter after L⁻¹)ᵀ L⁻¹
    columns = vectors.T.astype(np.float64)
    mean = columns[:, queries].mean(axis=1)
    scatter_of_pairs = sum(np.outer(d, d) for d in (columns[:, queries] - columns[:, positives]).T) / 40
    inverse = np.linalg.inv(np.linalg.cholesky(scatter_of_pairs))
    turned = inverse @ (columns - mean[:, None])
    values, directions = np.linalg.eig(turned @ turned.T)
    slow = directions[:, np.argsort(-values)].T @ inverse
    whitening = fit_learned_whitening(describe(vectors), queries, positives, shrinkage=0)
    np.testing.assert_allclose(whitening.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(
        np.abs(whitening.projection), np.abs(slow), rtol=1e-3, atol=1e-4
    )  # signs are free


def test_learned_whitening_finds_what_pairs_share():
    rng = np.random.default_rng(0)
    place = np.repeat(rng.standard_normal((60, 8)), 2, axis=0)
    nuisance = 6 * rng.standard_normal((120, 3))
    descriptors = describe(np.c_[place + 0.05 * rng.standard_normal((120, 8)), nuisance])
    whitening = fit_learned_whitening(
        descriptors, np.arange(0, 80, 2), np.arange(1, 80, 2), dim=8, shrinkage=0
    )

    def found(vectors):
        scores = (
            normalize_rows(vectors[80::2]) @ normalize_rows(vectors[81::2]).T
        )  # pairs that were not learned from
        return np.mean(scores.argmax(axis=1) == np.arange(20))

    assert found(descriptors.vectors) < 0.5 < 0.9 < found(whitening.transform(descriptors.vectors))


def test_too_few_pairs_are_explained_and_shrinkage_helps():
    descriptors = describe(np.random.default_rng(0).standard_normal((20, 10)))
    queries, positives = np.array([0, 1]), np.array([2, 3])
    with pytest.raises(InputError, match="shrinkage"):
        fit_learned_whitening(descriptors, queries, positives, shrinkage=0)
    whitening = fit_learned_whitening(descriptors, queries, positives, shrinkage=0.1)
    assert np.isfinite(whitening.transform(descriptors.vectors)).all()


@pytest.mark.parametrize(
    ("queries", "positives", "message"),
    [([0, 1], [2], "pairs"), ([], [], "pairs"), ([0], [99], "outside"), ([-1], [1], "outside")],
)
def test_rows_that_do_not_pair_are_refused(queries, positives, message):
    descriptors = describe(np.random.default_rng(0).standard_normal((20, 3)))
    with pytest.raises(InputError, match=message):
        fit_learned_whitening(descriptors, np.array(queries, np.int64), np.array(positives, np.int64))


def test_a_map_that_does_not_fit_or_is_not_finite_is_refused():
    with pytest.raises(InputError, match="do not fit"):
        Whitening(np.zeros(3, np.float32), np.zeros((2, 4), np.float32), "pca", SOURCE)
    with pytest.raises(InputError, match="NaN"):
        Whitening(np.zeros(2, np.float32), np.full((2, 2), np.nan, np.float32), "pca", SOURCE)


def test_a_whitening_comes_back_from_its_file(tmp_path):
    whitening = fit_pca_whitening(describe(correlated_vectors(np.random.default_rng(0))), dim=3)
    whitening.save(tmp_path / "w.safetensors")
    loaded = Whitening.load(tmp_path / "w.safetensors")
    assert np.array_equal(loaded.mean, whitening.mean)
    assert np.array_equal(loaded.projection, whitening.projection)
    assert (loaded.kind, loaded.source, loaded.dim) == ("pca", SOURCE, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"\xff" * 100])
def test_a_file_that_is_no_whitening_is_refused(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="not a whitening file"):
        Whitening.load(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="no such"):
        Whitening.load(tmp_path / "missing.safetensors")


def test_descriptors_of_another_kind_are_refused():
    whitening = fit_pca_whitening(describe(correlated_vectors(np.random.default_rng(0))))
    other = Provenance.from_options("timm:resnet34", {"p": 4.0, "whitening": None}, "ab" * 32)
    with pytest.raises(MismatchError, match=r"p: 3\.0 / 4\.0"):
        whitening.apply(describe(np.eye(6), other))


def test_whitened_descriptors_say_so_and_are_normalised():
    descriptors = describe(correlated_vectors(np.random.default_rng(0)))
    before = descriptors.vectors.copy()
    whitening = fit_pca_whitening(descriptors, dim=4)
    whitened = whitening.apply(descriptors)
    assert whitened.vectors.dtype == np.float32
    assert whitened.vectors.shape == (400, 4)
    np.testing.assert_allclose(np.linalg.norm(whitened.vectors, axis=1), 1, rtol=1e-5)
    assert json.loads(whitened.provenance.options)["whitening"].startswith("sha256:")
    assert whitened.provenance != SOURCE
    assert np.array_equal(descriptors.vectors, before)
    with pytest.raises(MismatchError):
        whitening.apply(whitened)  # twice is a mistake


def test_a_vector_at_the_mean_stays_finite():
    whitening = fit_pca_whitening(describe([[3, 6], [7, 6], [3, 8], [7, 8]]), shrinkage=0)
    assert whitening.transform(np.array([[5, 7]], np.float32)).tolist() == [[0, 0]]
