"""Pages: a report or a search as one HTML file that opens offline."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import jinja2
import numpy as np
from markupsafe import Markup

import meisho
from meisho.arrays import Int64Array
from meisho.datasets.base import Dataset
from meisho.errors import ImageError
from meisho.evaluate.report import QueryScore, Report, printed_factor
from meisho.evaluate.ukbench import PHOTOS_PER_OBJECT
from meisho.files import write_text
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.images import make_thumbnail
from meisho.photo_pair import PhotoPair
from meisho.photos import Photo
from meisho.ranking import NO_ROW, Ranking
from meisho.web.drawing import draw_matches

Compare = Callable[[int, Int64Array, Sequence[Photo]], Sequence[PhotoPair]]
"""(query row, (B,) database rows, their photos) -> B pairs; see `meisho.photo_pair.StoredPairs`."""

Verdict = Literal["right", "wrong", "junk", "query", "plain"]
THUMBNAIL_SIDE_PX = 240


@dataclass(frozen=True)
class Tile:
    """One photo on a page.

    Attributes:
        id: Of the photo.
        image: Data URI of its thumbnail, or "" when it cannot be read.
        verdict: What it is to the query.
        caption: Words below it.
        evidence: What was found when it was compared with the query, or "".
        drawing: Link to the picture of its matches, or "".
    """

    id: str
    image: str
    verdict: Verdict
    caption: str
    evidence: str = ""
    drawing: str = ""


@dataclass(frozen=True)
class Case:
    """One query with its first answers."""

    link: str
    query: Tile
    score: str
    num_positives: int
    missed: str
    answers: tuple[Tile, ...]


@dataclass(frozen=True, eq=False)
class MatchPictures:
    """Pictures of matches in a folder PAGE_matches beside a page.

    Attributes:
        page: The HTML file.
        drawn: Names of the files that were written.
    """

    page: Path
    drawn: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.page.with_name(f"{self.page.stem}_matches")

    def add_to(self, tile: Tile, pair: PhotoPair, name: str) -> Tile:
        """Draw the matches of a pair, and link the tile of the answer to the picture.

        Where no match is an inlier, all are drawn, in grey: what looks alike and agrees on nothing.
        """
        count = pair.verification.num_inliers
        words = f"{count} inlier{'s' if count != 1 else ''}"
        tile = replace(tile, evidence=f"same place, {words}" if pair.same_place else words)
        file = f"{name}.jpg"
        try:
            draw_matches(pair, self.folder / file, outliers=count == 0)
        except ImageError:  # told by the missing thumbnail
            return tile
        self.drawn.add(file)
        return replace(tile, drawing=quote(f"{self.folder.name}/{file}"))

    def tidy(self) -> None:
        """Remove the pictures of an earlier page in the same place."""
        for old in self.folder.glob("matches-*.jpg"):
            if old.name not in self.drawn:
                old.unlink()


@dataclass(frozen=True)
class Scale:
    """How the score of one query is shown.

    Attributes:
        title: Of the chart.
        most: The best score that a query can have.
        text: The score in words.
    """

    title: str
    most: int
    text: Callable[[float], str]

    def height(self, score: float) -> str:
        """Return the height of the score's bar, in per cent of the chart."""
        return f"{100 * score / self.most:.1f}"


PER_CENT = Scale("Average precision", 1, lambda score: f"AP {100 * score:.1f}")
PHOTOS_FOUND = Scale("N-S score", PHOTOS_PER_OBJECT, lambda score: f"N-S {score:.0f} of {PHOTOS_PER_OBJECT}")


def write_report_page(
    path: Path,
    report: Report,
    ranking: Ranking,
    dataset: Dataset,
    *,
    compare: Compare | None = None,
    num_cases: int = 6,
    num_answers: int = 10,
) -> None:
    """Write the report with the worst and best queries and their first answers.

    Args:
        path: The HTML file; thumbnails are inside it.
        report: The figures.
        ranking: The ranking that was scored, over `dataset.database`.
        dataset: Where the photos are; a photo that cannot be read is shown by its id.
        compare: Compares a query with the answers that are shown; each then tells its inliers and links to a
            picture of its matches, in a folder PAGE_matches beside the page.
        num_cases: How many of the worst and of the best queries.
        num_answers: How many answers of each.
    """
    setup, scale = report.headline.setup, _scale_of(report.headline.metric)
    of_setup = [score for score in report.query_scores if score.setup == setup]
    scored = sorted(_counted(of_setup), key=lambda score: score.average_precision)
    worst = scored[:num_cases]
    best = scored[len(worst) :][-num_cases:][::-1]
    links = {score.query_id: f"case-{i}" for i, score in enumerate([*worst, *best])}
    ground_truth = _ground_truth_at(dataset, setup)
    pictures = MatchPictures(path)
    shown = Shown(ranking, dataset, ground_truth, num_answers, compare, pictures)
    sections = [
        (title, [_case(score, links[score.query_id], scale, shown) for score in scores])
        for title, scores in (("The worst queries", worst), ("The best queries", best))
        if scores
    ]
    _write(
        path,
        "report.html",
        report=report,
        setup=setup,
        **_table(report),
        scale=scale,
        bars=[(s, links.get(s.query_id, "")) for s in scored],
        num_empty=len(of_setup) - len(scored),
        sections=sections,
        verified=compare is not None,
        version=meisho.__version__,
    )
    pictures.tidy()


