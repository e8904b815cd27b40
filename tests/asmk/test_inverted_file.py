import asmk_obvious
import numpy as np
import pytest
from asmk_world import features_of, make_centers, make_photos, unit

import meisho.asmk.inverted_file as module
from meisho.asmk.aggregation import aggregate_photos
from meisho.asmk.codebook import Codebook
from meisho.asmk.inverted_file import InvertedFile, Kernel, count_bits
from meisho.errors import CollectionError, InputError


def blur(descriptors):
    noise = np.random.default_rng(7).standard_normal(descriptors.shape)
    return unit(descriptors + 0.3 * unit(noise))


CENTERS = make_centers()
PHOTOS = make_photos(CENTERS)
QUERIES = [*make_photos(CENTERS, 2, seed=2)[:1], *map(blur, PHOTOS[:3])]


def build(photos=PHOTOS, centers=CENTERS, *, batch=5, **options):
    codebook = Codebook(centers)
    idf = options.pop("idf", True)
    batches = [photos[first : first + batch] for first in range(0, len(photos), batch)]
    parts = [aggregate_photos([features_of(p) for p in part], codebook, **options) for part in batches]
    return InvertedFile.build(parts, map(len, batches), codebook, idf=idf)


def score(inverted, query, kernel=None, *, assignments=1):
    query = features_of(query)
    binary = inverted.binary
    return inverted.score(
        aggregate_photos([query], inverted.codebook, assignments=assignments, binary=binary), kernel
    )


def test_the_kernel_keeps_what_reaches_the_threshold():
    # .5³ = .125; -.1 < .2; .2³ = .008; 1³ = 1
    similarities = np.array([0.5, -0.1, 0.2, 1], np.float32)
    np.testing.assert_allclose(Kernel(3, 0.2)(similarities), [0.125, 0, 0.008, 1], rtol=1e-6)


def test_the_kernel_keeps_the_sign():
    np.testing.assert_allclose(Kernel(2, -1)(np.array([-0.5, 0.5])), [-0.25, 0.25])


@pytest.mark.parametrize(
    "options", [{"alpha": 0}, {"threshold": 1}, {"threshold": -2}, {"alpha": float("nan")}]
)
def test_a_kernel_outside_its_range_is_refused(options):
    with pytest.raises(InputError, match="must be above 0"):
        Kernel(**options)


def test_rare_words_count_log_squared():
    # word 0 in 1 of 2 photos: log(2)²; word 1 in both: 0; word 2 in none: 1
    centers = np.eye(3, dtype=np.float32)
    photos = [np.array([[1, 0.1, 0], [0.1, 1, 0]]), np.array([[0.1, 1, 0]])]
    weights = build(photos, centers)._weights
    np.testing.assert_allclose(weights, [np.log(2) ** 2, 0, 1])


@pytest.mark.parametrize("assignments", [1, 4])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("kernel", [Kernel(), Kernel(1.5, 0.1), Kernel(3, -1)], ids=str)
def test_scores_are_those_of_the_obvious_version(assignments, binary, idf, kernel):
    inverted = build(binary=binary, idf=idf)
    for query in QUERIES:
        expected = asmk_obvious.scores(
            query,
            PHOTOS,
            CENTERS,
            assignments=assignments,
            binary=binary,
            idf=idf,
            alpha=kernel.alpha,
            threshold=kernel.threshold,
        )
        np.testing.assert_allclose(
            score(inverted, query, kernel, assignments=assignments), expected, atol=1e-5
        )


