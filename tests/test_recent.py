from concurrent.futures import ThreadPoolExecutor

import pytest

from meisho.recent import Recent

OBJECT_BYTES = 1_000
"""What every value counts beside its own bytes."""


@pytest.fixture
def recent():
    """Room for 3 values of 5 bytes."""
    return Recent(3 * (OBJECT_BYTES + 5), len)


def test_what_was_used_longest_ago_goes_first(recent):
    for key in "abc":
        recent.put(key, key * 5)
    assert recent.get("a") == "aaaaa"
    recent.put("d", "ddddd")
    assert [recent.get(key) for key in "abcd"] == ["aaaaa", None, "ccccc", "ddddd"]
    assert len(recent) == 3 and recent.num_bytes == 3 * (OBJECT_BYTES + 5)


def test_a_value_takes_the_place_of_the_old_one_of_its_key(recent):
    for value in ("x", "xxxxx", "xx"):
        recent.put("a", value)
    assert (recent.get("a"), len(recent), recent.num_bytes) == ("xx", 1, OBJECT_BYTES + 2)


def test_what_is_larger_than_the_room_is_not_kept(recent):
    recent.put("a", "aaaaa")
    recent.put("b", "b" * 3 * OBJECT_BYTES + 16 * "b")
    assert (recent.get("a"), recent.get("b")) == ("aaaaa", None)


def test_what_is_not_kept_is_loaded_at_once_and_each_key_once(recent):
    asked = []

    def load(keys):
        asked.append(keys)
        return [key * 5 for key in keys]

    assert recent.get_many(list("aba"), load) == ["aaaaa", "bbbbb", "aaaaa"]
    assert recent.get_many(list("bcde"), load) == [5 * key for key in "bcde"]  # more than there is room for
    assert recent.get_many([], load) == []
    assert asked == [["a", "b"], ["c", "d", "e"]] and len(recent) == 3


def test_a_loader_that_gives_too_few_is_an_error(recent):
    with pytest.raises(ValueError, match="shorter"):
        recent.get_many(["a", "b"], lambda keys: ["a"])


def test_many_threads_use_it_at_once(recent):
    def use(number):
        return recent.get_many([number % 7, number % 5], lambda keys: [str(key) * 5 for key in keys])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(use, range(2_000)))
    assert answers == [[str(n % 7) * 5, str(n % 5) * 5] for n in range(2_000)]
    assert recent.num_bytes == len(recent) * (OBJECT_BYTES + 5) <= 3 * (OBJECT_BYTES + 5)