def write_search_page(
    path: Path,
    query: Photo,
    answers: Sequence[tuple[Photo, float]],
    *,
    collection: Path,
    num_database: int,
    pairs: Sequence[PhotoPair] | None = None,
) -> None:
    """Write one query and its ranked answers, best first.

    Args:
        path: The HTML file; thumbnails are inside it.
        query: The photo that was asked with.
        answers: Photos and scores.
        collection: Where they were found.
        num_database: How many photos it holds.
        pairs: The query and each answer, when they were compared; see `write_report_page`.
    """
    pictures = MatchPictures(path)
    tiles = [
        Tile(photo.id, _data_uri(photo), "plain", f"{rank}. score {score:.3f}")
        for rank, (photo, score) in enumerate(answers, start=1)
    ]
    if pairs is not None:
        tiles = [
            pictures.add_to(tile, pair, f"matches-{rank}")
            for rank, (tile, pair) in enumerate(zip(tiles, pairs, strict=True), start=1)
        ]
    _write(
        path,
        "search.html",
        query=Tile(query.id, _data_uri(query), "query", "query"),
        answers=tiles,
        collection=collection,
        num_database=num_database,
    )
    pictures.tidy()


def _scale_of(metric: str) -> Scale:
    return PER_CENT if printed_factor(metric) == 100 else PHOTOS_FOUND


def _counted(scores: Sequence[QueryScore]) -> list[QueryScore]:
    """Leave out the queries without positives."""
    return [score for score in scores if not np.isnan(score.average_precision)]


def _ground_truth_at(dataset: Dataset, setup: str) -> GroundTruth:
    truth = dataset.ground_truth
    if isinstance(truth, GradedGroundTruth):
        return truth.at(setup)  # type: ignore[arg-type]  # a report of graded truth has its setups
    return truth


@dataclass(frozen=True, eq=False)
class Shown:
    """What the cases of a page are made from."""

    ranking: Ranking
    dataset: Dataset
    ground_truth: GroundTruth
    num_answers: int
    compare: Compare | None
    pictures: MatchPictures


def _case(score: QueryScore, link: str, scale: Scale, shown: Shown) -> Case:
    query_row = shown.ranking.query_ids.index(score.query_id)
    query = shown.dataset.queries[query_row]
    return Case(
        link,
        Tile(query.id, _data_uri(query), "query", "query" + (", box outlined" if query.box else "")),
        scale.text(score.average_precision),
        score.num_positives,
        _missed(shown.ranking.ranks[query_row], shown.ground_truth.positives[query_row], shown.num_answers),
        tuple(_answers(query_row, link, shown)),
    )


def _answers(query_row: int, link: str, shown: Shown) -> list[Tile]:
    """Return the first answers of a query, with pictures of their matches where they were compared."""
    rows = shown.ranking.ranks[query_row, : shown.num_answers]
    rows = rows[rows != NO_ROW]
    scores = shown.ranking.scores[query_row]
    photos = [shown.dataset.database[row] for row in rows]
    tiles = [
        Tile(
            photo.id,
            _data_uri(photo),
            _verdict(row, query_row, shown.ground_truth),
            f"{rank}. {scores[rank - 1]:.3f}",
        )
        for rank, (row, photo) in enumerate(zip(rows.tolist(), photos, strict=True), start=1)
    ]
    if shown.compare is None:
        return tiles
    pairs = shown.compare(query_row, rows, photos)
    return [
        shown.pictures.add_to(tile, pair, f"matches-{link}-{rank}")
        for rank, (tile, pair) in enumerate(zip(tiles, pairs, strict=True), start=1)
    ]


def _verdict(row: int, query_row: int, ground_truth: GroundTruth) -> Verdict:
    if row in ground_truth.positives[query_row]:
        return "right"
    return "junk" if row in ground_truth.junk[query_row] else "wrong"


def _missed(ranks: Int64Array, positives: Int64Array, num_answers: int) -> str:
    """Say where the positives that are not among the shown answers stand."""
    where = np.flatnonzero(np.isin(ranks, positives)) + 1
    later = where[where > num_answers]
    never = len(positives) - len(where)
    parts = [f"{len(later)} further down, the last at rank {later[-1]}"] if len(later) else []
    parts += [f"{never} not found"] if never else []
    return "; ".join(parts) or f"all among the first {num_answers}"


def _table(report: Report) -> dict[str, object]:
    """Return the template's values for the table of figures: setups, rows of metrics, numbers of queries."""
    setups = list(dict.fromkeys(figure.setup for figure in report.figures))
    metrics = dict.fromkeys(figure.metric for figure in report.figures)
    return {
        "setups": setups,
        "rows": [(metric, _cells(report, metric, setups)) for metric in metrics],
        "counts": [next(f.num_queries for f in report.figures if f.setup == s) for s in setups],
    }


def _cells(report: Report, metric: str, setups: Sequence[str]) -> list[tuple[str, str]]:
    """Return (value, interval) of one metric in each setup."""
    texts = {figure.setup: figure.text for figure in report.figures if figure.metric == metric}
    return [(value, interval) for value, _, interval in (texts.get(s, "").partition(" ") for s in setups)]


def _data_uri(photo: Photo) -> str:
    """Return the photo's thumbnail as a data URI, or "" when it cannot be read."""
    try:
        thumbnail = make_thumbnail(photo, max_side_px=THUMBNAIL_SIDE_PX)
    except ImageError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail).decode()


def _write(path: Path, template: str, **values: object) -> None:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("meisho", "web"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    style = Markup((files("meisho") / "web" / "style.css").read_text())
    text = environment.get_template(template).render(style=style, **values)
    write_text(path, text, errors="replace")
