"""`meisho search`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, note, out, print_json, say, shell_line, strong
from meisho.cli.checks import check_query
from meisho.cli.options import (
    MANY,
    Box,
    Collection,
    Device,
    Json,
    Rerank,
    Whitening,
    load_chain,
    place,
    query_photo,
)
from meisho.errors import InputError
from meisho.outputs import check_page
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.photos import Photo
    from meisho.rerank.chain import Chain
    from meisho.run.finding import Among, Finder
    from meisho.run.found import Answer, Found


Near = Annotated[
    bool,
    typer.Option("--near", help="Let near copies stand below the first: another size, quality or format."),
]
Turned = Annotated[
    bool,
    typer.Option("--turned", help="Search with the query in four rotations: some photos are turned."),
]
Folder = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Only photos below this folder of the collection, as ids begin."),
]
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write the answers as a page to look at; several queries: FILE_1, FILE_2, …"
    ),
]


Verify = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=MANY,
        help="Compare the first N answers by local features, and put them in order.",
    ),
]


MinProbability = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        min=0,
        max=1,
        help="Leave out answers that show the same place less probably, from 0 to 1.",
    ),
]
WORDS = {"same": "same place", "maybe": "maybe", "unknown": "", None: ""}
"""Verdict -> what the table says."""

LEAST_BOX_PX = 16
"""A part of a photo that is less wide or high shows nothing that could be found."""


@app.command(short_help="Find the photos that show what the query shows.")
def search(
    collection: Collection,
    queries: Annotated[list[Path], typer.Argument(metavar="QUERY", help="The photos to ask with.")],
    box: Box = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, max=MANY, help="How many answers for each.")] = 10,
    verify: Verify = 0,
    rerank: Rerank = None,
    near: Near = False,
    turned: Turned = False,
    folder: Folder = None,
    min_probability: MinProbability = None,
    html: Html = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the model's file is now, if it was moved.")
    ] = None,
    whitening: Whitening = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the photos of a collection that show what the query shows.

    Example: meisho search my.meisho tower.jpg --top 5 --html answer.html

    Example: meisho search my.meisho *.jpg --json
    """
    from meisho.run.finding import Finder
    from meisho.store.metadata import read_metadata

    chain = _load_chain(verify, rerank, device)
    if box is not None and len(queries) > 1:
        raise InputError("--box is a part of one photo; ask with one query")
    photos = [query_photo(query, box) for query in queries]
    pages = _pages(html, queries)
    for page in pages:
        check_page(page, inputs=[*queries, *filter(None, (weights, whitening))])
    places = place("weights", weights) | place("whitening", whitening)
    read_metadata(collection)  # it must be one
    for query in queries:
        check_query(query)
    finder = Finder.open(collection, device=device, places=places)
    _note_cut_box(photos[0], finder)
    found = finder.find(photos, top=top, chain=chain, near=near, turned=turned, among=_among(folder))
    if min_probability is not None:
        found = found.at_least(min_probability)
    if as_json:
        _print_json(found)
    else:
        _print_found(found)
    for row, page in enumerate(pages):  # at the end: the disk may be full
        _write_page(page, found, row, finder, chain, collection)
    if pages and not as_json:
        say("\nLook at the answers: ", strong(pages[0]), f" to {pages[-1].name}" if pages[1:] else "")
    _note_missing_files(found, finder)


def _among(folder: str | None) -> "Among | None":
    """Return what chooses the photos below a folder; None for all."""
    if folder is None:
        return None
    from meisho.run.filters import lie_below

    return lambda snapshot: lie_below(snapshot.descriptors.ids, folder)


def _load_chain(verify: int, rerank: str | None, device: str) -> "Chain | None":
    if verify and rerank is not None:
        raise InputError("--verify N is --rerank geometric:first=N; give one of the two")
    return load_chain(f"geometric:first={verify}" if verify else rerank, device)


def _pages(html: Path | None, queries: list[Path]) -> list[Path]:
    """Return the page of each query: the one that was named, or numbered ones beside it."""
    if html is None:
        return []
    if len(queries) == 1:
        return [html]
    return [html.with_name(f"{html.stem}_{row}{html.suffix}") for row in range(1, len(queries) + 1)]


def _write_page(
    page: Path, found: "Found", row: int, finder: "Finder", chain: "Chain | None", collection: Path
) -> None:
    from meisho.web.pages import write_search_page

    write_search_page(
        page,
        found.queries[row],
        found[row],
        collection=collection,
        num_database=len(finder),
        pairs=found.compare(row) or None,
        model=finder.describer.provenance.extractor,
        reranking=chain.text if chain else "",
    )


def _print_json(found: "Found") -> None:
    facts = [_query_json(found, row) for row in range(len(found))]
    print_json(facts if len(facts) > 1 else facts[0])


