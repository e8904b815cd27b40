"""Drawings of a report, as SVG, for the page and as files: precision over recall, the score of each landmark.

Colours are attributes, so that the style of a page comes before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

from meisho.arrays import Float64Array
from meisho.datasets.base import Dataset
from meisho.evaluate.curves import RECALLS, LandmarkScore, precision_over_recall, score_landmarks
from meisho.evaluate.report import Report
from meisho.files import write_text
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.marks import MARK
from meisho.outputs import FIGURE, check_output
from meisho.ranking import Ranking
from meisho.texts import count
from meisho.web.bars import Scale, scale_of

DRAWING_FILES = ("precision_recall.svg", "landmarks.svg")
MOST_LANDMARKS = 24
"""Bars of one drawing; of more landmarks the worst are drawn."""

_ROW = 20
_MARKED = f"<desc>{MARK}</desc>"
_INK = 'fill="#31688e"'
_GRID = 'fill="none" stroke="#8b8f98" stroke-opacity=".35"'
_CURVE = 'fill="none" stroke="#31688e" stroke-width="2.5"'
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 12, 40


@dataclass(frozen=True)
class Room:
    """How much room a drawing has, in px.

    Attributes:
        width: Width of the drawing.
        height: Height of a curve.
        name_end: Where the names of bars end; figures stand after the bars.
        bar_end: Where the longest bar ends.
        longest_name: Letters of a name that fit before its bar.
    """

    width: int
    height: int
    name_end: int
    bar_end: int
    longest_name: int


WIDE = Room(720, 340, 250, 594, 34)
NARROW = Room(360, 260, 124, 236, 17)
"""What a phone shows without making the letters small."""


@dataclass(frozen=True)
class ReportDrawings:
    """What is drawn of a report; "" where there is nothing to draw.

    Attributes:
        curve: Precision over recall, an SVG.
        about_curve: What it shows, in words.
        landmarks: The score of each landmark, an SVG; "" where every query shows another one.
        about_landmarks: What it shows, in words.
        narrow_curve: The same curve for a phone.
        narrow_landmarks: The same bars for a phone.
    """

    curve: Markup
    about_curve: str
    landmarks: Markup
    about_landmarks: str
    narrow_curve: Markup
    narrow_landmarks: Markup

    def save(self, folder: Path) -> None:
        """Write precision_recall.svg and landmarks.svg; an earlier one that is not drawn now is deleted.

        Raises:
            InputError: A file is there and is no figure of meisho.
        """
        for name, drawing in zip(DRAWING_FILES, (self.curve, self.landmarks), strict=True):
            check_output(folder / name, FIGURE)
            if drawing:
                paper = '<rect width="100%" height="100%" fill="#fff"/>'  # a viewer may be dark
                text = f"{drawing}\n".replace(_MARKED, f"{_MARKED}\n{paper}", 1)
                write_text(folder / name, text, errors="replace")
            else:
                (folder / name).unlink(missing_ok=True)


def draw_report(report: Report, ranking: Ranking, dataset: Dataset) -> ReportDrawings:
    """Draw what lies behind the main figure of a report.

    Args:
        report: The figures.
        ranking: The ranking that was scored, over `dataset.database`.
        dataset: What was asked of what.
    """
    setup, scale = report.headline.setup, scale_of(report.headline.metric)
    truth = ground_truth_at(dataset, setup)
    precisions = precision_over_recall(ranking, truth)
    scores = [score for score in report.query_scores if score.setup == setup]
    scores = [score for score in scores if not np.isnan(score.average_precision)]
    landmarks = score_landmarks(scores, ranking.query_ids, truth)
    are_several = len(landmarks) < len(scores)
    curve, narrow_curve = (
        Markup() if precisions is None else draw_curve(precisions, room) for room in (WIDE, NARROW)
    )
    bars, narrow_bars = (
        draw_landmarks(landmarks, scale, room) if are_several else Markup() for room in (WIDE, NARROW)
    )
    about_curve, about_bars = _describe_curve(ranking), describe_landmarks(landmarks)
    return ReportDrawings(curve, about_curve, bars, about_bars, narrow_curve, narrow_bars)


def ground_truth_at(dataset: Dataset, setup: str) -> GroundTruth:
    """Return the right answers of one setup of a report."""
    truth = dataset.ground_truth
    if isinstance(truth, GradedGroundTruth):
        return truth.at(setup)  # type: ignore[arg-type]  # a report of graded truth has its setups
    return truth


def _describe_curve(ranking: Ranking) -> str:
    depth, whole = ranking.ranks.shape[1], len(ranking.database_ids)
    cut = (
        f" The ranking ends at place {depth:,}: what it does not hold counts as precision 0."
        if depth < whole
        else ""
    )
    return (
        "How many of the first answers are right, where this share of all right answers is among them: "
        f"mean of the queries, each at its best from there on.{cut}"
    )


def draw_curve(precisions: Float64Array, room: Room = WIDE) -> Markup:
    """Draw precision over recall.

    Args:
        precisions: (101,) at `RECALLS`, 0 to 1.
        room: How much room there is.
    """
    width, height = room.width - _LEFT - _RIGHT, room.height - _TOP - _BOTTOM
    x = _LEFT + width * RECALLS
    y = _TOP + height * (1 - precisions)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    lines = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        across, down = _LEFT + width * share, _TOP + height * (1 - share)
        lines += [
            f'<path {_GRID} d="M{_LEFT} {down:g}H{_LEFT + width}M{across:g} {_TOP}V{_TOP + height}"/>',
            f'<text x="{_LEFT - 8}" y="{down + 4:g}" text-anchor="end">{100 * share:g}</text>',
            f'<text x="{across:g}" y="{_TOP + height + 18}" text-anchor="middle">{100 * share:g}</text>',
        ]
    area = f"{_LEFT},{_TOP + height} {points} {_LEFT + width},{_TOP + height}"
    lines += [
        f'<polygon {_INK} fill-opacity=".15" points="{area}"/>',
        f'<polyline {_CURVE} points="{points}"/>',
        f'<text x="{_LEFT + width / 2:g}" y="{room.height - 4}" text-anchor="middle">recall, %</text>',
        f'<text transform="translate(13 {_TOP + height / 2:g}) rotate(-90)" text-anchor="middle">'
        "precision, %</text>",
    ]
    told = ", ".join(f"{100 * precisions[at]:.0f} at recall {at}" for at in (10, 50, 90))
    return _svg(room.width, room.height, f"Precision over recall: {told}", lines)


def draw_landmarks(landmarks: Sequence[LandmarkScore], scale: Scale, room: Room = WIDE) -> Markup:
    """Draw a bar for each landmark, in the order given, `MOST_LANDMARKS` at most.

    Args:
        landmarks: Worst first.
        scale: How scores are shown.
        room: How much room there is.
    """
    lines = []
    start = room.name_end
    for row, landmark in enumerate(landmarks[:MOST_LANDMARKS]):
        middle = _ROW * row + _ROW / 2 + 4
        length = (room.bar_end - start) * float(np.clip(landmark.score / scale.most, 0, 1))
        name = escape(landmark.name)
        shown = escape(_shortened(landmark.name, room.longest_name))
        about = f"{name}: {scale.text(landmark.score)}, {count(landmark.num_queries, 'query')}"
        value = 100 * landmark.score if scale.most == 1 else landmark.score
        of_several = count(landmark.num_queries, "query") if landmark.num_queries > 1 else ""
        lines += [
            f"<g><title>{about}</title>",
            f'<text x="{start - 8}" y="{middle:g}" text-anchor="end">{shown}</text>',
            f'<rect {_INK} x="{start}" y="{_ROW * row + 3}" width="{length:.1f}" height="{_ROW - 6}"/>',
            f'<text x="{start + length + 6:.1f}" y="{middle:g}">{value:.1f} '
            f'<tspan fill-opacity=".55">{of_several}</tspan></text></g>',
        ]
    height = _ROW * min(len(landmarks), MOST_LANDMARKS)
    return _svg(room.width, height, "The score of each landmark", lines)


def describe_landmarks(landmarks: Sequence[LandmarkScore]) -> str:
    """Say in words what the bars of landmarks stand for."""
    more = len(landmarks) - MOST_LANDMARKS
    left_out = f" The {more:,} best are not drawn." if more > 0 else ""
    return (
        f"{count(len(landmarks), 'landmark')}, worst first: the mean of its queries. "
        f"Queries that share a right answer show the same landmark.{left_out}"
    )


def _shortened(name: str, longest: int) -> str:
    """Return a name that fits before its bar; of a long one the end, which tells it from its neighbours."""
    return name if len(name) <= longest else f"…{name[-(longest - 1) :]}"


def _svg(width: int, height: int, title: str, lines: Sequence[str]) -> Markup:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
    font = 'fill="currentColor" font-family="system-ui, sans-serif" font-size="12"'
    return Markup(
        "\n".join([f"{head} {font}>", f"<title>{escape(title)}</title>", _MARKED, *lines, "</svg>"])
    )
