"""Keys and screen readers: one table binds the keys and lists them; landmarks, focus, live region; axe."""

import re
from pathlib import Path

import pytest
from page_steps import (
    VIEWS,
    answers,
    draw_box,
    expect,
    open_page,
    search_by_photo,
    wait_for_address,
    wait_for_answers,
)

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


def test_the_list_of_keys_is_the_table_that_binds_them(page):
    import meisho.service

    source = (Path(meisho.service.__file__).parent / "static" / "main.js").read_text(encoding="utf-8")
    bound = re.findall(r'\b(?:bind|mention)\(\["([^"]+)', source)
    open_page(page)
    page.keyboard.press("?")
    rows = page.locator("#keys-table tr")
    expect(rows).to_have_count(len(bound))
    assert [row.locator("kbd").first.inner_text() for row in rows.all()] == bound
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.get_by_role("button", name="Keys").click()
    expect(page.locator("#keys")).to_be_visible()


def test_a_search_is_made_and_looked_at_by_keys_alone(page):
    open_page(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("#picks .photo").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**#photo=**")
    wait_for_answers(page)
    order = answers(page)
    page.keyboard.press("j")
    expect(page.locator("#lists .photo").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#why .lines")).to_be_visible()
    page.keyboard.press("j")
    wait_for_address(page, "why", order[1])
    page.keyboard.press("s")
    expect(page.locator("#asked-name")).to_have_text(order[1].split("/")[-1])
    page.keyboard.press("Backspace")
    wait_for_address(page, "why", order[1])


def test_keys_are_letters_where_one_types(page):
    open_page(page)
    page.get_by_label("Folder").focus()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_hidden()


def test_landmarks_and_headings(page):
    search_by_photo(page, PHOTO)
    for role in ("banner", "main", "complementary"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.locator("[role=status][aria-live=polite]")).to_have_text(
        re.compile("other photos show the same place")
    )


def test_the_first_tab_skips_to_the_photos(page):
    open_page(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the photos")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#start")).to_be_visible()


def first_screen(page):
    open_page(page)


def found(page):
    search_by_photo(page, PHOTO)
    draw_box(page, (0.1, 0.1), (0.9, 0.9))
    page.wait_for_url("**box=**")
    wait_for_answers(page)  # those before are pale meanwhile
    page.get_by_text("Narrow down").click()


def evidence(page):
    search_by_photo(page, PHOTO)
    page.locator("#lists .photo").first.click()
    expect(page.locator("#why .lines")).to_be_visible()


def overlay(page):
    evidence(page)
    page.keyboard.press("v")
    expect(page.locator("#why .sheet")).to_be_visible()


def keys(page):
    first_screen(page)
    page.keyboard.press("?")


def view(name):
    def opened(page):
        open_page(page, f"#view={name}")
        expect(page.locator("#other h1")).to_be_visible()

    opened.__name__ = name
    return opened


STATES = [first_screen, found, evidence, overlay, keys, *map(view, VIEWS)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing(new_page, state, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = new_page(color_scheme=scheme, reduced_motion="reduce")
    state(page)
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == []
