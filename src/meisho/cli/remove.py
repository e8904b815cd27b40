"""`meisho remove`."""

from typing import Annotated

import typer

from meisho.cli.app import app, print_json
from meisho.cli.index import print_summary
from meisho.cli.options import Collection, Json


@app.command()
def remove(
    collection: Collection,
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="Ids of photos, as 'meisho search --json' gives them."),
    ],
    as_json: Json = False,
) -> None:
    """Remove photos from a collection; no file is deleted.

    'meisho index' adds a photo again if its file is still in the photo folder.

    Example: meisho remove my.meisho trip/blurred.jpg
    """
    from meisho.run.indexing import remove_photos

    summary = remove_photos(collection, ids)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary, collection)
