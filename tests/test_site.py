"""The site: its menu has every page, it builds without a warning, and it asks no other host."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

import meisho
from hostile import all_commands
from meisho import cli

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "docs" / "site" / "build.py"
WRITTEN = {"commands.md", "python_reference.md"}
"""Pages that the program writes."""
FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_site", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("needs the extra docs")
    to = tmp_path_factory.mktemp("built") / "site"
    ended = subprocess.run([sys.executable, SCRIPT, "--to", to], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return to


def settings_of(language):
    return tomllib.loads((ROOT / f"docs/site/{language}.toml").read_text())["project"]


def entries(menu):
    """Each title of a menu with its page."""
    for entry in menu:
        for title, value in entry.items():
            yield from [(title, value)] if isinstance(value, str) else entries(value)


@pytest.mark.parametrize(("language", "folder"), [("en", "docs"), ("ja", "docs/ja")])
def test_every_page_is_in_the_menu(language, folder):
    settings = settings_of(language)
    listed = [page for _, page in entries(settings["nav"]) if not page.startswith("../")]
    assert len(listed) == len(set(listed))
    there = {path.name for path in (ROOT / folder).glob("*.md")}
    assert set(listed) - WRITTEN == there
    assert settings["theme"]["font"] is False


def test_the_japanese_menu_leads_to_the_pages_that_are_only_in_english():
    japanese = list(entries(settings_of("ja")["nav"]))
    abroad = [page for _, page in japanese if page.startswith("../")]
    own = {page for _, page in japanese} - set(abroad)
    missing = {page for _, page in entries(settings_of("en")["nav"])} - own
    assert sorted(abroad) == sorted(f"../{Path(page).stem}.html" for page in missing)
    assert all((page in abroad) == title.endswith("（英語）") for title, page in japanese)


def test_the_reference_has_every_command_and_option(build):
    parts = dict(re.findall(r"^## meisho ([\w -]+)\n(.*?)(?=^## |\Z)", build.write_commands(), re.M | re.S))
    assert parts.keys() == {"serve", *(" ".join(words) for words, _ in all_commands())}
    program = typer.main.get_command(cli.app)
    for name, text in parts.items():
        command = program
        for word in name.split():
            command = command.commands[word]
        options = [option for parameter in command.params for option in parameter.opts if option[0] == "-"]
        assert len(options) > 0
        assert not [option for option in options if option not in text], name


def test_the_reference_has_every_public_name(build):
    named = re.findall(r"^::: ([\w.]+)$", build.write_names(), re.M)
    assert sorted(place.rpartition(".")[2] for place in named) == sorted(
        set(meisho.__all__) - {"__version__"}
    )


def test_notebooks_of_the_language_are_listed_by_their_headings(build, tmp_path):
    for name, heading in (("02_b.en", "# 02 Second"), ("01_a.en", "# 01 [First]"), ("01_a.ja", "# 01 最初")):
        cells = [{"cell_type": "markdown", "source": [f"{heading}\n", "\n", "More."]}]
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    text = build.list_notebooks(tmp_path, "en", tmp_path / "pages")
    assert re.findall(r"\[([^]]*)\]\(([^)]*)\)", text) == [
        ("01 (First)", "files/01_a.en.ipynb"),
        ("02 Second", "files/02_b.en.ipynb"),
    ]
    assert "Each link downloads a notebook" in text
    assert (tmp_path / "pages/files/02_b.en.ipynb").is_file()
    assert build.list_notebooks(tmp_path / "nowhere", "en", tmp_path / "pages") == ""


def test_a_folder_of_something_else_is_not_replaced(build, tmp_path):
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="choose another"):
        build.build(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "dear"


class Page(HTMLParser):
    """What a page names: ids, links, and what a browser fetches for it."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.fetched = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given.get("id"), given.get("name")} - {None}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in FETCHED and given.get(FETCHED[tag]):
            self.fetched.append(given[FETCHED[tag]])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


@pytest.mark.slow
def test_it_is_built_in_both_languages(site, pages):
    assert {"index.html", "commands.html", "LOG.html"} <= {path.name for path in pages}
    assert (site / "ja" / "book.html") in pages
    assert 'lang="ja"' in (site / "ja/index.html").read_text()[:300]
    abroad = {page for _, page in entries(settings_of("ja")["nav"]) if page.startswith("../")}
    assert len(abroad) > 5 and abroad <= set(pages[site / "ja" / "index.html"].links)
    for place in (site, site / "ja"):
        assert (place / "search.json").stat().st_size > 10_000
    reference = (site / "python_reference.html").read_text()
    assert "float32" in reference and 'id="meisho.run.finding.Finder"' in reference


@pytest.mark.slow
def test_links_lead_somewhere(site, pages):
    assert len(pages) > 25
    for path, page in pages.items():
        for link in (*page.links, *page.fetched):
            if re.match(r"[a-z]+:|//", link):
                continue
            target, _, part = unquote(link).partition("#")
            file = (path.parent / target).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), (path, link)
            if part and file in pages and part != "__top":
                assert part in pages[file].ids, (path, link)


@pytest.mark.slow
def test_nothing_is_fetched_from_another_host(site, pages):
    for path, page in pages.items():
        assert not [each for each in page.fetched if re.match(r"(https?:)?//", each)], path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(\s*[\"']?|@import\s+[\"']?)(https?:)?//", sheet.read_text()), sheet


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_asks_no_other_host(site, browser):
    asked = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index.html", "python_reference.html", "service.html", "ja/index.html"):
        page.goto((site / name).as_uri(), wait_until="load")
    page.close()
    assert len(asked) > 10
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
