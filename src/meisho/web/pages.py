"""Pages: a report or a search as one HTML file that opens offline."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup, escape

import meisho
from meisho.arrays import Int64Array
from meisho.certainty import MAYBE, SAME
from meisho.datasets.base import Dataset
from meisho.evaluate.report import QueryScore, Report
from meisho.files import write_text
from meisho.ground_truth import GroundTruth
from meisho.photo_pair import PhotoPair
from meisho.photos import Photo
from meisho.ranking import NO_ROW, Ranking
from meisho.run.found import Answer
from meisho.texts import count
from meisho.web.bars import Scale, describe_bars, make_bars, scale_of
from meisho.web.curves import ReportDrawings, draw_report, ground_truth_at
from meisho.web.tiles import PagePhotos, Tile, Verdict

Compare = Callable[[int, Int64Array, Sequence[Photo]], Sequence[PhotoPair]]
"""(query row, (B,) database rows, their photos) -> B pairs; see `meisho.photo_pair.StoredPairs`."""

_SURE = {"same": "same place", "maybe": "maybe the same place", "unknown": "not sure"}


@dataclass(frozen=True)
class Case:
    """One query with its first answers."""

    link: str
    query: Tile
    score: str
    positives: str
    missed: str
    answers: tuple[Tile, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """What the cases of a page are made from."""

    ranking: Ranking
    dataset: Dataset
    ground_truth: GroundTruth
    num_answers: int
    compare: Compare | None
    photos: PagePhotos
    scale: Scale


def write_report_page(
    path: str | Path,
    report: Report,
    ranking: Ranking,
    dataset: Dataset,
    *,
    compare: Compare | None = None,
    num_cases: int = 6,
    num_answers: int = 10,
    drawings: ReportDrawings | None = None,
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
        drawings: What `draw_report` draws; None to draw it here.
    """
    setup, photos = report.headline.setup, PagePhotos(Path(path))
    of_setup = [score for score in report.query_scores if score.setup == setup]
    counted = [score for score in of_setup if not np.isnan(score.average_precision)]
    scored = sorted(counted, key=lambda score: score.average_precision)
    scale, truth = scale_of(report.headline.metric), ground_truth_at(dataset, setup)
    shown = Shown(ranking, dataset, truth, num_answers, compare, photos, scale)
    sections, links = _sections(scored, num_cases, shown)
    drawings = drawings or draw_report(report, ranking, dataset)
    write_page(
        photos.page,
        "report.html",
        report=report,
        setup=setup,
        table=Markup(report.table.html),
        scale=scale,
        bars=make_bars(scored, links, scale),
        about_bars=describe_bars(len(scored), len(of_setup) - len(scored)),
        drawings=drawings,
        sections=sections,
        verified=compare is not None,
        about_scores=_about_scores(report.reranking, verified=compare is not None),
        missing=photos.warning("Put them back, or evaluate again with --root."),
        version=meisho.__version__,
    )
    photos.tidy()


def write_search_page(
    path: str | Path,
    query: Photo,
    answers: Sequence[Answer],
    *,
    collection: str | Path,
    num_database: int,
    pairs: Sequence[PhotoPair] | None = None,
    model: str = "",
    reranking: str = "",
) -> None:
    """Write one query and its ranked answers, best first.

    Args:
        path: The HTML file; thumbnails are inside it.
        query: The photo that was asked with.
        answers: What was found; copies are named below their answer.
        collection: Where they were found.
        num_database: How many photos it holds.
        pairs: The query and each answer, when they were compared; see `write_report_page`.
        model: What described the photos, to be told.
        reranking: What put the answers into their order, as `--rerank` takes it; "" for nothing.
    """
    photos = PagePhotos(Path(path))
    tiles = [
        replace(
            photos.answer(
                Photo(answer.id, answer.path),
                _verdict_of(answer, pairs[rank - 1] if pairs else None),
                rank,
                answer.score,
            ),
            note=f"query turned by {answer.turned}°" if answer.turned else "",
            sure=_say_sure(answer),
            copies=tuple(copy.id for copy in answer.copies),
        )
        for rank, answer in enumerate(answers, start=1)
    ]
    if pairs is not None:
        tiles = photos.add_matches(tiles, pairs, "matches")
    box = query.box
    write_page(
        photos.page,
        "search.html",
        query=photos.query(query),
        answers=tiles,
        box=f"{box.x0:g},{box.y0:g},{box.x1:g},{box.y1:g}" if box else "",
        found=f"{count(len(answers), 'answer')} from {count(num_database, 'photo')}",
        collection=collection,
        model=model,
        reranking=reranking,
        verified=pairs is not None,
        about_scores=_about_scores(reranking, verified=pairs is not None),
        about_sure=_about_sure(tiles),
        missing=photos.warning(
            f"If their folder was moved or renamed, run: meisho index NEW_FOLDER --to {collection} --moved"
        ),
    )
    photos.tidy()


