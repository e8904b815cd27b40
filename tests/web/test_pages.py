import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.datasets.base import Dataset
from meisho.descriptors import Provenance
from meisho.evaluate.protocols import evaluate_ranking
from meisho.geometry.ransac import Verification
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.photo_pair import PhotoPair
from meisho.photos import Box, Photo
from meisho.ranking import Ranking
from meisho.run.found import Answer
from meisho.web.bars import MOST_BARS
from meisho.web.drawing import CAPTION_PX, HEIGHT_PX, describe_pair, draw_matches
from meisho.web.pages import write_report_page, write_search_page

NASTY = "<b>&\"'</b>"


def photos(ids, folder=Path("nowhere")):
    return tuple(Photo(photo_id, folder / f"{number}.png") for number, photo_id in enumerate(ids))


def answer(photo, score, **more):
    return Answer(photo.id, photo.path, score, **more)


def page_of(tmp_path, ranking, truth, protocol, *, folder=Path("nowhere"), **options):
    report = evaluate_ranking(
        ranking, truth, protocol=protocol, dataset="set", queries_cropped=False, provenance=Provenance("x")
    )
    queries, database = photos(ranking.query_ids, folder), photos(ranking.database_ids, folder)
    dataset = Dataset("set", tmp_path, database, queries, truth, protocol)
    write_report_page(tmp_path / "report.html", report, ranking, dataset, **options)
    return (tmp_path / "report.html").read_text()


def rank_by(query_ids, database_ids, lists):
    """A ranking from lists of rows; a short one is filled."""
    depth = max(map(len, lists))
    ranks = np.array([[*rows, *[-1] * (depth - len(rows))] for rows in lists])
    scores = np.where(ranks < 0, -np.inf, 1 - np.arange(depth) / 10)
    return Ranking(query_ids, database_ids, ranks, scores)


def heights(page):
    return [float(height) for height in re.findall(r"height:([\d.]+)%", page)]


def verdicts(page):
    return re.findall(r'<figure class="(\w+)">', page)


def test_ukbench_is_shown_from_0_to_4(tmp_path):
    ids = tuple(f"d{i}" for i in range(8))
    truth = GroundTruth([range(4)] * 4 + [range(4, 8)] * 4, [[]] * 8)
    found = [[0, 1, 2, 3], [1, 4, 5, 0], [2, 4, 5, 6], [4, 5, 6, 7]]  # 4, 2, 1 and 0 of the four
    ranking = rank_by(ids, ids, [*found, *[[4, 5, 6, 7]] * 4])
    page = page_of(tmp_path, ranking, truth, "ukbench")
    assert heights(page) == [0, 25, 50, 100, 100, 100, 100, 100]
    assert re.findall(r"<b>(N-S [^<]*)</b>", page)[:3] == ["N-S 0 of 4", "N-S 1 of 4", "N-S 2 of 4"]
    assert 'title="d1: N-S 2 of 4"' in page
    assert "<h2>N-S score of each query" in page
    assert "N-S score, 0 to 4, with" in page
    assert "Per cent" not in page
    assert "AP " not in page


def test_average_precisions_are_shown_in_per_cent(tmp_path):
    ranking = rank_by(("q0", "q1"), ("a", "b", "c"), [[0, 1, 2], [1, 2, 0]])
    page = page_of(tmp_path, ranking, GroundTruth([[0], [2]], [[], [1]]), "retrieval")
    assert heights(page) == [100, 100]  # the junk before the right answer takes no place
    assert re.findall(r"<b>(AP [^<]*)</b>", page) == ["AP 100.0", "AP 100.0"]
    assert verdicts(page) == ["query", "right", "wrong", "wrong", "query", "junk", "right", "wrong"]
    assert "<h2>Average precision of each query" in page


def test_a_graded_truth_is_shown_at_medium(tmp_path):
    ranking = rank_by(("q",), ("a", "b", "c"), [[2, 0, 1]])
    page = page_of(tmp_path, ranking, GradedGroundTruth([[0]], [[1]], [[2]]), "revisitop")
    assert "of each query, medium" in page
    assert verdicts(page) == ["query", "junk", "right", "right"]


