"""`meisho add`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import app, print_json
from meisho.cli.bars import progress_bars
from meisho.cli.checks import check_query
from meisho.cli.index import print_summary
from meisho.cli.options import Collection, Device, Json


@app.command(short_help="Add photos from any folder to a collection.")
def add(
    collection: Collection,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="The photos to add.")],
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Add photos to a collection, from any folder; those whose files have changed are described again.

    Example: meisho add my.meisho new/*.jpg
    """
    from meisho.run.indexing import add_photos
    from meisho.store.metadata import read_metadata

    read_metadata(collection)  # it must be one
    for photo in photos:
        check_query(photo)
    with progress_bars() as report_progress:
        summary = add_photos(collection, photos, device=device, progress=report_progress)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary, collection)
