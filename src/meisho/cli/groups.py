"""`meisho groups`."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, note, out, print_json, say, strong
from meisho.cli.bars import progress_bars
from meisho.cli.options import Json, as_collection
from meisho.files import write_text
from meisho.outputs import PLACES, check_output, check_page
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.run.grouping import Places

_SHOWN = 20


@app.command(short_help="Find the places of a collection, and its duplicates.")
def groups(
    collection: Annotated[
        Path,
        typer.Argument(
            metavar="COLLECTION",
            help="A collection made by 'meisho index' with --local.",
            callback=as_collection,
        ),
    ],
    neighbors: Annotated[
        int, typer.Option(metavar="K", min=1, max=1000, help="Compare each photo with its K nearest others.")
    ] = 12,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the places as a page to look at.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table: kind, group, rank, photo."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the places that several photos of a collection show, and photos that are there twice.

    Each photo is compared with its nearest others by local features. What was compared is kept: the next run
    compares new photos only, and one that was interrupted goes on.

    Example: meisho groups my.meisho --html places.html
    """
    from meisho.run.grouping import GroupOptions, find_groups
    from meisho.run.pairing import PairOptions

    if html is not None:
        check_page(html)
    if to is not None:
        check_output(to, PLACES)
    with progress_bars() as report_progress:
        found = find_groups(
            collection, GroupOptions(pairs=PairOptions(k=neighbors)), progress=report_progress
        )
    if not found.calibrated:
        note("how sure pairs are was never measured for these models; numbers of inliers join them")
    if to is not None:
        write_text(to, _table(found))
    if html is not None:
        from meisho.web.places import write_places_page

        write_places_page(html, found, collection=collection)
    if as_json:
        print_json(found)
    else:
        _print_places(found, html)


def _rows(found: "Places") -> Iterator[tuple[str, str, int, str]]:
    for place in found.places:
        yield from (("place", place.id, rank, photo) for rank, photo in enumerate(place.photos, start=1))
    for group in found.duplicates:
        yield from ((group.kind, group.id, rank, photo) for rank, photo in enumerate(group.photos, start=1))


def _table(found: "Places") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kind", "group", "rank", "photo"))
    writer.writerows(_rows(found))
    return text.getvalue()


def _print_places(found: "Places", page: Path | None) -> None:
    photos = sum(place.size for place in found.places)
    say(strong(count(len(found.places), "place")), f" that {count(photos, 'photo')} show")
    if found.places:
        out.print("photos  cover", style="dim")
    for place in found.places[:_SHOWN]:
        say(f"{place.size:6}  {place.cover}")
    if len(found.places) > _SHOWN:
        out.print(f"and {count(len(found.places) - _SHOWN, 'smaller place')}; --json tells all", style="dim")
    copies = sum(len(group.photos) - 1 for group in found.duplicates)
    if copies:
        say(f"{count(copies, 'copy')}, near copies too, of {count(len(found.duplicates), 'photo')}")
    if page:
        say("\nLook at the places: ", strong(page))
