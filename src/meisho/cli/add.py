"""`meisho add`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import app, print_json
from meisho.cli.bars import progress_bars
from meisho.cli.checks import check_query
from meisho.cli.index import print_summary
from meisho.cli.options import Json


@app.command()
def add(
    collection: Annotated[Path, typer.Argument(help="A collection made by 'meisho index'.")],
    photos: Annotated[list[Path], typer.Argument(help="The photos to add.")],
    as_json: Json = False,
) -> None:
    """Add photos to a collection, from any folder; photos that are there and have changed are described anew.

    Example: meisho add my.meisho new/*.jpg
    """
    from meisho.run.indexing import add_photos

    for photo in photos:
        check_query(photo)
    with progress_bars() as report_progress:
        summary = add_photos(collection, photos, progress=report_progress)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary, collection)
