"""Same place or not: marked by buttons and keys, kept by the service, and searched from again."""

import json

import pytest
from page_steps import answers, expect, search_by_photo, wait_for_answers

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


@pytest.fixture
def page(new_page, own_service):
    return new_page(own_service.url)


def card(page, at):
    return page.locator("#lists .card").nth(at)


def test_marks_by_button_and_key_are_kept(page):
    search_by_photo(page, PHOTO)
    first, second = answers(page)[:2]
    card(page, 0).get_by_role("button", name="Same place", exact=True).click()
    expect(card(page, 0).get_by_role("button", name="Same place", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    card(page, 1).locator(".photo").focus()
    page.keyboard.press("n")
    expect(card(page, 1).get_by_role("button", name="Not the same place")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.reload()
    wait_for_answers(page)
    expect(page.locator(f'[data-id="{first}"]')).to_contain_class("marked-same")
    expect(page.locator(f'[data-id="{second}"]')).to_contain_class("marked-other")
    page.locator(f'#lists [data-id="{second}"] .photo').focus()
    page.keyboard.press("n")  # again takes it back
    expect(page.locator(f'[data-id="{second}"]')).not_to_contain_class("marked-other")
    page.reload()
    wait_for_answers(page)
    expect(page.locator(f'[data-id="{second}"]')).not_to_contain_class("marked-other")


def test_the_answer_that_is_shown_large_is_marked_by_key(page):
    search_by_photo(page, PHOTO)
    page.locator("#lists .photo").first.click()
    expect(page.locator("#why")).to_be_visible()
    page.keyboard.press("y")
    expect(page.locator("#why").get_by_role("button", name="Same place", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )


def test_search_again_from_what_was_marked(page):
    search_by_photo(page, PHOTO)
    card(page, 0).get_by_role("button", name="Same place", exact=True).click()
    page.get_by_role("button", name="Search again with the marked photo").click()
    page.wait_for_url("**marked=1**")
    wait_for_answers(page)
    assert page.watched.searches()[-1]["marked"] is True
    assert answers(page)
    page.get_by_role("button", name="Without the marked photos").click()
    page.wait_for_url(lambda url: "marked" not in url)


def test_marks_are_saved_as_a_file(page):
    search_by_photo(page, PHOTO)
    marked = answers(page)[0]
    card(page, 0).get_by_role("button", name="Same place", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the marks").click()
    assert marked in saved.value.path().read_text(encoding="utf-8")


def test_marks_hold_for_their_query_alone(page):
    search_by_photo(page, PHOTO)
    card(page, 0).get_by_role("button", name="Same place", exact=True).click()
    expect(page.locator(".marked-same")).to_have_count(1)
    search_by_photo(page, PHOTO.replace("02.jpg", "03.jpg"))
    expect(page.locator(".marked-same")).to_have_count(0)
    assert json.loads(page.evaluate("JSON.stringify({...localStorage})")) == {}
