import itertools

import pytest

from meisho.toycity import build_toycity, facade_homographies, load_toycity


@pytest.fixture(scope="module")
def matching_city(tmp_path_factory):
    """A drawn city, and the pairs of its photos that have much of a facade in common."""
    root = tmp_path_factory.mktemp("toycity") / "city"
    build_toycity(root, landmarks=2, views=3, distractors=1, num_workers=0)
    ids = [photo.id for photo in load_toycity(root).database]
    pairs = []
    for a, b in itertools.combinations(ids, 2):
        facades = facade_homographies(root, a, b)
        if facades and facades[0].num_common > 20_000:
            pairs.append((a, b))
    return root, pairs
