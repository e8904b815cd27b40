"""`meisho index`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from meisho.cli.app import (
    BatchSize,
    Device,
    Json,
    Workers,
    app,
    own_command,
    print_json,
    print_skipped,
    progress_bars,
    say,
    shell_line,
    strong,
)
from meisho.cli.models import (
    LOCAL_NAMES,
    Model,
    Pooling,
    Precision,
    Scales,
    Size,
    Weights,
    Whitening,
    load_local,
    model_for,
    model_options,
)
from meisho.errors import SkippedPhotosError


@app.command()
def index(
    photos: Annotated[Path, typer.Argument(help="Folder of photos; subfolders too.")],
    to: Annotated[Path, typer.Option(help="The collection's directory; made when it is not there.")],
    model: Model = None,
    weights: Weights = None,
    size: Size = None,
    pooling: Pooling = None,
    scales: Scales = None,
    whitening: Whitening = None,
    precision: Precision = None,
    device: Device = "auto",
    index: Annotated[
        str | None, typer.Option(help="auto, exact, ivfpq or hnsw; the kind that is there, auto at first.")
    ] = None,
    local: Annotated[
        str | None, typer.Option(help=f"Keep local features too, for --verify: {LOCAL_NAMES}.")
    ] = None,
    moved: Annotated[bool, typer.Option(help="The photo folder stands elsewhere than before.")] = False,
    batch_size: BatchSize = 16,
    workers: Workers = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 when a photo had to be skipped.")] = False,
    as_json: Json = False,
) -> None:
    """Index a folder of photos, or bring its collection up to date.

    Run it again at any time: only new and changed photos are described, and photos that are gone are removed.

    Example: meisho index ~/Pictures --to my.meisho
    """
    from meisho.describing import Describer
    from meisho.local_describing import LocalDescriber
    from meisho.run.indexing import IndexOptions, index_folder

    options = model_options(weights, size, pooling, scales, whitening, precision)
    extractor = model_for(to, model, options, device)
    local_describer = LocalDescriber(load_local(local, device), workers) if local else None
    with progress_bars() as report_progress:
        summary = index_folder(
            photos,
            to,
            Describer(extractor, batch_size, workers),
            IndexOptions(index, moved, local_describer, device),
            progress=report_progress,
        )
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, to)
    if strict and summary.skipped:
        raise SkippedPhotosError(f"{len(summary.skipped)} photos were skipped (--strict)")


def _print_summary(summary: Any, to: Path) -> None:
    print_skipped(summary.skipped)
    parts = [
        (summary.described, "described"),
        (summary.duplicates, "duplicates"),
        (summary.unchanged, "unchanged"),
        (summary.removed, "removed"),
        (len(summary.skipped), "skipped"),
    ]
    done = ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing to do"
    say(
        f"{summary.num_photos} photos in ",
        strong(to),
        f" ({done}; {summary.index} index; {summary.seconds:.1f} s)",
    )
    say("Ask it: ", shell_line(own_command(), "search", to, "QUERY.jpg", "--html", "answer.html"))
