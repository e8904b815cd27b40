"""`meisho check`."""

from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, print_json, say, shell_line
from meisho.cli.bars import progress_bars
from meisho.cli.options import Collection, Json
from meisho.errors import CollectionError, DamagedError, RottenPhotosError
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.run.checking import Checked

SHOWN = 10
"""Lines of each kind that are printed; --json has all."""


@app.command()
def check(
    collection: Collection,
    photos: Annotated[
        bool, typer.Option("--photos", help="Read the photos too, and compare them with what was described.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that everything in a collection is as it was written.

    Exits with 8 if something of the collection is damaged, which the next 'meisho index' rebuilds, with 4
    if something of it cannot be read, and with 9 if only photos are damaged.

    Example: meisho check my.meisho --photos
    """
    from meisho.run.checking import check_collection
    from meisho.store.metadata import read_metadata

    photo_root = read_metadata(collection).photo_root
    with progress_bars() as report_progress:
        found = check_collection(collection, read_photos=photos, progress=report_progress)
    if as_json:
        print_json(found)
    else:
        for each in found:
            _print_checked(each)
    damaged = {each.kind: len(each.damaged) for each in found if each.damaged}
    rotten = damaged.pop("photos", 0)
    if damaged:
        line = shell_line("meisho", "index", photo_root, "--to", collection)
        raise DamagedError(f"{collection}: {' and '.join(damaged)} damaged; make them anew: {line}")
    if shut := [each.kind for each in found if each.unseen and each.kind != "photos"]:
        raise CollectionError(
            f"{collection}: {' and '.join(shut)} could not be read; give yourself permission to read "
            "there, or look after the disk, and check again"
        )
    if rotten:
        raise RottenPhotosError(
            f"{collection}: the files of {count(rotten, 'photo')} changed on the disk, but nobody wrote "
            "to them; bring them back from a backup"
        )


def _print_checked(checked: "Checked") -> None:
    state = f"{len(checked.damaged):,} damaged" if checked.damaged else "sound"
    if checked.unseen and not checked.num_checked:
        state = "not known"
    changed = f", {len(checked.changed):,} changed or gone" if checked.changed else ""
    unseen = f", {len(checked.unseen):,} could not be looked at" if checked.unseen else ""
    say(f"{checked.kind:15} {checked.num_checked:9,} checked, {state}{changed}{unseen}")
    for line in (*checked.damaged[:SHOWN], *checked.changed[:SHOWN], *checked.unseen[:SHOWN]):
        say(f"  {line}")
