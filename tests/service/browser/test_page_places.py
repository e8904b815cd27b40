"""Places and duplicates: what a job has found, looked at and dismissed."""

import pytest
from page_service import run_meisho, serving
from page_steps import expect, open_page


@pytest.fixture
def page(new_page, own_city):
    """A page of a service whose collection has its places."""
    pytest.importorskip("meisho.cli.groups", reason="this build finds no places")
    run_meisho("groups", own_city.collection)
    with serving(own_city) as service:
        yield new_page(service.url)


def test_places_are_shown_and_lead_to_a_search(page):
    open_page(page, "#view=places")
    tiles = page.locator(".tiles .photo")
    expect(tiles.first).to_be_visible()
    sizes = [int(text.split()[0]) for text in page.locator(".tiles p").all_inner_texts()]
    assert sizes == sorted(sizes, reverse=True)
    tiles.first.click()
    photos = page.locator("#other .rows .card")
    expect(photos).to_have_count(sizes[0])
    folders = {
        photo.split("/")[0] for photo in photos.evaluate_all("cards => cards.map((card) => card.dataset.id)")
    }
    assert len(folders - {"streets"}) == 1
    photos.first.get_by_role("button").click()
    expect(page.locator("#lists .verdict").first).to_be_visible()


def test_a_duplicate_stays_dismissed(page):
    open_page(page, "#view=duplicates")
    group = page.locator(".group", has_text="the same again.jpg")
    expect(group).to_have_count(1)
    group.get_by_role("button", name="Not duplicates").click()
    expect(group).to_contain_class("dismissed")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".group:not(.dismissed)", has_text="the same again.jpg")).to_have_count(0)