@pytest.mark.parametrize("assignments", [1, 5])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("dim", [32, 64, 128])
def test_the_package_asmk_gives_the_same_scores(assignments, binary, idf, dim):
    """Its Hamming distance counts the bits that fill up 32: elsewhere than at multiples it is another."""
    pytest.importorskip("asmk.hamming")
    from asmk.codebook import Codebook as ReferenceCodebook
    from asmk.index import FaissL2Index

    from asmk import ASMKMethod

    centers = make_centers(60, dim)
    photos = make_photos(centers, 30)[:-1]
    queries = [blur(photo) for photo in photos[:5]]
    codebook = ReferenceCodebook(FaissL2Index(), size=60)
    codebook.index(centers)
    parameters = {
        "build_ivf": {
            "kernel": {"binary": binary},
            "ivf": {"use_idf": idf},
            "quantize": {"multiple_assignment": 1},
            "aggregate": {},
        },
        "query_ivf": {
            "quantize": {"multiple_assignment": assignments},
            "aggregate": {},
            "search": {"topk": None},
            "similarity": {"similarity_threshold": 0.0, "alpha": 3.0},
        },
    }

    def flat(lists):
        return np.concatenate(lists), np.repeat(np.arange(len(lists)), [len(one) for one in lists])

    method = ASMKMethod(parameters, {}, codebook=codebook).build_ivf(*flat(photos))
    _, _, ranks, scores = method.query_ivf(*flat(queries))
    inverted = build(photos, centers, binary=binary, idf=idf)
    assert scores.max() > 0.05
    for query, rows, expected in zip(queries, ranks, scores, strict=True):
        found = score(inverted, query, assignments=assignments)
        np.testing.assert_allclose(found[rows], expected, atol=1e-5)


@pytest.mark.parametrize("binary", [False, True])
def test_a_photo_is_most_like_itself(binary):
    found = np.array([score(build(binary=binary), photo) for photo in PHOTOS[:-1]])
    np.testing.assert_array_equal(found.argmax(axis=1), np.arange(len(PHOTOS) - 1))
    np.testing.assert_allclose(found.max(axis=1), 1, rtol=1e-5)


def test_batches_do_not_matter():
    first, whole = build(batch=3), build(batch=99)
    for name in ("starts", "photos", "values"):
        np.testing.assert_array_equal(getattr(first, name), getattr(whole, name))


@pytest.mark.parametrize("photos", [[], [PHOTOS[-1]], [PHOTOS[0]], [PHOTOS[0]] * 3])
def test_few_and_equal_photos_are_an_answer(photos):
    found = score(build(photos), QUERIES[0])
    assert found.shape == (len(photos),) and np.isfinite(found).all()


def test_a_query_without_features_scores_nothing():
    np.testing.assert_array_equal(score(build(), PHOTOS[-1]), np.zeros(len(PHOTOS)))


def test_bits_are_counted_with_and_without_numpy_2(monkeypatch):
    bits = np.random.default_rng(0).integers(0, 2**64, (50, 3), np.uint64)
    expected = [sum(bin(int(part)).count("1") for part in row) for row in bits]
    np.testing.assert_array_equal(count_bits(bits), expected)
    monkeypatch.delattr(module.np, "bitwise_count", raising=False)
    np.testing.assert_array_equal(count_bits(bits), expected)


@pytest.mark.parametrize("binary", [False, True])
def test_a_saved_file_answers_the_same(tmp_path, binary):
    inverted = build(binary=binary)
    inverted.save(tmp_path / "new" / "asmk.npz", about="these photos")
    loaded, about = InvertedFile.load(tmp_path / "new" / "asmk.npz")
    assert about == "these photos" and loaded.idf and loaded.binary == binary
    np.testing.assert_array_equal(score(loaded, QUERIES[0]), score(inverted, QUERIES[0]))
    np.testing.assert_array_equal(Codebook.load(tmp_path / "new" / "asmk.npz").centers, CENTERS)


def test_what_is_no_inverted_file_is_refused_by_name(tmp_path):
    build().save(tmp_path / "whole.npz")
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "flipped.npz").write_bytes(content[:600] + bytes([content[600] ^ 255]) + content[601:])
    Codebook(CENTERS).save(tmp_path / "words.npz")
    for name in ("cut.npz", "flipped.npz", "words.npz", "missing.npz"):
        with pytest.raises(CollectionError, match=name):
            InvertedFile.load(tmp_path / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        build().save(tmp_path / "file" / "asmk.npz")


def test_entries_that_do_not_fit_are_refused():
    whole = build()
    with pytest.raises(InputError, match="do not fit"):
        InvertedFile(whole.codebook, whole.num_photos, whole.starts[:-1], whole.photos, whole.values)
    with pytest.raises(InputError, match="outside the 3 photos"):
        InvertedFile(whole.codebook, 3, whole.starts, whole.photos, whole.values)
