"""Elongated and tiny photos are asked with, found, shown and drawn like all others."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.web.drawing import CAPTION_PX, GAP_PX, HEIGHT_PX, MOST_WIDTH_PX

SIZES = [(1, 1), (12, 4000), (4000, 12), (1, 9000), (9000, 1), (30_000, 40), (40, 30_000), (2, 1), (320, 240)]
"""Width and height, px."""


def name_of(size):
    return "{} x {}.png".format(*size)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One photo of each size, with structure down to the pixel, so that local features are found."""
    folder = tmp_path_factory.mktemp("elongated")
    for seed, size in enumerate(SIZES):
        cells = max(1, size[1] // 8), max(1, size[0] // 8), 3
        colours = np.random.default_rng(seed).integers(0, 256, cells, dtype=np.uint8)
        (folder / "photos").mkdir(exist_ok=True)
        Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(
            folder / "photos" / name_of(size)
        )
    return folder


@pytest.fixture
def collection(run, folder):
    """A collection of them all, made once."""
    path = folder / "c"
    if not path.exists():
        code, _, err = run(
            "index", folder / "photos", "--to", path, "--size", 64, "--workers", 0, "--local", "sift"
        )
        assert code == 0, err
    return path


@pytest.mark.parametrize("size", SIZES, ids=name_of)
@pytest.mark.parametrize(
    "options", [(), ("--verify", len(SIZES)), ("--verify", len(SIZES), "--near", "--turned")], ids=str
)
@pytest.mark.slow
def test_it_is_answered_and_shown_on_a_page(run, folder, collection, tmp_path, size, options):
    page = tmp_path / "s.html"
    query = folder / "photos" / name_of(size)
    code, out, err = run("search", collection, query, *options, "--html", page, "--json")
    assert code == 0, err
    answers = json.loads(out)["answers"]
    shown = [answer["id"] for answer in answers] + [c["id"] for a in answers for c in a.get("copies", ())]
    assert sorted(shown) == sorted(map(name_of, SIZES))
    text = page.read_text()
    assert text.count('src="data:image/jpeg;base64,') == 1 + len(answers)
    drawings = sorted(set(re.findall(r'href="(s_matches/[^"]+)"', text)))
    assert len(drawings) == (len(answers) if options else 0)
    for drawing in drawings:
        check_drawing(tmp_path / drawing)


@pytest.mark.parametrize("size", SIZES, ids=name_of)
@pytest.mark.parametrize("other", [(320, 240), (1, 9000)], ids=name_of)
@pytest.mark.slow
def test_it_is_matched_and_drawn(run, folder, tmp_path, size, other):
    photos = [folder / "photos" / name_of(each) for each in (size, other)]
    for number, pair in enumerate((photos, photos[::-1])):
        code, _, err = run("match", *pair, "--outliers", "--to", tmp_path / f"{number}.png")
        assert code == 0, err
        check_drawing(tmp_path / f"{number}.png")


def check_drawing(path: Path) -> None:
    """A drawing holds both photos and its caption, and can be looked at."""
    with Image.open(path) as drawn:
        assert drawn.height == HEIGHT_PX + CAPTION_PX
        assert GAP_PX < drawn.width <= 2 * MOST_WIDTH_PX + GAP_PX
        assert np.asarray(drawn.convert("L")).std() > 0
