"""`meisho whiten`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import app, note, print_json, print_skipped, say, strong
from meisho.cli.bars import progress_bars
from meisho.cli.checks import check_number
from meisho.cli.options import MANY, Json, ModelChoice, expand_options
from meisho.errors import InputError
from meisho.outputs import WHITENING, check_output, model_files


@app.command(short_help="Fit a whitening on your own photos.")
@expand_options
def whiten(
    photos: Annotated[
        Path,
        typer.Argument(metavar="PHOTOS", help="Folder of photos; with --learned PHOTOS/LABEL/... or a CSV."),
    ],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The whitening, a .safetensors file.")],
    choice: ModelChoice,
    learned: Annotated[
        bool, typer.Option("--learned", help="Learn from pairs of photos with one label instead of by PCA.")
    ] = False,
    dim: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MANY, help="Dimensions to keep. Default: all.")
    ] = None,
    shrinkage: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            max=1e6,
            help="Shrinkage. Default: 1000 (PCA), 10 (learned).",
            callback=check_number,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit a whitening on your own photos, for use with 'meisho index --whitening'.

    Example: meisho whiten ~/Pictures --to w.safetensors --dim 512
    """
    from meisho.run.whitening import WhiteningOptions, fit_whitening

    if not photos.exists():
        raise InputError(f"{photos}: no such file or folder")
    check_output(to, WHITENING, inputs=[photos, *model_files(choice.model, choice.weights)])
    options = WhiteningOptions(learned=learned, dim=dim, shrinkage=shrinkage)
    describer = choice.describer()
    with progress_bars() as report_progress:
        fitted = fit_whitening(photos, describer, options, progress=report_progress)
    whitening, skipped = fitted.whitening, fitted.skipped
    to.parent.mkdir(parents=True, exist_ok=True)
    whitening.save(to)
    for doubt in fitted.doubts:
        note(f"{doubt}: searches may get worse; measure with 'meisho evaluate' before use")
    if as_json:
        facts = {"whitening": str(to), "kind": whitening.kind, "dim": whitening.dim}
        print_json({**facts, "doubts": fitted.doubts, "skipped": skipped})
        return
    print_skipped(skipped)
    say(f"{whitening.kind} whitening, {describer.dim} to {whitening.dim} dimensions, in ", strong(to))
