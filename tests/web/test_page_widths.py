"""The static pages in a real browser, on a phone and a desk: nothing is cut, and the answers are in sight."""

import numpy as np
import pytest
from PIL import Image

from meisho.datasets.base import Dataset
from meisho.datasets.looking import DatasetSample, LandmarkSample
from meisho.descriptors import Provenance
from meisho.evaluate.protocols import evaluate_ranking
from meisho.ground_truth import GroundTruth
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.run.found import Answer
from meisho.web.look import write_look_page
from meisho.web.pages import write_report_page, write_search_page

LONG = "summer_holiday_of_the_whole_family_at_the_great_station_IMG20260712183015.png"
NUM_QUERIES = 247

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of answers to a tall photo with a long name, and a report of many queries."""
    folder = tmp_path_factory.mktemp("pages")
    for name, size in ((LONG, (300, 900)), ("wide.png", (900, 300)), ("tall.png", (300, 900))):
        Image.effect_noise(size, 80).convert("RGB").save(folder / name)
    query, wide, tall = (Photo(name, folder / name) for name in (LONG, "wide.png", "tall.png"))
    answers = [Answer(photo.id, photo.path, 0.5) for photo in (wide, tall, wide, tall)]
    write_search_page(folder / "search.html", query, answers, collection="my.meisho", num_database=4)
    ids = tuple(f"q{number}" for number in range(NUM_QUERIES))
    ranking = Ranking(
        ids, ("wide", "tall"), np.tile([0, 1], (NUM_QUERIES, 1)), np.tile([0.9, 0.1], (NUM_QUERIES, 1))
    )
    truth = GroundTruth.from_labels([str(n % 2) for n in range(NUM_QUERIES)], ["0", "1"])
    report = evaluate_ranking(
        ranking, truth, protocol="retrieval", dataset=LONG, queries_cropped=False, provenance=Provenance("x")
    )
    queries = tuple(Photo(name, query.path) for name in ids)
    database = (Photo("wide", wide.path), Photo("tall", tall.path))
    dataset = Dataset("set", folder, database, queries, truth, "retrieval")
    write_report_page(folder / "report.html", report, ranking, dataset)
    return folder


@pytest.mark.parametrize("width_px", [390, 1280])
@pytest.mark.parametrize("name", ["search.html", "report.html"])
def test_nothing_is_cut(browser, pages, name, width_px):
    page = browser.new_page(viewport={"width": width_px, "height": 844})
    page.goto((pages / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    for box in page.evaluate(
        "[...document.querySelectorAll('figure, .bars a')].map(e => e.getBoundingClientRect().right)"
    ):
        assert box <= width_px
    page.close()


@pytest.mark.parametrize("width_px", [390, 1280])
def test_drawings_are_whole_and_their_letters_can_be_read(browser, pages, width_px):
    page = browser.new_page(viewport={"width": width_px, "height": 844})
    page.goto((pages / "report.html").as_uri())
    drawn = page.evaluate(
        "[...document.querySelectorAll('.drawn svg')].filter(e => e.checkVisibility()).map(svg => {"
        "  return [svg, ...svg.querySelectorAll('text')].map(e => e.getBoundingClientRect())"
        "    .map(box => [box.left, box.right, box.height]); })"
    )
    assert len(drawn) == 2  # the curve, the bars
    for (left, right, _), *texts in drawn:
        assert left >= 0 and right <= width_px
        for start, end, height_px in texts:
            assert left <= start and end <= right
            assert height_px >= 10
    page.close()


@pytest.mark.parametrize("width_px", [390, 1280])
def test_cards_of_the_look_page_are_no_higher_than_what_is_on_them(browser, pages, width_px):
    tall, wide = Photo(LONG, pages / LONG), Photo("wide", pages / "wide.png")
    sample = DatasetSample(
        "set", "1 of 1 query", (LandmarkSample("q", "2 right answers", (wide, wide), tall),)
    )
    write_look_page(pages / "look.html", sample, seed=0)
    page = browser.new_page(viewport={"width": width_px, "height": 844})
    page.goto((pages / "look.html").as_uri())
    spare_px = page.evaluate(
        "[...document.querySelectorAll('figure')].map(e => e.getBoundingClientRect().bottom"
        " - e.querySelector('figcaption').getBoundingClientRect().bottom)"
    )
    assert len(spare_px) == 3 and max(spare_px) < 5
    page.close()


@pytest.mark.parametrize(("width_px", "columns"), [(390, 2), (1280, 4)])
def test_answers_are_in_sight_beside_or_below_the_query(browser, pages, width_px, columns):
    page = browser.new_page(viewport={"width": width_px, "height": 844})
    page.goto((pages / "search.html").as_uri())
    tops = page.evaluate(
        "[...document.querySelectorAll('.answers figure')].map(e => e.getBoundingClientRect().top)"
    )
    assert tops[0] < 844
    assert len([top for top in tops if top == tops[0]]) == columns
    for width, height, real_width, real_height in page.evaluate(
        "[...document.querySelectorAll('.answers img')]"
        ".map(e => [e.width, e.height, e.naturalWidth, e.naturalHeight])"
    ):
        assert width == height
        assert max(real_width, real_height) > 2 * min(
            real_width, real_height
        )  # the whole photo, not a square of it
    page.close()
