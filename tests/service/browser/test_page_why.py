"""Why an answer: both photos with their lines, or one laid over the other; zoom; Back."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from page_service import run_meisho, serving
from page_steps import answers, expect, open_page, search_by_photo, wait_for_address

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


@pytest.fixture
def match(page):
    """The first answer, opened; and what the service says of the pair."""
    search_by_photo(page, PHOTO)
    with page.expect_response("**/v1/match") as reply:
        page.locator("#lists .photo").first.click()
    expect(page.locator("#why .lines")).to_be_visible()
    return json.loads(reply.value.text())


def test_lines_join_the_points_that_agree(page, match):
    expect(page.locator("#why .lines line")).to_have_count(len(match["lines"]))
    assert len(match["lines"]) > 10
    expect(page.locator("#why-title")).to_contain_text("Same place")
    expect(page.locator("#why-facts")).to_contain_text(f"{match['inliers']} points agree")
    line = page.locator("#why .lines line").first
    x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
    xq, yq, xp, yp = match["lines"][0]
    for name, at, size, point in (
        ("asked", (x1, y1), match["query_size_px"], (xq, yq)),
        ("answer", (x2, y2), match["photo_size_px"], (xp, yp)),
    ):
        place = page.locator(f"#canvas .{name}").evaluate(
            "image => ['left', 'top', 'width', 'height'].map((side) => parseFloat(image.style[side]))"
        )
        share = [(at[axis] - place[axis]) / place[axis + 2] for axis in (0, 1)]
        assert share == pytest.approx([(value + 0.5) / side for value, side in zip(point, size, strict=True)])


def test_the_answer_is_laid_over_the_query_by_the_homography(page, match):
    page.get_by_role("button", name="Overlay").click()
    photo = page.locator("#canvas .sheet .answer")
    expect(photo).to_be_visible()
    scale = page.locator("#canvas .sheet .asked").evaluate("image => parseFloat(image.style.width)")
    scale /= match["query_size_px"][0]
    values = photo.evaluate("image => [...new DOMMatrix(image.style.transform).toFloat64Array()]")
    shown = np.array(values).reshape(4, 4).T[np.ix_([0, 1, 3], [0, 1, 3])]
    for xq, yq, *_ in match["lines"][:10]:  # a point of the query, taken to the photo and back by CSS
        there = np.array(match["H_query_to_photo"]) @ [xq, yq, 1]
        back = shown @ [*(there[:2] / there[2] * scale), 1]
        assert back[:2] / back[2] == pytest.approx([xq * scale, yq * scale], abs=0.01)
    fade = page.get_by_label("From the query to the answer")
    fade.focus()
    page.keyboard.press("Home")
    expect(photo).to_have_css("opacity", "0")
    page.keyboard.press("End")
    expect(photo).to_have_css("opacity", "1")


def test_it_zooms_by_buttons_keys_and_wheel(page, match):
    canvas = page.locator("#canvas")

    def scale():
        return page.evaluate("new DOMMatrix(document.querySelector('#canvas').style.transform).a")

    page.get_by_role("button", name="Zoom in").click()
    assert scale() == pytest.approx(1.4)
    page.locator("#stage").focus()
    page.keyboard.press("+")
    assert scale() == pytest.approx(1.96)
    page.keyboard.press("0")
    assert scale() == 1
    page.locator("#stage").hover()
    page.mouse.wheel(0, -200)
    expect(canvas).not_to_have_css("transform", "matrix(1, 0, 0, 1, 0, 0)")
    assert scale() > 1
    page.get_by_role("button", name="Whole photos").click()
    assert scale() == 1


def test_the_next_answer_and_back_to_the_list(page, match):
    order = answers(page)
    wait_for_address(page, "why", order[0])
    page.get_by_role("button", name="Next answer").click()
    wait_for_address(page, "why", order[1])
    page.keyboard.press("k")
    wait_for_address(page, "why", order[0])
    page.go_back()
    expect(page.locator("#why")).to_be_hidden()
    assert answers(page) == order


@pytest.mark.parametrize("close", ["Escape", "button"])
def test_it_closes(page, match, close):
    if close == "button":
        page.locator("#why-close").click()
    else:
        page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_hidden()
    assert "why" not in page.url
    expect(page.locator("#lists .photo").first).to_be_focused()


def test_a_link_opens_it(new_page, page, match):
    other = new_page()
    other.goto(page.url)
    expect(other.locator("#why .lines line")).to_have_count(len(match["lines"]))


def test_search_from_what_is_shown(page, match):
    first = answers(page)[0]
    page.locator("#why").get_by_role("button", name="Search from here").click()
    expect(page.locator("#why")).to_be_hidden()
    expect(page.locator("#asked-name")).to_have_text(first.split("/")[-1])
    assert re.search(r"#photo=[^&]+$", page.url)


def test_without_local_features_both_photos_are_shown_and_none_is_compared(new_page, city, tmp_path):
    plain = replace(city, collection=tmp_path / "plain.meisho")
    run_meisho("index", city.photos, "--to", plain.collection)
    with serving(plain) as service:
        page = new_page(service.url)
        open_page(page, f"#photo={PHOTO}")
        expect(page.locator("#found-facts")).to_contain_text("no local features")
        assert [search["verify"] for search in page.watched.searches()] == [0]
        page.locator("#lists .photo").first.click()
        expect(page.locator("#canvas img")).to_have_count(2)
        expect(page.locator("#why-facts")).to_contain_text("no local features")
        assert [path for _, path, _ in page.watched.requests if path == "v1/match"] == []
