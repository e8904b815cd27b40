"""The drawn histogram."""

import re

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from meisho.datasets.statistics import ClassStatistics
from meisho.errors import InputError
from meisho.web.histogram import draw_histogram

COUNTS = np.array([1, 1, 2, 3, 40, 500])
STATISTICS = ClassStatistics(547, 6, 91.2, 2.5, 1, 500, "x", 2, 0.66, 1, 0.8)


def test_png_and_svg_are_whole_pictures_and_the_same_every_time(tmp_path):
    for name in ("a.png", "a.svg"):
        draw_histogram(COUNTS, STATISTICS, tmp_path / "to" / name, title="some photos")
        first = (tmp_path / "to" / name).read_bytes()
        draw_histogram(COUNTS, STATISTICS, tmp_path / "to" / name, title="some photos")
        assert (tmp_path / "to" / name).read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["a.png", "a.svg"]
    with Image.open(tmp_path / "to" / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    blue = (np.abs(pixels.astype(int) - [0x31, 0x68, 0x8E]).max(axis=2) < 10).mean()
    assert blue > 0.02  # the bars
    assert "</svg>" in (tmp_path / "to" / "a.svg").read_text()


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"end it in \.png or \.svg"):
        draw_histogram(COUNTS, STATISTICS, tmp_path / "a.gif", title="x")


def test_one_class_can_be_drawn(tmp_path):
    statistics = ClassStatistics(3, 1, 3, 3, 3, 3, "x", 0, 1.0, 1, 0.0)
    draw_histogram(np.array([3]), statistics, tmp_path / "a.png", title="one")
    assert (tmp_path / "a.png").stat().st_size > 1_000


def test_the_numbers_of_the_axes_are_plain(tmp_path):
    counts = np.array([20, 25, 30, 55])
    statistics = ClassStatistics(130, 4, 32.5, 27.5, 20, 55, "x", 0, 0.0, 2, 0.2)
    with mpl.rc_context({"svg.fonttype": "none"}):
        draw_histogram(counts, statistics, tmp_path / "a.svg", title="few")
    drawn = (tmp_path / "a.svg").read_text()
    assert re.search(r">\s*30\s*<", drawn)
    assert "\\times" not in drawn
    assert "×" not in drawn
