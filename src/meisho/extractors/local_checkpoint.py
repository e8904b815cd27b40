"""Checkpoints of local features: a folder with a trained head (`local_head.safetensors`) and `local.json`."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from meisho.errors import InputError, WeightsError

HEAD_NAME = "local_head.safetensors"
LIST_NAME = "local.json"
"""Holds the name of the extractor and its options. Weights of the trunk that it names may lie beside it."""


def find_local(name: str, options: dict[str, Any], known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of an extractor and all its options, those of a checkpoint read from its folder.

    Args:
        name: One of `known`, or the folder of a checkpoint.
        options: They replace those that a checkpoint holds.
        known: Names of extractors.

    Raises:
        InputError: It is neither.
        WeightsError: The folder's list cannot be read.
    """
    if name in known:
        return name, options
    folder = Path(name).absolute()  # a collection remembers it, and may be used from any folder
    if not (folder / LIST_NAME).is_file():
        raise InputError(_explain(name, known))
    try:
        content = json.loads((folder / LIST_NAME).read_text(encoding="utf-8"))
        extractor, saved = str(content["local_extractor"]), dict(content["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / LIST_NAME}: no checkpoint of local features ({error})") from error
    if extractor not in known:
        raise WeightsError(f"{folder / LIST_NAME}: {extractor!r} are no local features")
    weights = folder / str(saved.get("weights"))
    if weights.is_file():
        saved["weights"] = str(weights)
    return extractor, {**saved, "local_weights": str(folder / HEAD_NAME), **options}


def _explain(name: str, known: Collection[str]) -> str:
    hint = ""
    if (Path(name) / "best" / LIST_NAME).is_file():
        hint = f"did you mean {str(Path(name) / 'best')!r}? "
    elif (Path(name) / "model.json").is_file():
        hint = "it is a model for --model; "
    return (
        f"{name!r} are no local features; {hint}choose one of {', '.join(known)}, or the folder of trained "
        "ones, such as runs/NAME/best"
    )
