"""`meisho index`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, own_command, print_json, print_skipped, say, shell_line, strong
from meisho.cli.bars import progress_bars
from meisho.cli.options import LOCAL_NAMES, IndexKind, Json, WhitenedModelChoice, expand_options
from meisho.errors import InputError, SkippedPhotosError
from meisho.outputs import check_output_folder
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.run.indexing import IndexSummary


@app.command()
@expand_options
def index(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photos; subfolders too.")],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="The collection; made if it is not there.")],
    choice: WhitenedModelChoice,
    kind: Annotated[
        IndexKind | None,
        typer.Option(
            "--index", help="Search structure. Default: keep the collection's kind; auto for a new one."
        ),
    ] = None,
    local: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Keep local features too, for --verify: {LOCAL_NAMES}."),
    ] = None,
    moved: Annotated[
        bool, typer.Option("--moved", help="The photo folder is elsewhere than before.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if a photo had to be skipped.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Index a folder of photos, or bring its collection up to date.

    Run it again at any time: only new and changed photos are described, and photos that are gone are removed.

    Example: meisho index ~/Pictures --to my.meisho
    """
    from meisho.run.indexing import IndexOptions, index_folder

    if not photos.is_dir():
        raise InputError(f"{photos}: no such folder")
    check_output_folder(to)
    local_describer = choice.local_describer(local)
    describer = choice.describer(to)
    options = IndexOptions(kind, moved, local_describer, choice.device)
    with progress_bars() as report_progress:
        summary = index_folder(photos, to, describer, options, progress=report_progress)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary, to)
        say("Ask it: ", shell_line(own_command(), "search", to, "QUERY.jpg", "--html", "answer.html"))
    if strict and summary.skipped:
        were = "was" if len(summary.skipped) == 1 else "were"
        raise SkippedPhotosError(f"{count(len(summary.skipped), 'photo')} {were} skipped (--strict)")


def print_summary(summary: "IndexSummary", collection: Path) -> None:
    """Say what was done to a collection."""
    for line in summary.repaired:
        say(f"{collection} was damaged on the disk. ", line)
    print_skipped(summary.skipped)
    parts = [
        f"{summary.described:,} described" if summary.described else "",
        count(summary.duplicates, "duplicate") if summary.duplicates else "",
        f"{summary.unchanged:,} unchanged" if summary.unchanged else "",
        f"{summary.removed:,} removed" if summary.removed else "",
        f"{len(summary.skipped):,} skipped" if summary.skipped else "",
    ]
    done = ", ".join(filter(None, parts)) or "nothing to do"
    say(
        f"{count(summary.num_photos, 'photo')} in ",
        strong(collection),
        f" ({done}; {summary.index} index; {summary.seconds:.1f} s)",
    )