def test_a_query_without_positives_is_left_out_and_counted(tmp_path):
    ranking = rank_by(("q0", "q1"), ("a", "b"), [[0, 1], [1, 0]])
    page = page_of(tmp_path, ranking, GroundTruth([[], [1]], [[], []]), "retrieval")
    assert len(heights(page)) == page.count('class="case"') == 1
    assert "1 query, worst first; dark bars lead to those below. 1 query without positives left out." in page


def test_no_query_with_positives_still_gives_a_page(tmp_path):
    ranking = rank_by(("q",), ("a", "b"), [[0, 1]])
    page = page_of(tmp_path, ranking, GroundTruth([[]], [[]]), "retrieval")
    assert heights(page) == []
    assert (
        "0 queries, worst first; dark bars lead to those below. 1 query without positives left out." in page
    )


def test_short_lists_of_landmarks_show_what_they_hold_and_what_is_not_found(tmp_path):
    ranking = rank_by(("q0", "q1", "q2"), tuple("abcdefg"), [[0, 1], [], [2, 0, 1, 3, 4, 5]])
    truth = GroundTruth([[0, 6], [1], [5]], [[]] * 3, groups=("private", "private", "public"))
    page = page_of(tmp_path, ranking, truth, "gldv2", num_answers=3)
    assert "of each query, private" in page
    assert heights(page) == [0, 50]
    assert verdicts(page) == ["query", "query", "right", "wrong"]  # the second query was not answered
    assert page.count("1 not found") == 2


def test_a_positive_further_down_is_told(tmp_path):
    ranking = rank_by(("q",), tuple("abcd"), [[0, 1, 2, 3]])
    page = page_of(tmp_path, ranking, GroundTruth([[0, 3]], [[]]), "retrieval", num_answers=2)
    assert "1 further down, the last at rank 4" in page


