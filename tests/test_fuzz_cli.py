"""Malformed folders and tables given to the command line: no traceback, a clear line, nothing valid lost."""

import json

import numpy as np
import pytest
from PIL import Image

from malformed import write_malformed_folder

NUM_TABLES = 300


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
