"""Every text is in both languages, and none in the code."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import meisho.service
import pytest
from page_steps import open_page, search_by_photo
from playwright.sync_api import expect

STATIC = Path(meisho.service.__file__).parent / "static"
TEXTS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in STATIC.glob("??.json")}
MODULES = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}
INDEX = (STATIC / "index.html").read_text(encoding="utf-8")
PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"
NAMES = r"meisho|English|JSON|CSV|GPS|Esc|Del|Shift|Ctrl|Enter|Backspace|[\w/ ]+\.jpg|toycity|km|sift|xfeat"
"""Words in Latin letters that a Japanese page may show: names, keys, units."""


def slots(text):
    forms = text.values() if isinstance(text, dict) else [text]
    return {slot for form in forms for slot in re.findall(r"\{(\w+)\}", form)}


def test_both_languages_have_the_same_texts_with_the_same_slots():
    assert set(TEXTS) == {"en", "ja"}
    assert set(TEXTS["en"]) == set(TEXTS["ja"])
    for key, text in TEXTS["en"].items():
        assert slots(text) == slots(TEXTS["ja"][key]), key


def test_every_text_is_used_and_every_text_used_is_there():
    code = "".join(MODULES.values())
    asked = set(re.findall(r'\bt\("(\w+)"', code)) | set(re.findall(r'data-(?:text|label)="(\w+)"', INDEX))
    assert asked - set(TEXTS["en"]) == set()
    stems = tuple(re.findall(r"\bt\(`(\w+_)\$", code))
    words = set(re.findall(r'"(\w+)"', code)) | asked
    assert [key for key in TEXTS["en"] if key not in words and not key.startswith(stems)] == []


def test_index_html_holds_no_text_of_its_own():
    class Reader(HTMLParser):
        texts, inside = [], []

        def handle_starttag(self, tag, attributes):
            self.inside = [tag, dict(attributes)]
            for name, value in attributes:
                if name in ("title", "alt", "placeholder", "aria-label"):
                    self.texts.append(value)

        def handle_data(self, data):
            if data.strip() and self.inside[0] != "title":
                self.texts.append(data.strip())

    reader = Reader()
    reader.feed(INDEX)
    assert set(reader.texts) == {"名所", "meisho", "?"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_holds_no_sentence(name):
    code = re.sub(r"/\*\*.*?\*/|//.*", "", MODULES[name], flags=re.S)
    code = re.sub(r"\$\{[^}]*\}", "", code)
    strings = re.findall(r'"([^"\n]*)"|`([^`]*)`', code)
    texts = [one or other for one, other in strings]
    sentences = [text for text in texts if re.search(r"[A-Z][a-z]+ [a-z]+ ", text) or re.search("[ぁ-ん]", text)]
    assert [text for text in sentences if not text.startswith(("no text", "Arrow"))] == []


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_read_as_html_or_code(name):
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", MODULES[name]) == []


def test_the_page_begins_in_the_language_of_the_browser(new_page):
    page = new_page(locale="ja-JP")
    open_page(page)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("heading", level=1)).to_have_text(TEXTS["ja"]["start_title"])


def latin(page):
    return [word for word in re.findall(r"[A-Za-z]{3,}", re.sub(NAMES, "", page.locator("body").inner_text()))]


@pytest.mark.parametrize("view", ["search", "found", "why", "places", "duplicates", "evaluations", "jobs"])
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
    for option in page.locator("option").all():  # names of folders are the reader's own
        option.evaluate("option => option.remove()")
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
