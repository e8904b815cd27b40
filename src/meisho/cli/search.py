"""`meisho search`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from meisho.cli.app import Device, Json, app, out, print_json, say, strong
from meisho.cli.models import Rerank, load_chain, model_options, parse_box
from meisho.errors import InputError


@app.command()
def search(
    collection: Annotated[Path, typer.Argument(help="A collection made by 'meisho index'.")],
    query: Annotated[Path, typer.Argument(help="The photo to ask with.")],
    box: Annotated[
        str | None, typer.Option(help="Part of the query to use: x0,y0,x1,y1 in px of the upright photo.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 10,
    verify: Annotated[
        int, typer.Option(min=0, help="Verify this many answers by local features and put them in order.")
    ] = 0,
    rerank: Rerank = None,
    html: Annotated[Path | None, typer.Option(help="Write the answers as a page to look at.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Where the model's file is now, if it was moved.")
    ] = None,
    whitening: Annotated[Path | None, typer.Option(help="Where the whitening is, if it was moved.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the photos of a collection that show what the query shows.

    Example: meisho search my.meisho tower.jpg --top 5 --html answer.html
    """
    from meisho.photos import Photo
    from meisho.run.finding import Finder

    if verify and rerank:
        raise InputError("--verify N is --rerank geometric:first=N; give one of the two")
    chain = load_chain(f"geometric:first={verify}" if verify else rerank, device)
    photo = Photo(str(query), query, parse_box(box) if box else None)
    places = model_options(weights, None, None, None, whitening, None)
    finder = Finder.open(collection, device=device, places=places)
    found = finder.find(photo, top=top, chain=chain)
    pairs = found.compare(0) or None
    answers = [(Photo(answer.id, answer.path), answer.score) for answer in found[0]]
    if html:
        from meisho.web.pages import write_search_page

        write_search_page(
            html,
            photo,
            answers,
            collection=collection,
            num_database=len(finder),
            pairs=pairs,
            model=finder.describer.provenance.extractor,
            reranking=chain.text if chain else "",
        )
    if as_json:
        print_json({"query": str(query), "answers": _answers_json(answers, pairs)})
        return
    _print_answers(answers, pairs)
    if html:
        say("\nLook at the answers: ", strong(html))


def _answers_json(answers: list[Any], pairs: Any) -> list[dict[str, Any]]:
    found = [{"id": p.id, "path": str(p.path), "score": round(score, 6)} for p, score in answers]
    for answer, pair in zip(found, pairs or (), strict=False):
        answer |= {"inliers": pair.verification.num_inliers, "same_place": pair.same_place}
    return found


def _print_answers(answers: list[Any], pairs: Any) -> None:
    verified = ["inliers", ""] if pairs is not None else []
    table = Table("rank", "score", *verified, "photo", box=None, pad_edge=False, header_style="dim")
    for rank, (answer, score) in enumerate(answers, start=1):
        cells = [str(rank), f"{score:.4f}"]
        if pairs is not None:
            pair = pairs[rank - 1]
            cells += [str(pair.verification.num_inliers), "same place" if pair.same_place else ""]
        table.add_row(*cells, Text(str(answer.path), overflow="fold"))
    out.print(table)