def _verdict_of(answer: Answer, pair: PhotoPair | None) -> Verdict:
    """Return the verdict of an answer: "same" only where local features were compared and agree."""
    agree = pair.same_place if pair else answer.num_inliers is not None and answer.same_place
    if agree:
        return "same"
    return "likely" if answer.same_place else "plain"


def _say_sure(answer: Answer) -> str:
    """Say how sure an answer is; "" where nothing is calibrated."""
    if answer.probability is None or answer.verdict is None:
        return ""
    return f"{_SURE[answer.verdict]}: {math.floor(100 * answer.probability)} %"


def _about_sure(tiles: Sequence[Tile]) -> str:
    """Say in one sentence what per cent and frames of a page are; "" where no answer has them."""
    if not any(tile.sure for tile in tiles):
        return ""
    frames = {"same": "a green frame: local features agree too", "likely": "a dashed frame: not verified"}
    shown = [words for verdict, words in frames.items() if any(tile.verdict == verdict for tile in tiles)]
    said = (
        f"The percentage is how probably a photo shows the same place: from {100 * SAME:g} % on that is "
        f"said, from {100 * MAYBE:g} % on maybe"
    )
    return "; ".join([said, *shown]) + "."


def _about_scores(reranking: str, *, verified: bool) -> str:
    """Say in one sentence what the scores of a page are."""
    if verified:
        return (
            "The score puts the answers in order: how alike the whole photos are, and what their inliers "
            "add, so it may be more than 1."
        )
    if reranking:
        return "The score is the reranker's: its order counts, and it is not comparable between queries."
    return "The score is the cosine similarity of the two photos' descriptors: 1 is the same photo."


def _sections(
    scored: Sequence[QueryScore], num_cases: int, shown: Shown
) -> tuple[list[tuple[str, list[Case]]], dict[str, str]]:
    """Return the worst and the best queries under their titles, and their links by query id."""
    worst = scored[:num_cases]
    best = scored[len(worst) :][-num_cases:][::-1]
    links = {score.query_id: f"case-{number}" for number, score in enumerate([*worst, *best])}
    sections = [
        (title, [_case(score, links[score.query_id], shown) for score in scores])
        for title, scores in (("The worst queries", worst), ("The best queries", best))
        if scores
    ]
    return sections, links


def _case(score: QueryScore, link: str, shown: Shown) -> Case:
    query_row = shown.ranking.query_ids.index(score.query_id)
    return Case(
        link,
        shown.photos.query(shown.dataset.queries[query_row]),
        shown.scale.text(score.average_precision),
        count(score.num_positives, "positive"),
        _missed(shown.ranking.ranks[query_row], shown.ground_truth.positives[query_row], shown.num_answers),
        tuple(_answers(query_row, link, shown)),
    )


def _answers(query_row: int, link: str, shown: Shown) -> list[Tile]:
    """Return the first answers of a query, with pictures of their matches where they were compared."""
    rows = shown.ranking.ranks[query_row, : shown.num_answers]
    rows = rows[rows != NO_ROW]
    scores = shown.ranking.scores[query_row].tolist()
    photos = [shown.dataset.database[row] for row in rows]
    tiles = [
        shown.photos.answer(photo, _verdict(row, query_row, shown.ground_truth), rank, scores[rank - 1])
        for rank, (row, photo) in enumerate(zip(rows.tolist(), photos, strict=True), start=1)
    ]
    if shown.compare is None:
        return tiles
    return shown.photos.add_matches(tiles, shown.compare(query_row, rows, photos), f"matches-{link}")


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


def write_page(path: Path, template: str, **values: object) -> None:
    """Write a template of this folder, filled in."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("meisho", "web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    style = Markup((files("meisho") / "web" / "style.css").read_text())
    text = environment.get_template(template).render(style=style, **values)
    write_text(path, text, errors="replace")


def _breakable(name: str) -> Markup:
    """Return a file's name as text that a narrow tile may break after "_", "-" or "/", not within a word."""
    return Markup(re.sub("[_/-]", r"\g<0><wbr>", str(escape(name))))
