"""`meisho index`."""

import atexit
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.buckets import as_place
from meisho.cli.app import app, note, own_command, print_json, print_skipped, say, shell_line, strong
from meisho.cli.bars import progress_bars
from meisho.cli.options import (
    LOCAL_NAMES,
    IndexKind,
    Json,
    WhitenedModelChoice,
    as_collection,
    expand_options,
)
from meisho.errors import GoneError, InputError, SkippedPhotosError
from meisho.outputs import check_collection_place
from meisho.photo_folder import DEFAULT_EXCLUDES
from meisho.progress import Stages
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.describing import Describer
    from meisho.run.indexing import IndexOptions
    from meisho.run.summary import IndexSummary


Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Leave out files and folders of this name or end of a path, such as 'scans' or 'raw/*.tif', "
        f"beside {', '.join(DEFAULT_EXCLUDES)}. The collection keeps them until others are given; '' "
        "gives none. "
        "May be given several times.",
    ),
]
NoDefaultExcludes = Annotated[
    bool, typer.Option("--no-default-excludes", help="Leave out only what --exclude names.")
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Remove photos that are gone even if they are more than half of all, or came from a folder "
        "that is gone too.",
    ),
]
Moved = Annotated[bool, typer.Option("--moved", help="The photo folder is elsewhere than before.")]
Rehash = Annotated[
    bool, typer.Option("--rehash", help="Read every photo again, even if its size and times are the same.")
]
OnCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ENGINE",
        help="Describe photos on a cluster: ray starts Ray on this machine, ray:HOST:PORT joins the one "
        "there. Photos are sent to its workers, at most --workers.",
    ),
]
Kind = Annotated[
    IndexKind | None,
    typer.Option(
        "--index", help="Search structure. Default: keep the collection's kind; auto for a new one."
    ),
]
Graph = Annotated[
    bool | None,
    typer.Option(
        "--graph/--no-graph",
        help="Keep the nearest neighbours of every photo, so that dba, k-reciprocal and diffusion answer "
        "large collections soon. Default: as the collection does; a new one does not.",
        show_default=False,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if a photo had to be skipped.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE",
        help="Who searches: 'local', or 'milvus:URI' for a Milvus server or a file NAME.db of Milvus Lite; "
        "'?index=HNSW&M=32' and the like may follow. The collection keeps it. Default: as the collection "
        "does; a new one is searched here.",
        show_default=False,
    ),
]


Photos = Annotated[
    Path,
    typer.Argument(
        metavar="PHOTOS",
        help="Folder of photos, or s3://BUCKET/NAME; subfolders too.",
        callback=as_place,
    ),
]
To = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="The collection; made if it is not there. A folder, or s3://BUCKET/NAME.",
        callback=as_collection,
    ),
]


