"""`meisho export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, print_json, say, strong
from meisho.cli.options import Json
from meisho.outputs import MODEL, check_output, model_files

if TYPE_CHECKING:  # it takes long to import
    from meisho.training.export import ExportSummary


@app.command(short_help="Write a model as ONNX, for use without torch.")
def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A checkpoint such as runs/NAME/best, timm:NAME or default."),
    ],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The ONNX file to write.")],
    side: Annotated[
        int, typer.Option(metavar="PX", min=32, max=4096, help="Side of the image that is traced, px.")
    ] = 256,
    as_json: Json = False,
) -> None:
    """Write a model as ONNX, and check that ONNX Runtime gives the same descriptors.

    Example: meisho export runs/city/best --to city.onnx
    """
    check_output(to, MODEL, inputs=model_files(model))
    from meisho.extractors.machine import require_torch

    require_torch("export", extra="export")
    from meisho.training.export import export_onnx

    summary = export_onnx(model, to, side_px=side)
    if as_json:
        print_json(summary)
        return
    say(
        strong(summary.path),
        ": images (B, 3, H, W) float32 RGB 0 to 255 -> ",
        f"descriptors (B, {summary.dim})",
    )
    say(f"ONNX Runtime and torch differ by at most {summary.largest_difference:.1g}")
    say(_describe_input(summary))


def _describe_input(summary: "ExportSummary") -> str:
    """Say how photos become its input; the metadata of the file says so too."""
    options = summary.image_options
    size = f"{options.max_side_px} px on the longer side, both sides multiples of {options.multiple_px} px"
    if summary.fixed_size_px is not None:
        size = "{} px high and {} px wide".format(*summary.fixed_size_px)
    return (
        f"Give it upright photos resized ({options.interpolation}) to {size}; mean and standard deviation "
        "are taken care of inside. The file's metadata says the same"
    )
