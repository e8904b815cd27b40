"""Every text is in both languages, and none in the code."""

import json
import re
from pathlib import Path

import pytest
from page_city import HOSTILE
from page_steps import VIEWS, expect, open_page, search_by_photo

import meisho.service

STATIC = Path(meisho.service.__file__).parent / "static"
TEXTS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in STATIC.glob("??.json")}
PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"
NAMES = r"meisho|English|JSON|CSV|GPS|Esc|Del|Shift|Ctrl|Enter|Backspace|[\w/ ]+\.jpg|toycity|km|sift|xfeat"
"""Words in Latin letters that a Japanese page may show: names, keys, units."""


def test_the_page_begins_in_the_language_of_the_browser(new_page):
    page = new_page(locale="ja-JP")
    open_page(page)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("heading", level=1)).to_have_text(TEXTS["ja"]["start_title"])


def latin(page):
    text = page.locator("body").inner_text().replace(HOSTILE, "")
    return re.findall(r"[A-Za-z]{3,}", re.sub(NAMES, "", text))


@pytest.mark.parametrize("view", ["search", "found", "why", *VIEWS])
def test_no_english_is_left_in_a_japanese_page(new_page, view):
    page = new_page(locale="ja-JP")
    if view in ("found", "why"):
        search_by_photo(page, PHOTO)
        page.locator("#narrow summary").click()
        if view == "why":
            page.locator("#lists .photo").first.click()
            expect(page.locator("#why .lines")).to_be_visible()
    else:
        open_page(page, f"#view={view}")
    # The names of folders are the reader's own.
    page.evaluate("document.querySelectorAll('option').forEach((option) => option.remove())")
    assert latin(page) == []


def test_the_switch_changes_all_that_is_shown_and_is_remembered(page):
    search_by_photo(page, PHOTO)
    page.get_by_label("Language").select_option("ja")
    expect(page.get_by_role("heading", level=1)).to_contain_text("同じ場所の写真が")
    expect(page.locator("#lists .verdict").first).to_contain_text("同じ場所")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    page.get_by_label("言語").select_option("en")
    expect(page.get_by_role("heading", level=1)).to_contain_text("show the same place")


@pytest.mark.parametrize(
    ("address", "title", "detail"),
    [
        ("#photo=nowhere/no.jpg", "この写真はコレクションにありません", "nowhere/no.jpg"),
        ("#photo=streets/the same again.jpg&box=1,2,3", "できません", "box"),
        ("#view=evaluations&id=0123", "見つかりません", "0123"),
    ],
)
def test_a_problem_is_told_in_japanese_and_names_what_it_is_about(new_page, address, title, detail):
    page = new_page(locale="ja-JP")
    page.watched.expected.append("status of 4")
    page.goto(page.home + address)
    alert = page.get_by_role("alert")
    expect(alert.locator("strong")).to_contain_text(title)
    expect(alert.locator("[lang=en]")).to_contain_text(detail)
