"""Answers among some photos of a collection, by every kind of chain; and the mean with known photos."""

import json
import shutil

import numpy as np
import pytest

from meisho.describing import Describer
from meisho.errors import InputError
from meisho.index import among
from meisho.local_describing import LocalDescriber
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, index_folder
from run.conftest import paint
from toy_features import Corners, MeanColor

CHAINS = [
    None,
    "dba:k=2",
    "alpha-qe:k=2",
    "dba:k=2,alpha-qe:k=2",
    "k-reciprocal:k1=3:k2=1",
    "diffusion:k=3:first=5",
    "geometric:first=2",
    "alpha-qe:k=2,geometric:first=3",
    "dba:k=2,diffusion:k=3,geometric:first=3",
]
"""Chains that permute, that rank anew, and both."""

INDEXES = ["exact", "hnsw"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of twenty photos; each photo of `b/` with an even number is a copy of that of `a/`."""
    root = tmp_path_factory.mktemp("among")
    for number in range(20):
        paint(root / "photos" / "a" / f"{number}.png", number)
        paint(root / "photos" / "b" / f"{number}.png", number if number % 2 == 0 else 100 + number)
    for kind in INDEXES:
        options = IndexOptions(index=kind, local=LocalDescriber(Corners(), num_workers=0))
        index_folder(root / "photos", root / kind, Describer(MeanColor(), num_workers=0), options)
    return root


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """So many rows that both ways to search are taken."""
    monkeypatch.setattr(among, "FEW_ROWS", 4)


def in_folder(folder):
    return lambda snapshot: np.array([photo_id.startswith(folder) for photo_id in snapshot.descriptors.ids])


@pytest.mark.parametrize("kind", INDEXES)
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("top", [1, 7, 20, 50])
def test_only_photos_among_them_answer_and_as_many_as_there_are(folders, kind, chain, top):
    finder = Finder.open(folders / kind, extractor=MeanColor())
    for query in ("a/4.png", "a/5.png"):
        answers = finder.find(folders / "photos" / query, top=top, chain=chain, among=in_folder("b/"))[0]
        ids = [answer.id for answer in answers]
        assert len({*ids}) == len(ids) == min(top, 20)
        assert all(photo_id.startswith("b/") for photo_id in ids)
        assert all(copy.id.startswith("b/") for answer in answers for copy in answer.copies)
        scores = [answer.score for answer in answers]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("near", [False, True])
def test_the_answers_are_those_of_a_collection_of_them_alone(folders, tmp_path, turned, near):
    shutil.copytree(folders / "photos" / "b", tmp_path / "photos" / "b")
    alone = tmp_path / "c"
    index_folder(tmp_path / "photos", alone, Describer(MeanColor(), num_workers=0), IndexOptions())
    whole, part = (Finder.open(path, extractor=MeanColor()) for path in (folders / "exact", alone))
    query = folders / "photos" / "a" / "3.png"
    found = whole.find(query, top=9, among=in_folder("b/"), turned=turned, near=near)[0]
    right = part.find(query, top=9, turned=turned, near=near)[0]
    assert [(a.id, a.score, a.turned) for a in found] == [(a.id, a.score, a.turned) for a in right]


def test_a_shortlist_is_verified_among_them(folders):
    finder = Finder.open(folders / "exact", extractor=MeanColor())
    query = folders / "photos" / "a" / "3.png"
    found = finder.find(query, top=5, chain="geometric:first=5", among=in_folder("b/"))
    assert [pair.database.id for pair in found.compare(0)] == [answer.id for answer in found[0]]
    assert all(answer.num_inliers is not None for answer in found[0])


@pytest.mark.parametrize("chain", CHAINS)
def test_what_was_computed_among_them_does_not_change_other_answers(folders, chain):
    fresh, used = (Finder.open(folders / "hnsw", extractor=MeanColor()) for _ in range(2))
    query = folders / "photos" / "a" / "7.png"
    used.find(query, chain=chain, among=in_folder("b/1"))
    one, other = (finder.find(query, chain=chain)[0] for finder in (fresh, used))
    assert one == other


def test_none_of_them_is_no_answer(folders):
    finder = Finder.open(folders / "exact", extractor=MeanColor())
    query = folders / "photos" / "a" / "3.png"
    for chain in CHAINS:
        assert finder.find(query, chain=chain, among=in_folder("c/"))[0] == []
    with pytest.raises(InputError, match="the database has rows 0 to 39"):
        finder.find(query, among=[40])


def test_known_photos_pull_the_query_towards_them(folders):
    finder = Finder.open(folders / "exact", extractor=MeanColor())
    query = folders / "photos" / "a" / "3.png"
    plain = {answer.id: answer.score for answer in finder.find(query, top=50)[0]}
    other = min(plain, key=plain.get)
    known = {a.id: a.score for a in finder.find(query, top=50, same=[other, "gone.png"])[0]}
    vectors = dict(zip(finder.descriptors.ids, finder.descriptors.vectors, strict=True))
    mean = vectors["a/3.png"] + vectors[other]
    assert known[other] == pytest.approx(vectors[other] @ mean / np.linalg.norm(mean), abs=1e-5)
    assert finder.find(query, same=["gone.png"])[0] == finder.find(query)[0]


def test_the_command_asks_below_a_folder(run, tmp_path):
    for folder in "ab":
        for seed in range(3):
            paint(tmp_path / "p" / folder / f"{seed}.png", seed + 10 * (folder == "b"))
    assert run("index", tmp_path / "p", "--to", tmp_path / "c", "--size", 64, "--workers", 0)[0] == 0
    query = tmp_path / "p" / "a" / "0.png"
    code, out, err = run("search", tmp_path / "c", query, "--folder", "b", "--json")
    assert code == 0, err
    ids = [answer["id"] for answer in json.loads(out)["answers"]]
    assert sorted(ids) == ["b/0.png", "b/1.png", "b/2.png"]
    code, out, err = run("search", tmp_path / "c", query, "--folder", "c", "--json")
    assert code == 0 and json.loads(out)["answers"] == []
