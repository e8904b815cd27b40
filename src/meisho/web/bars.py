"""The chart of a report: the score of each query as a bar, from worst to best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from meisho.evaluate.report import QueryScore, printed_factor
from meisho.evaluate.ukbench import PHOTOS_PER_OBJECT
from meisho.texts import count

MOST_BARS = 170
"""Of one chart, so that each is wide enough to be seen; more queries share bars."""


@dataclass(frozen=True)
class Scale:
    """How the score of one query is shown.

    Attributes:
        title: What is shown.
        most: The best score that a query can have.
        ticks: Marks of the axis, from the top.
        text: The score in words.
    """

    title: str
    most: int
    ticks: tuple[str, ...]
    text: Callable[[float], str]


PER_CENT = Scale(
    "Average precision", 1, ("100", "75", "50", "25", "0"), lambda score: f"AP {100 * score:.1f}"
)
PHOTOS_FOUND = Scale(
    "N-S score",
    PHOTOS_PER_OBJECT,
    ("4", "3", "2", "1", "0"),
    lambda score: f"N-S {round(score, 1):g} of {PHOTOS_PER_OBJECT}",
)


def scale_of(metric: str) -> Scale:
    """Return the scale of a report's main metric."""
    return PER_CENT if printed_factor(metric) == 100 else PHOTOS_FOUND


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        height: Per cent of the chart, as CSS takes it.
        title: What it stands for.
        link: Link to the query further down the page, or "".
    """

    height: str
    title: str
    link: str


def make_bars(scored: Sequence[QueryScore], links: Mapping[str, str], scale: Scale) -> list[Bar]:
    """Return one bar per query, or per few queries where there are more than `MOST_BARS`.

    Args:
        scored: Queries from worst to best, none of them NaN.
        links: Links of the queries that are shown, by their ids.
        scale: How the scores are shown.
    """
    edges = np.linspace(0, len(scored), min(len(scored), MOST_BARS) + 1).round().astype(int)
    return [
        _bar(scored[start:end], start + 1, links, scale)
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _bar(group: Sequence[QueryScore], first: int, links: Mapping[str, str], scale: Scale) -> Bar:
    mean = float(np.mean([score.average_precision for score in group]))
    name = group[0].query_id if len(group) == 1 else f"queries {first} to {first + len(group) - 1}, mean"
    link = next((links[score.query_id] for score in group if score.query_id in links), "")
    return Bar(f"{100 * mean / scale.most:.1f}", f"{name}: {scale.text(mean)}", link)


def describe_bars(num_scored: int, num_empty: int) -> str:
    """Say in words what the bars stand for, and which queries have none."""
    left_out = f" {count(num_empty, 'query')} without positives left out." if num_empty else ""
    shared = " Neighbours share a bar, as high as their mean." if num_scored > MOST_BARS else ""
    return f"{count(num_scored, 'query')}, worst first; dark bars lead to those below.{shared}{left_out}"
