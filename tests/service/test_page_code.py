"""The page's own code: texts in both languages and none in the code, nothing read as HTML, and small."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import meisho.service
from meisho.service.problems import KINDS

STATIC = Path(meisho.service.__file__).parent / "static"
TEXTS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in STATIC.glob("??.json")}
MODULES = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}
INDEX = (STATIC / "index.html").read_text(encoding="utf-8")


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
    sentences = [
        text for text in texts if re.search(r"[A-Z][a-z]+ [a-z]+ ", text) or re.search("[ぁ-ん]", text)
    ]
    assert [text for text in sentences if not text.startswith(("no text", "Arrow"))] == []


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_read_as_html_or_code(name):
    assert (
        re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc",
            MODULES[name],
        )
        == []
    )


def test_every_kind_of_problem_has_words_in_japanese():
    words = json.loads((STATIC / "problems.ja.json").read_text(encoding="utf-8"))
    assert set(words) == set(KINDS)
    assert all(title and re.search("[ぁ-ん]", title) for title, _ in words.values())
