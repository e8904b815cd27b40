"""`meisho whiten`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import (
    BatchSize,
    Device,
    Json,
    Workers,
    app,
    print_json,
    print_skipped,
    progress_bars,
    say,
    strong,
)
from meisho.cli.models import Model, Pooling, Precision, Scales, Size, Weights, load_model, model_options


@app.command()
def whiten(
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos; with --learned PHOTOS/LABEL/... or a CSV.")
    ],
    to: Annotated[Path, typer.Option(help="The whitening's file, for example w.safetensors.")],
    learned: Annotated[bool, typer.Option(help="Learn from pairs of one label instead of by PCA.")] = False,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimensions that are kept; all when not given.")
    ] = None,
    shrinkage: Annotated[
        float | None, typer.Option(min=0, help="Makes it gentler; 0 by PCA and 10 learned when not given.")
    ] = None,
    model: Model = None,
    weights: Weights = None,
    size: Size = None,
    pooling: Pooling = None,
    scales: Scales = None,
    precision: Precision = None,
    device: Device = "auto",
    batch_size: BatchSize = 16,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Fit a whitening on your own photos, for use with 'meisho index --whitening'.

    Example: meisho whiten ~/Pictures --to w.safetensors --dim 512
    """
    from meisho.describing import Describer
    from meisho.run.whitening import WhiteningOptions, fit_whitening

    extractor = load_model(
        model, device=device, **model_options(weights, size, pooling, scales, None, precision)
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    with progress_bars() as report_progress:
        whitening, skipped = fit_whitening(
            photos,
            Describer(extractor, batch_size, workers),
            WhiteningOptions(learned=learned, dim=dim, shrinkage=shrinkage),
            progress=report_progress,
        )
    whitening.save(to)
    if as_json:
        print_json({"whitening": str(to), "kind": whitening.kind, "dim": whitening.dim, "skipped": skipped})
        return
    print_skipped(skipped)
    say(f"{whitening.kind} whitening, {extractor.dim} to {whitening.dim} dimensions, in ", strong(to))
