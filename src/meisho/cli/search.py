"""`meisho search`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, note, out, print_json, say, shell_line, strong
from meisho.cli.checks import check_query
from meisho.cli.options import MANY, Box, Device, Json, Rerank, Whitening, load_chain, place, query_photo
from meisho.errors import InputError
from meisho.outputs import check_page
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.photos import Photo
    from meisho.rerank.chain import Chain
    from meisho.run.finding import Answer, Finder, Found


Verify = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=MANY,
        help="Compare the first N answers by local features, and put them in order.",
    ),
]


@app.command()
def search(
    collection: Annotated[
        Path, typer.Argument(metavar="COLLECTION", help="A collection made by 'meisho index'.")
    ],
    queries: Annotated[list[Path], typer.Argument(metavar="QUERY", help="The photos to ask with.")],
    box: Box = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, max=MANY, help="How many answers for each.")] = 10,
    verify: Verify = 0,
    rerank: Rerank = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the answers as a page to look at; several queries: FILE_1, FILE_2, …"
        ),
    ] = None,
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

    if verify and rerank is not None:
        raise InputError("--verify N is --rerank geometric:first=N; give one of the two")
    if box is not None and len(queries) > 1:
        raise InputError("--box is a part of one photo; ask with one query")
    photos = [query_photo(query, box) for query in queries]
    chain = load_chain(f"geometric:first={verify}" if verify else rerank, device)
    pages = _pages(html, queries)
    for page in pages:
        check_page(page, inputs=[*queries, *filter(None, (weights, whitening))])
    places = place("weights", weights) | place("whitening", whitening)
    read_metadata(collection)  # it must be one
    for query in queries:
        check_query(query)
    finder = Finder.open(collection, device=device, places=places)
    _note_cut_box(photos[0], finder)
    found = finder.find(photos, top=top, chain=chain)
    for row, page in enumerate(pages):
        _write_page(page, found, row, finder, chain, collection)
    if as_json:
        facts = [_query_json(found, row) for row in range(len(found))]
        print_json(facts if len(facts) > 1 else facts[0])
    else:
        _print_found(found, pages)
    _note_missing_files(found, collection)


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
    from meisho.photos import Photo
    from meisho.web.pages import write_search_page

    write_search_page(
        page,
        found.queries[row],
        [(Photo(answer.id, answer.path), answer.score) for answer in found[row]],
        collection=collection,
        num_database=len(finder),
        pairs=found.compare(row) or None,
        model=finder.describer.provenance.extractor,
        reranking=chain.text if chain else "",
    )


def _query_json(found: "Found", row: int) -> dict[str, object]:
    return {"query": str(found.queries[row].path), "answers": [_answer_json(a) for a in found[row]]}


def _answer_json(answer: "Answer") -> dict[str, object]:
    facts: dict[str, object] = {
        "id": answer.id,
        "path": str(answer.path),
        "score": round(answer.score, 6),
    }
    if answer.num_inliers is not None:
        facts |= {"inliers": answer.num_inliers, "same_place": answer.same_place}
    return facts


def _print_found(found: "Found", pages: list[Path]) -> None:
    for row, answers in enumerate(found):
        if len(found) > 1:
            say("\n" if row else "", strong(found.queries[row].path))
        _print_answers(answers)
    if found.pairs is not None:
        out.print(
            "Sorted by score: how alike the whole photos are, plus what their inliers add.", style="dim"
        )
    if pages:
        say("\nLook at the answers: ", strong(pages[0]), f" to {pages[-1].name}" if pages[1:] else "")


def _print_answers(answers: list["Answer"]) -> None:
    """Print a table that ends with the path, which may hold anything and be of any length."""
    is_verified = any(answer.num_inliers is not None for answer in answers)
    heads = f"{'inliers':>7}  {'':10}  " if is_verified else ""
    out.print(f"rank   score  {heads}photo", style="dim")
    for rank, answer in enumerate(answers, start=1):
        verdict = "same place" if answer.same_place else ""
        cells = f"{answer.num_inliers:7}  {verdict:10}  " if is_verified else ""
        say(f"{rank:4}  {answer.score:6.4f}  {cells}{answer.path}")


def _note_cut_box(photo: "Photo", finder: "Finder") -> None:
    """Say so where the box is partly outside of the photo."""
    from meisho.images import load_sized_image

    if (box := photo.box) is None:
        return
    width, height = load_sized_image(photo, finder.describer.extractor.image_options).size_px
    if min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height:
        note(f"--box goes over the edge of the photo, {width} x {height} px; only the part inside is used")


def _note_missing_files(found: "Found", collection: Path) -> None:
    missing = {answer.path for answers in found for answer in answers if not answer.path.exists()}
    if missing:
        line = shell_line("meisho", "index", "NEW_FOLDER", "--to", collection, "--moved")
        where = "is not where it was" if len(missing) == 1 else "are not where they were"
        note(f"{count(len(missing), 'photo')} {where}; if their folder was moved or renamed, run: {line}")
