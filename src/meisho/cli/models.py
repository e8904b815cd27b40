"""Options that name a model, and loading it."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from meisho.errors import ConfigError, InputError

LOCAL_NAMES = "sift, xfeat, aliked, or a folder that training made, such as runs/NAME/best"
"""What --local takes."""

Model = Annotated[
    str | None,
    typer.Option(
        help="default, timm:NAME, a checkpoint directory, several as ensemble:default*2+timm:NAME, "
        "or random (evaluate only)."
    ),
]
Weights = Annotated[
    str | None, typer.Option(help="hub, a .safetensors or weights-only .pth file, or none:SEED.")
]
Size = Annotated[int | None, typer.Option(min=32, help="Longer side of the working image, px.")]
Pooling = Annotated[
    str | None, typer.Option(help="gem, regional-gem, scale-gem, superglobal, avg, max or cls.")
]
Scales = Annotated[str | None, typer.Option(help="Image scales, for example 1,0.7071,0.5.")]
Whitening = Annotated[Path | None, typer.Option(help="A whitening made by 'meisho whiten'.")]
Rerank = Annotated[
    str | None,
    typer.Option(help="Rerankers in order, for example dba,alpha-qe:k=10:alpha=3,geometric:first=50."),
]
Precision = Annotated[str | None, typer.Option(help="float32, bf16 (GPUs, new CPUs) or fp16 (GPUs).")]


def model_options(
    weights: str | None,
    size: int | None,
    pooling: str | None,
    scales: str | None,
    whitening: Path | None,
    precision: str | None,
) -> dict[str, Any]:
    """Return the options that were given on the command line, and no others."""
    given = {
        "weights": _absolute(weights),
        "max_side_px": size,
        "pooling": pooling,
        "scales": parse_numbers("--scales", scales) if scales else None,
        "whitening": str(whitening.absolute()) if whitening else None,
        "precision": precision,
    }
    return {name: value for name, value in given.items() if value is not None}


def _absolute(weights: str | None) -> str | None:
    """Return the path of a file of weights such that it is found from any folder; a name stays as it is."""
    return str(Path(weights).absolute()) if weights and Path(weights).exists() else weights


def model_for(collection: Path, model: str | None, options: dict[str, Any], device: str) -> Any:
    """Load the model asked for; when none is asked for, the one that the collection was made with."""
    from meisho.extractors.restoring import restore_extractor
    from meisho.store.metadata import is_collection, read_metadata

    if model == "random":
        raise InputError("--model random describes no photo; it is a baseline of 'meisho evaluate'")
    if model is None and not options and is_collection(collection):
        return restore_extractor(read_metadata(collection).provenance, device=device)
    return load_model(model, device=device, **options)


def load_model(model: str | None, **options: Any) -> Any:
    """Load a model by the name given on the command line."""
    from meisho.extractors.base import load_extractor

    return load_extractor(_absolute(model) or "default", **options)


def load_local(name: str | None, device: str = "auto") -> Any:
    """Load an extractor of local features; None for none."""
    from meisho.extractors.local_base import load_local_extractor

    return load_local_extractor(name, device=device) if name else None


def load_chain(text: str | None, device: str = "auto") -> Any:
    """Build the rerankers of "dba:k=10,alpha-qe"; None for none."""
    from meisho.rerank.chain import build_chain

    return build_chain(text, source="--rerank", device=device) if text else None


def parse_numbers(option: str, text: str) -> list[float]:
    """Read numbers with commas between."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{option} {text}: give numbers with commas between, without spaces")
    return numbers


def parse_box(text: str) -> Any:
    """Read a box, x0,y0,x1,y1."""
    from meisho.photos import Box

    numbers = parse_numbers("--box", text)
    if len(numbers) != 4:
        raise ConfigError(f"--box {text}: give four numbers, x0,y0,x1,y1")
    return Box(*numbers)