@app.command()
@expand_options
def index(
    photos: Photos,
    to: To,
    choice: WhitenedModelChoice,
    kind: Kind = None,
    local: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Keep local features too, for --verify: {LOCAL_NAMES}."),
    ] = None,
    moved: Moved = False,
    exclude: Exclude = None,
    no_default_excludes: NoDefaultExcludes = False,
    prune: Prune = False,
    rehash: Rehash = False,
    graph: Graph = None,
    cluster: OnCluster = None,
    engine: Engine = None,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Index a folder of photos, or bring its collection up to date.

    Run it again at any time: only new and changed photos are described, and photos that are gone are removed.
    If more than half of them are gone, a drive may be off: they are kept, and it exits with 7.

    Example: meisho index ~/Pictures --to my.meisho
    """
    if not photos.is_dir():
        raise InputError(f"{photos}: no such folder")
    check_collection_place(to)
    device, choice = choice.device, _join_cluster(cluster, choice)  # before LanceDB is there: Ray forks
    from meisho.run.indexing import IndexOptions, index_folder

    local_describer = choice.local_describer(local)
    describer = choice.describer(to)
    options = IndexOptions(
        kind,
        moved,
        local_describer,
        choice.device,
        excludes=_excludes(exclude, defaults=not no_default_excludes),
        prune=prune,
        rehash=rehash,
        graph=graph,
        engine=engine,
    )
    stages = Stages()
    with (
        _on_cluster(cluster, to, describer, options, device) as (describer, options),
        progress_bars(stages) as report_progress,
    ):
        summary = index_folder(photos, to, describer, options, progress=report_progress, stages=stages)
    _note_useless([*filter(None, exclude or ())], summary, photos)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary, to)
        _note_time(summary, describer)
        say("Ask it: ", shell_line(own_command(), "search", to, "QUERY.jpg", "--html", "answer.html"))
    _refuse_faults(summary, photos, to, strict=strict)


def _join_cluster(cluster: str | None, choice: WhitenedModelChoice) -> WhitenedModelChoice:
    """Join a cluster until this program ends; returns the choice of what this machine loads.

    With a cluster, what this machine loads only tells which model it is.
    """
    if cluster is None:
        return choice
    from meisho.cluster.joining import Cluster

    stack = ExitStack()
    atexit.register(stack.close)
    stack.enter_context(Cluster.parse(cluster).joined())
    return replace(choice, device="auto")


@contextmanager
def _on_cluster(
    cluster: str | None, to: Path, describer: "Describer", options: "IndexOptions", device: str
) -> "Iterator[tuple[Describer, IndexOptions]]":
    """Yield what describes photos on the cluster that was joined; without one, nothing is changed."""
    if cluster is None:
        yield describer, options
        return
    from meisho.cluster.describing import on_cluster
    from meisho.extractors.restoring import restore_local_extractor
    from meisho.local_describing import LocalDescriber
    from meisho.store.metadata import is_collection, read_metadata

    local = options.local
    if local is None and is_collection(to) and (kept := read_metadata(to).local_provenance):
        local = LocalDescriber(restore_local_extractor(kept), describer.num_workers, describer.memory_bytes)
    describer, local = on_cluster(describer, local, device=device)
    with redirect_stdout(sys.stderr):  # where Ray tells of nodes that died
        yield describer, replace(options, local=local)


def _note_time(summary: "IndexSummary", describer: "Describer") -> None:
    """Say what a run that lasted spent its time on."""
    from meisho.run.summary import say_where_time_went

    if spent := say_where_time_went(summary.stages, describer):
        note(f"time: {spent}")


def _note_useless(patterns: Sequence[str], summary: "IndexSummary", photos: Path) -> None:
    """Name the patterns that left out nothing: a slip of the pen would show what was to be hidden."""
    left_out = {each.reason for each in summary.left_out}
    for pattern in patterns:
        if f"excluded by {pattern}" not in left_out:
            note(f"--exclude {pattern}: nothing more was left out by it; look at the names in {photos}")


def _refuse_faults(summary: "IndexSummary", photos: Path, to: Path, *, strict: bool) -> None:
    """Raise what the run could not do, now that all else is done."""
    if summary.kept:
        raise GoneError(
            f"{to}: {summary.kept:,} of {count(summary.num_photos, 'photo')} are no longer below {photos}; "
            "they are kept, as a drive may be off; if they are gone for good, run the same with --prune"
        )
    if strict and summary.skipped:
        were = "was" if len(summary.skipped) == 1 else "were"
        raise SkippedPhotosError(f"{count(len(summary.skipped), 'photo')} {were} skipped (--strict)")


def _excludes(given: list[str] | None, *, defaults: bool) -> tuple[str, ...] | None:
    """Return what is left out; None for what the collection has."""
    if given is None and defaults:
        return None
    return (*(DEFAULT_EXCLUDES if defaults else ()), *filter(None, given or ()))


def print_summary(summary: "IndexSummary", collection: Path) -> None:
    """Say what was done to a collection."""
    from meisho.run.summary import count_left_out

    for line in summary.repaired:
        say(f"{collection} was damaged on the disk. ", line)
    print_skipped(summary.skipped)
    if summary.left_out:
        note(f"left out: {count_left_out(summary.left_out)}")
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
