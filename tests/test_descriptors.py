import numpy as np
import pytest

from meisho.descriptors import Descriptors, Provenance, check_unit_length, describe_faults, normalize_rows
from meisho.errors import InputError

ONE = Provenance.from_options("timm_gem", {"p": 3.0, "pooling": "gem", "whitening": None, "scales": [1.0]})


def test_vectors_of_another_length_are_refused_with_what_to_do():
    vectors = np.array([[0, 68], [1, 0], [3, 4]], np.float32)
    with pytest.raises(InputError, match=r"'mine' returned vectors of length 5 to 68; .*normalize_rows"):
        check_unit_length(vectors, "mine")
    check_unit_length(normalize_rows(vectors), "mine")


def test_what_a_blank_photo_or_a_broken_network_gives_is_left_to_the_faults():
    vectors = np.array([[0, 0], [np.nan, 1]], np.float32)
    check_unit_length(vectors, "mine")
    assert "NaN or infinity (first: 'b')" in describe_faults(Descriptors(("a", "b"), vectors, ONE))[0]


def test_the_repr_is_one_short_line():
    described = Descriptors(tuple(map(str, range(2000))), np.eye(2000, 4), ONE)
    assert repr(described) == "Descriptors(2,000 photos, vectors (2000, 4), timm_gem)"


def test_a_summary_names_the_options_that_are_on():
    assert ONE.summary == "timm_gem p 3.0, pooling gem"
    assert Provenance("random").summary == "random"
    member = {"extractor": "timm_gem", "options": {"p": 3}}
    ensemble = Provenance.from_options("ensemble", {"members": [member, member], "member_weights": [1, 0.5]})
    assert ensemble.summary == "ensemble 1 × timm_gem p 3; 0.5 × timm_gem p 3"


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.eye(300, 4)[[0, 1, 2, 3] * 50], []),
        (np.ones((300, 4)) / 2, ["all descriptors are the same vector"]),
        (np.concatenate([np.ones((200, 4)), -np.ones((1, 4))]) / 2, []),  # the last alone is another
        (28 * np.eye(4), [r"not L2-normalised (lengths 28 to 28)"]),
        (np.full((1, 4), 3e38), [r"not L2-normalised (lengths inf to inf)"]),
        (np.empty((0, 4)), ["there are no descriptors"]),
    ],
)
def test_faults_are_told_in_words(vectors, words):
    faults = describe_faults(Descriptors(tuple(map(str, range(len(vectors)))), vectors, ONE))
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))
