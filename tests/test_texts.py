import pytest

from meisho.texts import count, plural


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "photo", "0 photos"),
        (1, "photo", "1 photo"),
        (1240, "query", "1,240 queries"),
        (2, "match", "2 matches"),
        (2, "database photo", "2 database photos"),
        (2, "index", "2 indexes"),
        (2, "class", "2 classes"),
        (2, "key", "2 keys"),
        (1, "inlier", "1 inlier"),
    ],
)
def test_a_number_agrees_with_its_noun(number, noun, words):
    assert count(number, noun) == words


def test_the_plural_alone():
    assert plural("photo") == "photos"
