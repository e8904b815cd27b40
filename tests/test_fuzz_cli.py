"""Malformed folders, tables and words given to the command line: no traceback, a clear line, nothing lost."""

import hashlib
import json
import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import all_commands, all_errors, draw_words, make_place
from malformed import write_malformed_folder
from meisho.cli.app import INTERRUPTED, NO_READER

NUM_TABLES = 300
NUM_WORDS = [pytest.param(200, id="200"), pytest.param(2000, id="2000", marks=pytest.mark.slow)]
"""Command lines that are drawn."""
CODES = {0, NO_READER, INTERRUPTED, *(kind.exit_code for kind in all_errors())}
"""All exit codes that there are; the errors and the program say them, and a page explains them."""


def test_index_keeps_every_valid_photo_among_malformed_ones(run, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    valid = write_malformed_folder(folder)
    code, out, err = run("index", folder, "--to", tmp_path / "c", "--size", 32, "--json")
    summary = json.loads(out)
    assert code == 0
    assert "Traceback" not in err
    assert len(summary["skipped"]) > 700
    assert all(skipped["reason"] for skipped in summary["skipped"])
    assert not valid & {skipped["id"] for skipped in summary["skipped"]}
    # a photo is found by its own content, malformed neighbours or not
    for name in sorted(valid)[:5]:
        answers = json.loads(run("search", tmp_path / "c", folder / name, "--json", "--top", 1)[1])["answers"]
        assert answers[0]["score"] == pytest.approx(1, abs=1e-4)
    again = json.loads(run("index", folder, "--to", tmp_path / "c", "--json")[1])
    assert again["described"] == again["removed"] == 0
    assert len(again["skipped"]) == len(summary["skipped"])


def spoil(rng, lines):
    """Break a table the way that hands and programs do."""
    lines = list(lines)
    for _ in range(int(rng.integers(1, 4))):
        row = int(rng.integers(len(lines)))
        line = lines[row]
        where = int(rng.integers(len(line) + 1))
        lines[row] = [
            line[:where],
            line.replace(b",", b"\t"),
            line[:where] + rng.bytes(3) + line[where:],
            line + b",,,,",
            b'"' + line,
            line.replace(b"place", b"nowhere"),
            line[:where] + b"\0" + line[where:],
            line + b"\r\n" + line,
            b"x" * 200_000,
            line.replace(b"query", b"asked"),
            b"",
        ][int(rng.integers(11))]
    ending = [b"\n", b"\r\n", b"\r"][int(rng.integers(3))]
    return (b"\xef\xbb\xbf" if rng.integers(2) else b"") + ending.join(lines)


def test_a_broken_table_is_scored_or_refused_in_words(run, tmp_path):
    rng = np.random.default_rng(11)
    lines = [b"file,label,role"]
    for number in range(8):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"place{number}.png")
        lines.append(
            b"place%d.png,place%d,%s" % (number, number // 4, b"query" if number % 4 else b"database")
        )
    refused = 0
    for _ in range(NUM_TABLES):
        (tmp_path / "photos.csv").write_bytes(spoil(rng, lines))
        arguments = ("--root", tmp_path / "photos.csv", "--model", "random", "--to", tmp_path / "out")
        code, _, err = run("evaluate", "csv", *arguments)
        assert code in (0, 2), err
        if code:
            refused += 1
            assert "photos.csv" in err
    assert NUM_TABLES / 2 < refused < NUM_TABLES


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "outer" / "work"
    folder.mkdir(parents=True)
    make_place(folder)
    return folder


def contents(folder):
    """Return every entry below a folder, but for the collection c, which commands may change."""
    found = {}
    for path in folder.rglob("*"):
        if "c" not in path.relative_to(folder).parts[:2]:
            mode = path.lstat().st_mode
            held = hashlib.sha256(path.read_bytes()).digest() if stat.S_ISREG(mode) else b""
            found[path] = stat.S_IFMT(mode), path.readlink() if path.is_symlink() else held
    return found


def forget(paths, collection, saved):
    """Remove what a command wrote, and bring the collection back."""
    for path in sorted(paths, reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    shutil.rmtree(collection, ignore_errors=True)
    shutil.copytree(saved, collection)


@pytest.mark.parametrize("num_words", NUM_WORDS)
def test_hostile_words_end_in_an_answer_or_in_one_line(run, num_words, made, tmp_path, monkeypatch):
    """No traceback, no input changed, nothing written where it was refused."""
    monkeypatch.chdir(made)
    shutil.copytree("c", tmp_path / "c")
    outer, commands = made.parent, [*all_commands()]
    before, rng, ended = contents(outer), np.random.default_rng(20261128), dict.fromkeys(CODES, 0)
    for _ in range(num_words):
        command, parameters = commands[int(rng.integers(len(commands)))]
        words = draw_words(rng, command, parameters)
        code, out, err = run(*words)
        assert code in CODES - {INTERRUPTED}, (words, code, err)
        ended[code] += 1
        assert "Traceback" not in out + err and "a fault of meisho" not in err, (words, err)
        assert not {"\x1b", "\x9b", "\u202e"} & {*out, *err}, words
        if code:
            assert [line[:6] for line in err.splitlines()].count("error:") == 1, (words, err)
        if "--json" in words and code == 0 and "--help" not in words:
            json.loads(out)
        after = contents(outer)
        assert not [path for path in before if after.get(path) != before[path]], words
        new = after.keys() - before.keys()
        assert not (new and code == 2), (words, new)
        forget(new, made / "c", tmp_path / "c")
    assert min(ended[0], ended[2], ended[4]) > 0.02 * num_words, ended


@pytest.mark.parametrize("page", ["docs/exit_codes.md", "docs/ja/exit_codes.md"])
def test_a_page_explains_every_exit_code(page):
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    table = re.search(r"\n\| (?:exit code|終了コード) \|.*\n\|---\|---\|\n((?:\|.*\n)+)", text)[1]
    assert sorted(int(line.split("|")[1]) for line in table.splitlines()) == sorted(CODES)


def test_every_command_is_drawn_from():
    commands = dict(all_commands())
    assert len(commands) >= 18
    assert {parameter.kind for parameters in commands.values() for parameter in parameters} <= {
        *("str", "int", "float", "bool", "Path", "choice")
    }
