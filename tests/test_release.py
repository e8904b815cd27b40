"""What a release says of itself: one version, whose work is in it, a changelog of the usual shape."""

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

import meisho

ROOT = Path(__file__).parent.parent
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"


def test_the_version_stands_in_one_place_and_what_repeats_it_agrees():
    assert re.fullmatch(VERSION, meisho.__version__)
    project = (ROOT / "pyproject.toml").read_text()
    assert 'version = { attr = "meisho.__version__" }' in project
    assert not re.search(r'^version = "', project, re.MULTILINE)
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == meisho.__version__
    assert json.loads((ROOT / "docs" / "openapi.json").read_text())["info"]["version"] == meisho.__version__


def test_the_citation_has_what_the_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["message"] and citation["title"]
    assert citation["authors"] == [{"name": "The meisho developers"}]
    assert citation["license"] == "Apache-2.0"


def test_the_changelog_keeps_its_shape():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n") and "keepachangelog.com" in text
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "[Unreleased]" or re.fullmatch(rf"\[{VERSION}\] - \d{{4}}-\d\d-\d\d", heads[0])
    for head in heads[1:]:
        assert re.fullmatch(rf"\[{VERSION}\] - \d{{4}}-\d\d-\d\d", head), head
    for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert {*kinds} <= KINDS and len({*kinds}) == len(kinds), kinds
        for line in re.sub(r"^### .*$", "", section, flags=re.MULTILINE).splitlines():
            assert not line or line.startswith(("- ", "  ")), line


def test_the_licence_is_apache_s_and_names_nobody_else():
    text = (ROOT / "LICENSE").read_text()
    assert text.lstrip().startswith("Apache License\n") and "Version 2.0, January 2004" in text
    assert re.findall(r"^ +Copyright .*", text, re.MULTILINE) == ["   Copyright 2026 The meisho developers"]


def test_what_others_made_is_named_with_its_licence():
    """Whatever is not text that we wrote has a row; what comes in without one is found here."""
    named = (ROOT / "THIRD_PARTY.md").read_text()
    package = ROOT / "src" / "meisho"
    ours = {".py", ".html", ".css", ".js", ".json", ".typed", ".svg"}
    folders = {
        path.parent.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in ours
    }
    assert folders == {"extractors/graphs", "extractors/own", "service/static/swagger-ui"}
    assert all(f"`meisho/{folder}/`" in named for folder in folders)
    beside = package / "service" / "static" / "swagger-ui"
    for name, digest in re.findall(
        r"^\| (\S+) \| ([0-9a-f]{64}) \|$", (beside / "THIRD_PARTY.md").read_text(), re.MULTILINE
    ):
        assert hashlib.sha256((beside / name).read_bytes()).hexdigest() == digest, name
    version = re.search(r"`swagger-ui-dist` (\S+),", (beside / "THIRD_PARTY.md").read_text())[1]
    assert f"swagger-ui {version}:" in named


@pytest.fixture(scope="module")
def release_check():
    spec = importlib.util.spec_from_file_location("release_check", ROOT / "tools" / "release_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_check_list_says_what_the_program_checks(release_check):
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "RELEASING.md").read_text(), re.MULTILINE)
    told = re.findall(r"`(\w+)`", "".join(rows))
    assert told == list(release_check.STEPS)
    assert {*release_check.DOWNLOADS} <= {*release_check.STEPS}


def test_what_does_not_agree_or_is_in_no_changelog_is_no_release(release_check, tmp_path, monkeypatch):
    for name in ("CITATION.cff", "docs/openapi.json", "CHANGELOG.md", "src/meisho/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text().replace(meisho.__version__, "1.2.3rc4")
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(release_check, "ROOT", tmp_path)
    walk = release_check.Walk(tmp_path)
    assert release_check.check_version(walk).startswith("1.2.3rc4")
    walk.version = "1.2.3"
    with pytest.raises(release_check.Failure, match=r"CITATION\.cff says 1\.2\.3rc4, .* 1\.2\.3"):
        release_check.check_version(walk)
    for name in ("CITATION.cff", "docs/openapi.json"):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("1.2.3rc4", "1.2.3"))
    changelog = tmp_path / "CHANGELOG.md"
    with pytest.raises(
        release_check.Failure, match=r"begins with \[.*; name that section \[1\.2\.3\] - DATE"
    ):
        release_check.check_version(walk)
    changelog.write_text("# Changelog\n\n## [1.2.3] - 2027-01-01\n")
    assert release_check.check_version(walk)


def test_badges_that_lead_nowhere_are_no_release(release_check, tmp_path, monkeypatch):
    chapter = tmp_path / "docs" / "chapter"
    chapter.mkdir(parents=True)
    for name in ("course.py", "01_gem.en.ipynb", "01_gem.ja.ipynb"):
        (chapter / name).write_text((ROOT / "docs" / "chapter" / name).read_text())
    pages = [tmp_path / "docs" / "install.md", tmp_path / "docs" / "ja" / "install.md"]
    (tmp_path / "docs" / "ja").mkdir()
    for page in pages:
        page.write_text((ROOT / page.relative_to(tmp_path)).read_text())
    monkeypatch.setattr(release_check, "ROOT", tmp_path)
    walk = None
    with pytest.raises(
        release_check.Failure, match=r"5 files name OWNER/meisho, the first: docs/chapter/course\.py"
    ):
        release_check.check_badges(walk)
    for path in (*chapter.iterdir(), *pages):
        path.write_text(path.read_text().replace("OWNER/meisho", "some/place"))
    assert release_check.check_badges(walk) == "2 notebooks"


def test_a_command_that_fails_says_what_it_printed(release_check):
    with pytest.raises(release_check.Failure, match=r"exit 3\n    why"):
        release_check.call(sys.executable, "-c", "print('why'); raise SystemExit(3)")
    with pytest.raises(release_check.Failure, match=r"is not installed: pip install 'meisho\[release\]'"):
        release_check.call("no-such-program")