class Tags(HTMLParser):
    """Collects every tag and every text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.titles, self.texts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.titles.append(dict(attributes).get("title"))

    def handle_data(self, data):
        self.texts.append(data)


def test_ids_are_text_and_never_markup(tmp_path):
    ids = (NASTY, "</style><script>alert(1)</script>")
    page = page_of(
        tmp_path, rank_by(ids, ids, [[0, 1], [1, 0]]), GroundTruth([[1], [1]], [[], []]), "retrieval"
    )
    parsed = Tags(page)
    assert "script" not in parsed.tags
    assert NASTY in parsed.titles
    assert {"b>", "<b>&\"'<"} <= set(parsed.texts)  # the name and what stands before its "/"
    query = Photo(NASTY, Path("nowhere.jpg"))
    write_search_page(tmp_path / "s.html", query, [answer(query, 0.5)], collection=tmp_path, num_database=1)
    assert Tags((tmp_path / "s.html").read_text()).titles.count(NASTY) == 4


def test_long_names_break_between_words_and_stay_text(tmp_path):
    query = Photo("old_town-gate.jpg", Path("nowhere.jpg"))
    copies = (Photo("a&b/<i>_2.jpg", Path("nowhere.jpg")),)
    write_search_page(
        tmp_path / "s.html", query, [answer(query, 0.5, copies=copies)], collection=tmp_path, num_database=1
    )
    page = (tmp_path / "s.html").read_text()
    assert ">old_<wbr>town-<wbr>gate.jpg</span>" in page
    assert ">a&amp;b/<wbr>&lt;i&gt;_<wbr>2.jpg</span>" in page


def test_photos_are_inside_the_page_and_one_that_is_gone_is_shown_by_its_id(tmp_path):
    for number in range(2):
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no photo")
    ranking = rank_by(("q",), ("a", "b", "broken", "gone"), [[0, 1, 2, 3]])
    page = page_of(tmp_path, ranking, GroundTruth([[0]], [[]]), "retrieval", folder=tmp_path)
    assert page.count('src="data:image/jpeg;base64,') == 3  # query, a, b
    assert page.count('<div class="none">no photo</div>') == 2
    assert '<span class="id" title="gone">gone</span>' in page
    assert "2 of the 4 photos here cannot be shown, for example" in page
    assert "evaluate again with --root" in page
    assert not re.search(r'src="(?!data:)', page)  # opens offline
    assert set(re.findall(r'href="([^"#]+)"', page)) == {"0.png", "1.png"}  # the originals


def test_what_fails_leaves_the_old_page_and_nothing_else(tmp_path, monkeypatch):
    page = tmp_path / "s.html"
    query = Photo("q", Path("nowhere.jpg"))
    write_search_page(page, query, [], collection=tmp_path, num_database=1)
    before = page.read_text()

    def fail(self, target):
        raise OSError("the power goes")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the power goes"):
        write_search_page(page, query, [answer(query, 0.5)], collection=tmp_path, num_database=1)
    assert [path.name for path in tmp_path.iterdir()] == ["s.html"]
    assert page.read_text() == before


def make_pair(query, database, *, num_inliers):
    """Three features at the same places of both photos, the first `num_inliers` of which agree."""
    places = np.array([[5, 5], [20, 10], [30, 25]], np.float32)
    features = LocalFeatures(places, np.eye(3), np.ones(3), (40, 30))
    matches = Matches(np.array([[0, 0], [1, 1], [2, 2]]), np.ones(3))
    found = Verification("affine", np.eye(3) if num_inliers else None, np.arange(3) < num_inliers)
    return PhotoPair(query, database, features, features, matches, found)


def draw_photos(folder, count):
    for number in range(count):
        Image.new("RGB", (40, 30), "white").save(folder / f"{number}.png")


def links(page):
    return re.findall(r'<a href="([^"#]+)" title="See the matches">(?!<img)(\d+ inliers?)</a>', page)


def test_each_answer_links_to_the_picture_of_its_matches(tmp_path):
    draw_photos(tmp_path, 3)
    asked = []

    def compare(query_row, rows, photos):
        asked.append((query_row, rows.tolist(), [photo.id for photo in photos]))
        return [make_pair(photos[0], photo, num_inliers=3 - place) for place, photo in enumerate(photos)]

    ranking = rank_by(("q0", "q1"), ("a", "b", "c"), [[2, 0, 1], [1]])
    truth = GroundTruth([[0], [1]], [[], []])
    page = page_of(tmp_path, ranking, truth, "retrieval", folder=tmp_path, compare=compare, num_answers=2)
    assert sorted(asked) == [(0, [2, 0], ["c", "a"]), (1, [1], ["b"])]
    folder = tmp_path / "report_matches"
    assert links(page) == [
        ("report_matches/matches-case-0-1.jpg", "3 inliers"),
        ("report_matches/matches-case-0-2.jpg", "2 inliers"),
        ("report_matches/matches-case-1-1.jpg", "3 inliers"),
    ]
    assert {path.name for path in folder.iterdir()} == {Path(link).name for link, _ in links(page)}
    with Image.open(folder / "matches-case-0-1.jpg") as drawn:
        assert drawn.height == HEIGHT_PX + CAPTION_PX
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 100  # lines on white photos


def test_pictures_of_an_earlier_page_are_removed_and_other_files_are_not(tmp_path):
    draw_photos(tmp_path, 2)
    folder = tmp_path / "s_matches"
    query, *answers = photos(("q", "a", "b"), tmp_path)[:2]
    page = {"collection": tmp_path, "num_database": 2}
    found = [answer(answers[0], 0.5), answer(query, 0.4)]
    pairs = [make_pair(query, photo, num_inliers=1) for photo in (answers[0], query)]
    write_search_page(tmp_path / "s.html", query, found, pairs=pairs, **page)
    (folder / "mine.jpg").write_bytes(b"mine")
    assert sorted(path.name for path in folder.iterdir()) == ["matches-1.jpg", "matches-2.jpg", "mine.jpg"]
    write_search_page(tmp_path / "s.html", query, found[:1], pairs=pairs[:1], **page)
    assert sorted(path.name for path in folder.iterdir()) == ["matches-1.jpg", "mine.jpg"]
    write_search_page(tmp_path / "s.html", query, found, **page)
    assert [path.name for path in folder.iterdir()] == ["mine.jpg"]
    assert links((tmp_path / "s.html").read_text()) == []


def test_an_answer_that_cannot_be_drawn_tells_its_inliers_without_a_link(tmp_path):
    draw_photos(tmp_path, 1)
    query, gone = photos(("q", "gone"), tmp_path)
    pairs = [make_pair(query, query, num_inliers=0), make_pair(query, gone, num_inliers=1)]
    found = [answer(query, 0.5), answer(gone, 0.4)]
    write_search_page(
        tmp_path / 'odd "name" #1.html', query, found, pairs=pairs, collection=tmp_path, num_database=2
    )
    page = (tmp_path / 'odd "name" #1.html').read_text()
    assert links(page) == [("odd%20%22name%22%20%231_matches/matches-1.jpg", "0 inliers")]
    assert '<span class="line evidence">1 inlier</span>' in page
    assert page.count("Click their number to see them") == 1


def many_matches(query, database, num_inliers):
    """Twenty matches, the first of which agree."""
    places = np.arange(40, dtype=np.float32).reshape(20, 2)
    features = LocalFeatures(places, np.ones((20, 2)), np.ones(20), (40, 30))
    matches = Matches(np.repeat(np.arange(20), 2).reshape(20, 2), np.ones(20))
    found = Verification("affine", np.eye(3), np.arange(20) < num_inliers)
    return PhotoPair(query, database, features, features, matches, found)


def test_many_inliers_are_said_to_be_the_same_place_and_green(tmp_path):
    draw_photos(tmp_path, 2)
    query, other = photos(("q", "a"), tmp_path)
    page = tmp_path / "s.html"
    pairs = [many_matches(query, query, 15), many_matches(query, other, 14)]
    found = [answer(query, 1.2), answer(other, 0.3)]
    write_search_page(page, query, found, pairs=pairs, collection=tmp_path, num_database=2)
    text = page.read_text()
    assert verdicts(text) == ["query", "same", "plain"]
    assert ">same place, 15 inliers</a>" in text
    assert ">14 inliers</a>" in text
    assert [describe_pair(pair) for pair in pairs] == [
        "15 of 20 matches agree: same place",
        "14 of 20 matches agree: too few to say the same place",
    ]


def sure_page(tmp_path, **options):
    """A page of answers at 97, 60 and 12 per cent."""
    query, *others = photos(("q", "a", "b", "c"), tmp_path)
    judged = ((0.97, "same"), (0.6, "maybe"), (0.12, "unknown"))
    found = [
        answer(photo, 0.5, probability=probability, verdict=verdict)
        for photo, (probability, verdict) in zip(others, judged, strict=True)
    ]
    write_search_page(tmp_path / "s.html", query, found, collection=tmp_path, num_database=3, **options)
    return (tmp_path / "s.html").read_text()


def test_what_is_sure_but_not_verified_is_not_green(tmp_path):
    draw_photos(tmp_path, 4)
    page = sure_page(tmp_path)
    assert verdicts(page) == ["query", "likely", "plain", "plain"]
    assert 'class="line evidence same"' not in page and "mark same" not in page
    for words in ("same place: 97 %", "maybe the same place: 60 %", "not sure: 12 %"):
        assert f'<span class="line evidence">{words}</span>' in page
    assert "from 90 % on that is said, from 50 % on maybe; a dashed frame: not verified." in page
    assert "green" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_what_is_verified_is_green_and_the_page_says_so(tmp_path):
    draw_photos(tmp_path, 4)
    query, *others = photos(("q", "a", "b", "c"), tmp_path)
    pairs = [many_matches(query, other, inliers) for other, inliers in zip(others, (15, 14, 0), strict=True)]
    page = sure_page(tmp_path, pairs=pairs)
    assert verdicts(page) == ["query", "same", "plain", "plain"]
    assert "on maybe; a green frame: local features agree too." in page


def test_a_page_without_probabilities_says_nothing_of_them(tmp_path):
    query = Photo("q", Path("nowhere.jpg"))
    write_search_page(tmp_path / "s.html", query, [answer(query, 0.5)], collection=tmp_path, num_database=1)
    assert "how probably" not in (tmp_path / "s.html").read_text()


def test_a_search_page_says_what_was_asked_how_and_of_what(tmp_path):
    draw_photos(tmp_path, 2)
    query = Photo("trips/2024/0.png", tmp_path / "0.png", Box(1, 2, 30, 20.5))
    page = tmp_path / "below" / "s.html"
    options = {"model": "timm:x", "reranking": "dba:k=5", "collection": tmp_path / "c", "num_database": 1}
    write_search_page(page, query, [answer(Photo("1.png", tmp_path / "1.png"), 0.5)], **options)
    text = re.sub(r"\s+", " ", page.read_text())
    assert "<title>0.png · meisho search</title>" in text
    assert f"1 answer from 1 photo in <code>{tmp_path / 'c'}</code>" in text
    assert (
        "model <code>timm:x</code> · reranked by <code>dba:k=5</code> · box <code>1,2,30,20.5</code> px"
        in text
    )
    assert '<span class="line folder" title="trips/2024/0.png">trips/2024</span>' in text
    assert "The score is the reranker" in text
    assert '<span class="mark plain" title="rank">1</span>' in text
    assert {"../0.png", "../1.png"} == set(re.findall(r'href="([^"]+)"', text))


def test_photos_that_were_moved_are_said_once_with_the_command(tmp_path):
    query, gone = photos(("q", "a"), tmp_path)
    draw_photos(tmp_path, 1)
    page = tmp_path / "s.html"
    write_search_page(page, query, [answer(gone, 0.5)], collection=Path("my.meisho"), num_database=1)
    text = page.read_text()
    assert "1 of the 2 photos here cannot be shown, for example " in text
    assert "meisho index NEW_FOLDER --to my.meisho --moved" in text


@pytest.mark.parametrize("size", [(12, 4000), (4000, 12), (1, 1)])
def test_elongated_photos_are_drawn_with_their_matches(tmp_path, size):
    Image.new("RGB", size, "gray").save(tmp_path / "0.png")
    (photo,) = photos(("q",), tmp_path)
    pair = make_pair(photo, photo, num_inliers=3)
    write_search_page(
        tmp_path / "s.html", photo, [answer(photo, 1.0)], pairs=[pair], collection=tmp_path, num_database=1
    )
    assert len(links((tmp_path / "s.html").read_text())) == 1
    with Image.open(tmp_path / "s_matches" / "matches-1.jpg") as drawn:
        assert drawn.height == HEIGHT_PX + CAPTION_PX
        assert drawn.width < 3000


def test_inliers_are_drawn_where_they_are_in_the_photos(tmp_path):
    Image.new("RGB", (400, 50), "white").save(tmp_path / "0.png")
    (photo,) = photos(("q",), tmp_path)
    features = LocalFeatures(np.array([[199.5, 24.5]], np.float32), np.ones((1, 2)), np.ones(1), (400, 50))
    found = Verification("affine", np.eye(3), np.ones(1, bool))
    matches = Matches(np.array([[0, 0]]), np.ones(1))
    draw_matches(PhotoPair(photo, photo, features, features, matches, found), tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert pixels.shape[1] == 2 * 1280 + 12  # 400 x 50 at most 1280 wide, 160 high
    for x in (640, 1280 + 12 + 640):
        assert np.ptp(pixels[80, x]) > 100  # a colour at the middle of both photos


def test_many_queries_share_bars(tmp_path):
    count = 247
    ids = tuple(f"d{number}" for number in range(count))
    lists = [[query, (query + 1) % count] for query in range(count)]
    truth = GroundTruth([[(query + query % 2) % count] for query in range(count)], [[]] * count)
    page = page_of(tmp_path, rank_by(ids, ids, lists), truth, "retrieval")
    bars = heights(page)
    assert len(bars) == MOST_BARS
    assert bars == sorted(bars)
    assert page.count('title="queries ') == count - MOST_BARS  # bars of two
    assert "Neighbours share a bar" in page
    assert set(re.findall(r'href="#(case-\d+)"', page)) < {f"case-{number}" for number in range(12)}


def test_copies_and_turns_are_told_below_the_answer(tmp_path):
    query = Photo("q", Path("nowhere.jpg"))
    found = [answer(Photo("a", Path("a.jpg")), 0.5, copies=(Photo(NASTY, Path("b.jpg")),), turned=90)]
    write_search_page(tmp_path / "s.html", query, found, collection=tmp_path, num_database=2)
    page = (tmp_path / "s.html").read_text()
    assert "<summary>1 copy</summary>" in page and NASTY in "".join(Tags(page).texts)
    assert "query turned by 90°" in page
