"""`meisho export`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import Json, app, print_json, say, strong


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A checkpoint such as runs/NAME/best, timm:NAME or default.")],
    to: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    side: Annotated[int, typer.Option(min=32, help="Side of the image that is traced, px.")] = 256,
    as_json: Json = False,
) -> None:
    """Write a model as ONNX, and check that ONNX Runtime gives the same descriptors.

    Example: meisho export runs/city/best --to city.onnx
    """
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
