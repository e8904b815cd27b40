"""Places and duplicates: what a job has found, looked at and dismissed."""

import pytest
from page_steps import expect, open_page, wait_until_shown


@pytest.fixture
def page(new_page, own_service):
    """A page of a service that has just been told to find the places."""
    page = new_page(own_service.url)
    open_page(page, "#view=places")
    page.get_by_role("button", name="Find the places").click()
    page.wait_for_url("**view=jobs**")
    expect(page.locator("tbody tr").first).to_contain_text("Done")
    return page


def test_places_are_shown_and_lead_to_a_search(page):
    open_page(page, "#view=places")
    tiles = page.locator(".tiles .photo")
    expect(tiles.first).to_be_visible()
    sizes = [int(text.split()[0]) for text in page.locator(".tiles .small").all_inner_texts()]
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
    wait_until_shown(page)
    expect(group).to_have_count(0)
    page.get_by_role("button", name="Show the dismissed too").click()
    expect(group).to_contain_class("dismissed")
    group.get_by_role("button", name="Put back").click()
    expect(group).not_to_contain_class("dismissed")
    page.reload()
    wait_until_shown(page)
    expect(group).not_to_contain_class("dismissed")


def test_a_place_stays_dismissed(page):
    open_page(page, "#view=places")
    shown = page.locator(".tiles li")
    number = shown.count()
    place = page.locator(f".tiles [data-id='{shown.first.get_attribute('data-id')}']")
    place.get_by_role("button", name="Dismiss").click()
    expect(place).to_contain_class("dismissed")
    page.reload()
    wait_until_shown(page)
    expect(shown).to_have_count(number - 1)
    expect(place).to_have_count(0)
    page.get_by_role("button", name="Show the dismissed too").click()
    expect(place).to_contain_class("dismissed")
    place.locator(".photo").click()
    page.get_by_role("button", name="Put back").click()
    expect(page.get_by_role("button", name="Dismiss")).to_be_visible()
    open_page(page, "#view=places")
    expect(shown).to_have_count(number)