def _query_json(found: "Found", row: int) -> dict[str, object]:
    is_turned = found.positions is not None
    answers = [_answer_json(answer, is_turned=is_turned) for answer in found[row]]
    facts: dict[str, object] = {"query": str(found.queries[row].path)}
    if (not_here := found.not_here(row)) is not None:
        facts["not_here"] = not_here
    return {**facts, "answers": answers}


def _answer_json(answer: "Answer", *, is_turned: bool) -> dict[str, object]:
    facts: dict[str, object] = {
        "id": answer.id,
        "path": str(answer.path),
        "score": round(answer.score, 6),
    }
    if answer.num_inliers is not None:
        facts |= {"inliers": answer.num_inliers, "same_place": answer.same_place}
    if answer.verdict is not None:
        facts["verdict"] = answer.verdict
    numbers = {name: getattr(answer, name) for name in ("probability", "overlap_query", "overlap_photo")}
    facts |= {name: round(number, 4) for name, number in numbers.items() if number is not None}
    if is_turned:
        facts["turned"] = answer.turned
    if answer.copies:
        facts["copies"] = [{"id": photo.id, "path": str(photo.path)} for photo in answer.copies]
    return facts


def _print_found(found: "Found") -> None:
    for row, answers in enumerate(found):
        if len(found) > 1:
            say("\n" if row else "", strong(found.queries[row].path))
        _print_answers(answers, is_turned=found.positions is not None)
        if found.not_here(row):
            say(strong("Probably not here"), ": no answer is likely to show the same place.")
    for line in _explain(found):
        out.print(line, style="dim")


def _explain(found: "Found") -> list[str]:
    """Say what the table does not say by itself."""
    lines = []
    if found.pairs is not None:
        lines.append("Sorted by score: how alike the whole photos are, plus what their inliers add.")
    if found.is_calibrated:
        lines.append(
            "Sure: how probably it shows the same place; from 90 % on it is said, from 50 % on maybe."
        )
    if found.positions is not None:
        lines.append("Turned: how far the query was turned, clockwise, when it found the photo.")
    if any(answer.copies for answers in found for answer in answers):
        lines.append("Indented: copies of the photo above them, which do not count in --top.")
    return lines


def _print_answers(answers: list["Answer"], *, is_turned: bool) -> None:
    """Print a table that ends with the path, which may hold anything and be of any length.

    Copies stand indented below the answer that they are copies of.
    """
    is_verified = any(answer.num_inliers is not None for answer in answers)
    is_rated = any(answer.probability is not None for answer in answers)
    heads = f"{'inliers':>7}  " if is_verified else ""
    heads += f"{'sure':>5}  " if is_rated else ""
    heads += f"{'':10}  " if is_verified or is_rated else ""
    heads += f"{'turned':>6}  " if is_turned else ""
    out.print(f"rank   score  {heads}photo", style="dim")
    for rank, answer in enumerate(answers, start=1):
        cells = f"{answer.num_inliers:7}  " if is_verified else ""
        cells += f"{math.floor(100 * answer.probability):3} %  " if answer.probability is not None else ""
        cells += f"{WORDS[answer.verdict]:10}  " if is_verified or is_rated else ""
        cells += f"{answer.turned:5}°  " if is_turned else ""
        say(f"{rank:4}  {answer.score:6.4f}  {cells}{answer.path}")
        for photo in answer.copies:
            say(f"{'':{14 + len(cells)}}  {photo.path}")


def _note_cut_box(photo: "Photo", finder: "Finder") -> None:
    """Say so where the box is partly outside of the photo, or next to nothing."""
    from meisho.images import load_sized_image

    if (box := photo.box) is None:
        return
    width, height = load_sized_image(photo, finder.describer.extractor.image_options).size_px
    if min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height:
        note(f"--box goes over the edge of the photo, {width} x {height} px; only the part inside is used")
    wide, high = min(box.x1, width) - max(box.x0, 0), min(box.y1, height) - max(box.y0, 0)
    if min(wide, high) < LEAST_BOX_PX:
        note(
            f"--box is {wide:.4g} x {high:.4g} px of the photo's {width} x {height}; so little shows no place"
        )


def _note_missing_files(found: "Found", finder: "Finder") -> None:
    """Say so where photos cannot be shown, or none could be described."""
    collection = finder.path
    if not len(finder):
        line = shell_line("meisho", "index", finder.photo_root, "--to", collection)
        note(f"{collection} holds no photo that could be read; to see why, run: {line}")
    missing = {answer.path for answers in found for answer in answers if not answer.path.exists()}
    if missing:
        line = shell_line("meisho", "index", "NEW_FOLDER", "--to", collection, "--moved")
        where = "is not where it was" if len(missing) == 1 else "are not where they were"
        note(f"{count(len(missing), 'photo')} {where}; if their folder was moved or renamed, run: {line}")
