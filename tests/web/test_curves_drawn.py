"""What is drawn of a report: the same in the page and in files, whole, and safe."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from meisho.errors import InputError
from meisho.evaluate.curves import LandmarkScore
from meisho.marks import is_our_drawing
from meisho.outputs import FIGURE
from meisho.web.bars import PER_CENT, PHOTOS_FOUND
from meisho.web.curves import MOST_LANDMARKS, ReportDrawings, describe_landmarks, draw_curve, draw_landmarks

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<b>&\"'</b>"


def widths(drawing):
    return [float(bar.get("width")) for bar in ElementTree.fromstring(str(drawing)).iter(f"{SVG}rect")]


def test_the_curve_goes_through_its_points():
    drawn = ElementTree.fromstring(str(draw_curve(np.linspace(1, 0, 101))))
    points = [tuple(map(float, p.split(","))) for p in drawn.find(f"{SVG}polyline").get("points").split()]
    assert len(points) == 101
    slopes = {round((b[1] - a[1]) / (b[0] - a[0]), 1) for a, b in pairwise(points)}
    assert len(slopes) == 1 and points[0][1] < points[-1][1]
    assert (
        drawn.find(f"{SVG}title").text
        == "Precision over recall: 90 at recall 10, 50 at recall 50, 10 at recall 90"
    )


@pytest.mark.parametrize(("scale", "best"), [(PER_CENT, 1.0), (PHOTOS_FOUND, 4.0)])
def test_bars_are_as_long_as_scores_are_high(scale, best):
    scores = [LandmarkScore(NASTY, 3, 0.0), LandmarkScore("b", 1, best / 2), LandmarkScore("c", 2, best)]
    drawn = draw_landmarks(scores, scale)
    none, half, whole = widths(drawn)
    assert none == 0 and half == pytest.approx(whole / 2)
    assert "<b>" not in drawn and "&lt;b&gt;" in drawn


def test_of_many_landmarks_the_worst_are_drawn_and_the_rest_is_told():
    landmarks = [LandmarkScore("a" * 80, 1, n / 100) for n in range(MOST_LANDMARKS + 2)]
    assert len(widths(draw_landmarks(landmarks, PER_CENT))) == MOST_LANDMARKS
    assert describe_landmarks(landmarks).endswith("The 2 best are not drawn.")
    assert "…" in draw_landmarks(landmarks, PER_CENT)


def test_files_are_figures_of_ours_and_nothing_else_is_written_over(tmp_path):
    drawings = ReportDrawings(
        draw_curve(np.ones(101)),
        "",
        draw_landmarks([LandmarkScore("a", 1, 1.0)], PER_CENT),
        "",
        Markup(),
        Markup(),
    )
    drawings.save(tmp_path)
    names = ["landmarks.svg", "precision_recall.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        ElementTree.parse(tmp_path / name)
        assert is_our_drawing(tmp_path / name) and FIGURE.wrote(tmp_path / name)
    drawings.save(tmp_path)
    ReportDrawings(drawings.curve, "", Markup(), "", Markup(), Markup()).save(
        tmp_path
    )  # each query shows another landmark now
    assert [path.name for path in tmp_path.iterdir()] == ["precision_recall.svg"]
    (tmp_path / "landmarks.svg").write_text("<svg/>")
    with pytest.raises(InputError, match=r"landmarks\.svg: is there already and is not a figure"):
        drawings.save(tmp_path)
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)", (tmp_path / "precision_recall.svg").read_text()
    )
