"""Narrowing a search: folder, dates, and a circle on a map without tiles."""

import pytest
from page_city import SOUTH_WEST, SPACING_DEGREES
from page_steps import answers, expect, search_by_photo, wait_for_answers, wait_until_shown

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


@pytest.fixture
def narrow(page):
    """The filters, open beside the answers to a photo."""
    search_by_photo(page, PHOTO)
    page.get_by_text("Narrow down").click()
    return page.locator("#filters")


def settle(page, part):
    page.wait_for_url(lambda url: part in url)
    expect(page.locator("#busy")).to_be_hidden()
    wait_until_shown(page)


def test_a_folder(page, narrow):
    narrow.get_by_label("Folder").select_option("streets")
    settle(page, "folder=streets")
    assert answers(page)
    assert all(name.startswith("streets/") for name in answers(page))
    expect(page.locator("#narrow-count")).to_have_text("1")
    page.get_by_role("button", name="All photos").click()
    wait_for_answers(page)
    assert any(not name.startswith("streets/") for name in answers(page))


def test_dates(page, narrow):
    narrow.get_by_label("From").fill("2020-01-01")
    settle(page, "after=2020-01-01")
    narrow.get_by_label("Until").fill("2021-12-31")
    settle(page, "before=2021-12-31")
    assert answers(page)
    assert all(name.endswith(("_02.jpg", "_03.jpg")) for name in answers(page))


def test_a_circle_on_the_map_by_mouse(page, narrow):
    chart = narrow.locator(".map")
    dots = chart.locator("circle:not(.chosen)")
    assert dots.count() > 3
    chart.scroll_into_view_if_needed()
    place = dots.first.bounding_box()
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    settle(page, "gps=")
    latitude, longitude, _ = page.url.split("gps=")[1].split("&")[0].split(",")
    assert float(latitude) == pytest.approx(SOUTH_WEST[0], abs=0.02)
    landmarks = (float(longitude) - SOUTH_WEST[1]) / SPACING_DEGREES
    assert -0.3 < landmarks < 4.3
    assert all(not name.startswith("streets/") for name in answers(page))
    radius = page.get_by_label("Radius")
    radius.focus()
    page.keyboard.press("End")
    settle(page, ",1000")


def test_a_circle_on_the_map_by_keys(page, narrow):
    narrow.locator(".map").focus()
    page.keyboard.press("ArrowRight")
    settle(page, "gps=")
    first = page.url
    page.keyboard.press("ArrowUp")
    page.wait_for_url(lambda url: url != first)
    expect(page.locator("#filters .map .chosen")).to_be_visible()
