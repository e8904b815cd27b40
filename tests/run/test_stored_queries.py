"""Photos of a collection as queries: by what is stored of them, without a look at their files."""

import pytest

from meisho.describing import Describer
from meisho.errors import InputError
from meisho.extractors.base import EXTRACTORS
from meisho.extractors.local_base import LOCAL_EXTRACTORS
from meisho.images import GuardedPhoto, load_sized_image
from meisho.local_describing import LocalDescriber
from meisho.photos import Photo
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, index_folder
from service.servers import scene
from toy_features import MeanColor


@pytest.fixture
def finder(tmp_path, monkeypatch):
    from meisho.extractors.local_base import load_local_extractor

    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
    assert "sift" in LOCAL_EXTRACTORS
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        scene(seed).save(tmp_path / "photos" / f"{seed}.png")
        scene(seed).resize((240, 180)).save(tmp_path / "photos" / f"{seed} small.png")
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(
        tmp_path / "photos",
        tmp_path / "c.meisho",
        Describer(MeanColor(), num_workers=0),
        IndexOptions(local=local),
    )
    return Finder.open(tmp_path / "c.meisho")


def facts(found):
    return [(answer.id, round(answer.score, 5), answer.verdict) for answer in found[0]]


def about(number):
    """Stored local features have fewer digits than new ones, and a few more or fewer agree."""
    return pytest.approx(number, rel=0.1, abs=2)


@pytest.mark.parametrize("chain", [None, "alpha-qe", "geometric:first=5"])
def test_a_stored_photo_finds_what_its_file_finds(finder, chain):
    by_file = finder.find(Photo("1.png", finder.photo_root / "1.png"), top=6, chain=chain)
    by_id = finder.find_like("1.png", top=6, chain=chain)
    same = {answer.id: answer for answer in by_file[0]}  # what is alike may change places
    assert {answer.id for answer in by_id[0]} == same.keys()
    for one, other in ((answer, same[answer.id]) for answer in by_id[0]):
        assert one.score == pytest.approx(other.score, abs=0.06) and one.verdict == other.verdict
        assert other.verdict != "same" or one.num_inliers == about(other.num_inliers)  # others by chance


def test_no_file_is_needed(finder):
    expected = facts(finder.find_like("1.png", top=6, chain="geometric:first=5"))
    for file in finder.photo_root.iterdir():
        file.unlink()
    assert facts(finder.find_like("1.png", top=6, chain="geometric:first=5")) == expected
    assert finder.compare("1.png", "1 small.png").same_place


def test_only_some_may_answer(finder):
    found = finder.find_like("1.png", top=6, among=lambda snapshot: [0, 3])
    assert {answer.id for answer in found[0]} == {finder.descriptors.ids[row] for row in (0, 3)}


def test_a_comparison_says_what_a_search_says(finder):
    answers = {a.id: a for a in finder.find_like("2.png", top=8, chain="geometric:first=8")[0]}
    for photo_id in ("2 small.png", "3.png"):
        pair = finder.compare("2.png", photo_id)
        assert pair.verification.num_inliers == answers[photo_id].num_inliers
        assert pair.judgement.verdict == answers[photo_id].verdict
    photo = Photo("q", finder.photo_root / "2.png")
    by_file = finder.compare(photo, "2 small.png").verification
    assert by_file.num_inliers == about(answers["2 small.png"].num_inliers)


def test_local_features_of_a_guarded_photo_are_found_once(finder):
    loaded = []

    def load(photo, options):
        loaded.append(options.max_side_px)
        return load_sized_image(Photo(photo.id, photo.path, photo.box), options)

    path = finder.photo_root / "2.png"
    query = GuardedPhoto("q", path, None, None, "a name of its content", load)
    finder.find(query, top=3, chain="geometric:first=3")
    before = len(loaded)
    finder.compare(query, "2 small.png")
    assert [side for side in loaded[before:] if side > MeanColor.image_options.max_side_px] == []


@pytest.mark.parametrize("ask", ["find_like", "compare"])
def test_an_unknown_photo_is_named(finder, ask):
    with pytest.raises(InputError, match=r"c\.meisho: holds no photo 'none'"):
        finder.find_like("none") if ask == "find_like" else finder.compare("1.png", "none")


def test_top_is_at_least_one(finder):
    with pytest.raises(InputError, match="ask for at least 1"):
        finder.find_like("1.png", top=0)
