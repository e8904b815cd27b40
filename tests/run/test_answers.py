"""Answers count contents: copies stand below the first; near copies and turned queries where asked for."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw

from meisho.describing import Describer
from meisho.local_describing import LocalDescriber
from meisho.photos import Box, Photo
from meisho.ranking import NO_ROW, Ranking
from meisho.run.finding import Finder
from meisho.run.folding import Contents, fold_near, search_contents
from meisho.run.indexing import IndexOptions, index_folder
from meisho.run.turning import POSITIONS, merge_positions, turn_photos
from meisho.store.metadata import INDEX_FOLDER
from toy_features import Corners, MeanColor

NUM_COPIES = 60


@pytest.fixture
def crowded(photos, describer):
    """A collection in which photo 3 stands 61 times, photo 5 twice, and eight others once."""
    for number in range(NUM_COPIES):
        shutil.copy(photos / "3.png", photos / f"copy of 3, {number:02}.png")
    shutil.copy(photos / "5.png", photos / "5 again.png")
    path = photos.parent / "crowded.meisho"
    local = LocalDescriber(Corners(), num_workers=0)
    index_folder(photos, path, describer, IndexOptions(local=local))
    return path


CHAINS = [
    None,
    "dba:k=2",
    "alpha-qe:k=2",
    "k-reciprocal:k1=3:k2=1",
    "geometric:first=2",
    "dba:k=2,geometric:first=3",
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("top", [1, 5, 10, 50])
def test_top_counts_contents(crowded, photos, chain, top):
    finder = Finder.open(crowded, extractor=MeanColor())
    answers = finder.find(photos / "3.png", top=top, chain=chain)[0]
    assert len(answers) == min(top, 10)
    shown = [answer.id for answer in answers] + [copy.id for answer in answers for copy in answer.copies]
    assert len({*shown}) == len(shown)
    contents = [answer.path.read_bytes() for answer in answers]
    assert len({*contents}) == len(contents)
    assert all(copy.path.read_bytes() == a.path.read_bytes() for a in answers for copy in a.copies)
    assert answers[0].id == "3.png" and len(answers[0].copies) == NUM_COPIES
    scores = [answer.score for answer in answers]
    assert scores == sorted(scores, reverse=True)


def test_the_answers_are_those_of_the_collection_without_copies(crowded, collection, photos):
    with_copies, without = (Finder.open(path, extractor=MeanColor()) for path in (crowded, collection))
    for chain in (None, "geometric:first=4", "alpha-qe:k=2"):
        one, other = (f.find(photos / "3.png", top=10, chain=chain)[0] for f in (with_copies, without))
        assert [path_of(answer) for answer in one] == [path_of(answer) for answer in other]
        np.testing.assert_allclose([a.score for a in one], [a.score for a in other], atol=1e-6)


def path_of(answer):
    return answer.path.read_bytes()


def test_a_saved_snapshot_tells_copies_as_the_tables_do(crowded, photos):
    saved = Finder.open(crowded, extractor=MeanColor()).find(photos / "5.png")[0]
    shutil.rmtree(crowded / INDEX_FOLDER)
    read = Finder.open(crowded, extractor=MeanColor()).find(photos / "5.png")[0]
    assert saved == read
    assert {read[0].id, *(copy.id for copy in read[0].copies)} == {"5.png", "5 again.png"}


@pytest.mark.parametrize("seed", range(20))
def test_a_search_deepens_until_there_are_enough_contents(seed):
    rng = np.random.default_rng(seed)
    owners = rng.integers(0, 12, 80)
    firsts = np.array([np.flatnonzero(owners == owner)[0] for owner in owners])
    scores = rng.random((3, 12)).astype(np.float32)[:, owners]  # copies have one score
    whole = Ranking.from_scores(range(3), range(80), scores)
    contents = Contents(firsts)
    wanted = int(rng.integers(1, 20))
    found = search_contents(whole.top, contents, wanted)
    for row in range(3):
        best = list(dict.fromkeys(firsts[whole.ranks[row]].tolist()))[:wanted]
        assert found.ranks[row][found.ranks[row] != NO_ROW].tolist() == best


# --- near copies


def draw(path, seed, size=(640, 480)):
    """Draw a picture with some structure."""
    rng, image = np.random.default_rng(seed), Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, w, h = rng.integers(0, 400, 4)
        pen.rectangle([x, y, x + w // 2 + 5, y + h // 2 + 5], fill=tuple(rng.integers(0, 256, 3).tolist()))
    path.parent.mkdir(exist_ok=True)
    image.save(path)
    return image


def test_near_copies_stand_below_the_first_where_asked_for(tmp_path, describer):
    folder = tmp_path / "p"
    pictures = [draw(folder / f"{seed}.png", seed) for seed in range(6)]
    pictures[0].save(folder / "0 saved anew.jpg", quality=40)
    pictures[0].resize((320, 240)).save(folder / "0 smaller.png")
    shutil.copy(folder / "0 smaller.png", folder / "0 smaller again.png")
    index_folder(folder, tmp_path / "c", describer)
    finder = Finder.open(tmp_path / "c", extractor=MeanColor())
    plain, near = (finder.find(folder / "0.png", top=6, near=near)[0] for near in (False, True))
    assert len(plain) == 6 and sum(answer.id.startswith("0") for answer in plain) == 3
    assert [answer.id.startswith("0") for answer in near] == [True, *[False] * 5]
    names = {"0.png", "0 saved anew.jpg", "0 smaller.png", "0 smaller again.png"}
    assert {near[0].id, *(copy.id for copy in near[0].copies)} == names


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("chain", [None, "alpha-qe:k=1"])
def test_what_stands_below_an_answer_does_not_depend_on_top(tmp_path, turned, chain):
    folder = tmp_path / "p"
    pictures = [draw(folder / f"{seed}.png", seed) for seed in range(9)]
    pictures[0].resize((320, 240)).save(folder / "0 small.webp", quality=30)
    index_folder(folder, tmp_path / "c", Describer(TopColors(), num_workers=0))
    finder = Finder.open(tmp_path / "c", extractor=TopColors())
    ids = {}
    for top in (9, 5, 3, 2, 1):
        answers = finder.find(folder / "0.png", top=top, near=True, turned=turned, chain=chain)[0]
        assert len(answers) == top
        ids[top] = [(answer.id, *(copy.id for copy in answer.copies)) for answer in answers]
        assert ids[top] == ids[9][:top]
    assert {"0.png", "0 small.webp"} in map(set, ids[9])


def test_near_copies_whose_files_are_gone_stand_alone(tmp_path, describer):
    folder = tmp_path / "p"
    draw(folder / "0.png", 0).save(folder / "0.jpg")
    index_folder(folder, tmp_path / "c", describer)
    finder = Finder.open(tmp_path / "c", extractor=MeanColor())
    query = (folder / "0.png").read_bytes()
    shutil.rmtree(folder)
    assert [answer.copies for answer in finder.find(query, near=True)[0]] == [(), ()]


def test_what_is_known_of_near_copies_is_kept_when_photos_are_added(tmp_path, describer):
    folder = tmp_path / "p"
    draw(folder / "0.png", 0).save(folder / "0.jpg")
    index_folder(folder, tmp_path / "c", describer)
    finder = Finder.open(tmp_path / "c", extractor=MeanColor())
    query = (folder / "0.png").read_bytes()
    assert len(finder.find(query, near=True)[0]) == 1
    draw(folder / "1.png", 1)
    index_folder(folder, tmp_path / "c", describer)
    assert finder.follow()
    shutil.rmtree(folder)
    assert [len(answer.copies) for answer in finder.find(query, near=True)[0]] == [1, 0]


@pytest.mark.parametrize(
    ("cosine", "bits", "is_folded"),
    [(1.0, 0, True), (0.65, 8, True), (0.99, 10, False), (0.5, 0, False), (0.99, None, False)],
)
def test_near_copies_are_alike_by_descriptor_and_by_hash(cosine, bits, is_folded):
    vectors = np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]], np.float32)
    hashes = [0, None if bits is None else 2**bits - 1]
    folded, below = fold_near(
        Ranking(("q",), ("a", "b"), np.array([[0, 1]]), np.array([[1.0, 0.9]])), vectors, hashes.__getitem__
    )
    assert folded.ranks.tolist() == ([[0, NO_ROW]] if is_folded else [[0, 1]])
    assert below == ([{0: [1]}] if is_folded else [{}])


# --- turned queries


class TopColors(MeanColor):
    """Describes a photo by the mean colours of its upper and of its left half: turning it changes both."""

    def extract(self, images):
        height, width = images.shape[1:3]
        halves = images[:, : height // 2], images[:, :, : width // 2]
        vectors = np.concatenate([half.mean((1, 2), dtype=np.float32) for half in halves], axis=1) - 100
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    @property
    def dim(self):
        return 6


@pytest.mark.parametrize("degrees", POSITIONS)
@pytest.mark.parametrize("chain", [None, "geometric:first=3"])
def test_a_turned_query_finds_the_photo_and_says_the_turn(tmp_path, degrees, chain):
    folder = tmp_path / "p"
    for seed in range(6):
        draw(folder / f"{seed}.png", seed)
    local = LocalDescriber(Corners(), num_workers=0)
    index_folder(folder, tmp_path / "c", Describer(TopColors(), num_workers=0), IndexOptions(local=local))
    finder = Finder.open(tmp_path / "c", extractor=TopColors())
    with Image.open(folder / "4.png") as image:
        image.rotate(degrees, expand=True).save(tmp_path / "turned.png")  # counter-clockwise
    found = finder.find([folder / "1.png", tmp_path / "turned.png"], turned=True, chain=chain)
    assert (found[0][0].id, found[0][0].turned) == ("1.png", 0)
    assert (found[1][0].id, found[1][0].turned) == ("4.png", degrees)
    if chain:
        pair = found.compare(1)[0]
        assert pair.database.id == "4.png"
        size = load_size(pair.query)
        assert size == (640, 480) == pair.query_features.size_px


def load_size(photo):
    from meisho.images import read_size

    return read_size(photo)


def test_a_box_is_turned_alone(tmp_path):
    draw(tmp_path / "p" / "a.png", 1)
    whole, *turned = turn_photos([Photo("q", tmp_path / "p" / "a.png", Box(10, 20, 110, 70))], 1000)
    assert whole.box == Box(10, 20, 110, 70)
    assert [photo.content.shape for photo in turned] == [(100, 50, 3), (50, 100, 3), (100, 50, 3)]
    with Image.open(whole.path) as image:
        crop = np.asarray(image.crop((10, 20, 110, 70)))
    np.testing.assert_array_equal(turned[0].content, np.rot90(crop, -1))  # clockwise


@pytest.mark.parametrize("seed", range(10))
def test_merging_takes_the_best_of_four(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (8, 9)).astype(np.float32)  # with ties
    four = Ranking.from_scores(range(8), range(9), scores)
    merged, positions = merge_positions(four)
    for query in range(2):
        best = scores[4 * query : 4 * query + 4]
        order = np.argsort(-best.max(0), kind="stable")
        np.testing.assert_array_equal(merged.ranks[query], order)
        np.testing.assert_array_equal(merged.scores[query], best.max(0)[order])
        assert positions[query] == {row: int(best[:, row].argmax()) for row in range(9)}


# --- the command


def test_the_command_prints_copies_below_and_in_json(run, tmp_path, monkeypatch):
    folder = tmp_path / "p"
    for seed in range(3):
        draw(folder / f"{seed}.png", seed)
    shutil.copy(folder / "1.png", folder / "the same.png")
    assert run("index", folder, "--to", tmp_path / "c", "--size", 64, "--workers", 0)[0] == 0
    code, out, err = run("search", tmp_path / "c", folder / "1.png", "--top", 2, "--turned", "--near")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[1].endswith("0°  " + str(folder / "1.png"))
    assert lines[2].strip() == str(folder / "the same.png") and lines[3].startswith("   2")
    assert "Indented: copies of the photo above" in out and "how far the query was turned" in out
    out = run("search", tmp_path / "c", folder / "2.png", "--top", 1)[1]
    assert "Indented" not in out and "how far" not in out
    page = tmp_path / "s.html"
    code, out, err = run("search", tmp_path / "c", folder / "1.png", "--json", "--html", page)
    assert code == 0, err
    first = json.loads(out)["answers"][0]
    assert first["copies"] == [{"id": "the same.png", "path": str(folder / "the same.png")}]
    assert "turned" not in first and "<summary>1 copy</summary>" in page.read_text()


def test_a_collection_of_broken_photos_says_so(run, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").write_bytes(b"no photo")
    draw(tmp_path / "q" / "q.png", 1)
    run("index", tmp_path / "p", "--to", tmp_path / "c", "--size", 64, "--workers", 0)
    code, _, err = run("search", tmp_path / "c", tmp_path / "q" / "q.png")
    assert code == 0 and "holds no photo that could be read" in " ".join(err.split())
