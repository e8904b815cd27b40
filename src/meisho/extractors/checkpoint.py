"""Checkpoints: a folder with a network's weights (`model.safetensors`) and how it is used (`model.json`)."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from meisho.documents import read_json
from meisho.errors import ConfigError, InputError, WeightsError
from meisho.extractors.base import EXTRACTORS, GlobalExtractor
from meisho.extractors.local_checkpoint import LIST_NAME
from meisho.extractors.machine import has_package
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.timm_models import load_timm
from meisho.files import replacing, write_text
from meisho.tables import find_nearest
from meisho.whitening import Whitening

if TYPE_CHECKING:
    from meisho.extractors.network import DescriptorNetwork


def save_checkpoint(network: "DescriptorNetwork", name: str, options: TimmGeMOptions, folder: Path) -> None:
    """Write a project checkpoint: `model.safetensors` and `model.json` in `folder`.

    Args:
        network: The trained network; GeM's learned power is written as the option `p`.
        name: timm's name of the backbone.
        options: How it is to be used; `weights` is left out, for they are here.
        folder: Made if missing.
    """
    power = getattr(network.pooling, "p", None)
    if power is not None:
        options = replace(options, p=float(power.detach()))
    settings = {k: v for k, v in asdict(options).items() if k not in ("weights", "projection_dim")}
    state = {k: v.detach().cpu().numpy() for k, v in network.state_dict().items() if "pooling" not in k}
    state = {k: np.array(v, order="C") for k, v in state.items()}  # else memory goes out as it lies
    with replacing(folder / "model.safetensors") as part:
        save_file(state, part)
    write_text(folder / "model.json", json.dumps({"backbone": name, "options": settings}, indent=2))


def add_whitening(whitening: Whitening, folder: Path) -> None:
    """Put a whitening into a checkpoint: it is applied whenever the checkpoint is used.

    Args:
        whitening: Fitted on descriptors of this checkpoint.
        folder: What `save_checkpoint` wrote.
    """
    whitening.save(folder / "whitening.safetensors")
    _set_whitening(folder, "whitening.safetensors")


def remove_whitening(folder: Path) -> None:
    """Take the whitening out of a checkpoint, if it has one."""
    if _read_model(folder)[1].get("whitening"):
        _set_whitening(folder, None)
        (folder / "whitening.safetensors").unlink(missing_ok=True)


def load_checkpoint(path: str, *, device: str = "auto", **options: object) -> GlobalExtractor:
    """Load what `save_checkpoint` wrote; `options` replace those that it holds.

    Raises:
        InputError: `path` is no checkpoint; the message lists the forms of a model specification.
        WeightsError: Its files cannot be read or do not fit.
    """
    folder = Path(path)
    if not (folder / "model.json").is_file():
        raise InputError(_explain_models(path))
    name, saved = _read_model(folder)
    if saved.get("whitening"):
        saved["whitening"] = str(folder / str(saved["whitening"]))  # it lies beside the weights
    options = {**saved, "weights": str(folder / "model.safetensors"), **options}
    try:
        return load_timm(name, device=device, **options)
    except InputError as error:
        kind = ConfigError if isinstance(error, ConfigError) else InputError
        raise kind(f"{folder / 'model.json'} and the options given: {error}") from error


def _read_model(folder: Path) -> tuple[str, dict[str, object]]:
    """Return the backbone's name and the options that `model.json` holds."""
    path = folder / "model.json"
    fields = read_json(path, error=WeightsError, advice="not a meisho checkpoint", most_bytes=1_000_000)
    return fields.text("backbone"), dict(fields.table("options").values)


def _set_whitening(folder: Path, name: str | None) -> None:
    backbone, options = _read_model(folder)
    content = {"backbone": backbone, "options": {**options, "whitening": name}}
    write_text(folder / "model.json", json.dumps(content, indent=2))


def _explain_models(model: str) -> str:
    kinds = [k for k in EXTRACTORS if k != "checkpoint"]
    near = find_nearest(model.partition(":")[0], kinds, cutoff=0.6)
    if not near and _is_in_timm(model):
        near = [f"timm:{model}"]
    if model.endswith(".onnx"):
        near = [f"onnx:{model}"]
    if model.startswith("module:"):
        return f"{model!r} is a module of your own: give the extractor that wrap_module made of it, in Python"
    if (Path(model) / "best" / "model.json").is_file():
        near = [str(Path(model) / "best")]
    if (Path(model) / LIST_NAME).is_file():
        return f"{model!r} holds local features: give it by --local; --model takes a model of whole photos"
    what = "is a folder without model.json" if model and Path(model).is_dir() else "is no model"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{model!r} {what}. {hint[:1].upper()}{hint[1:]}"
        "A model is 'default', 'timm:NAME' (for example timm:resnet34), "
        "the path of a checkpoint folder with model.json and model.safetensors, 'onnx:FILE' for what "
        f"'meisho export' wrote, or one of: {', '.join(kinds)}"
    )


def _is_in_timm(name: str) -> bool:
    if not name.isidentifier() or not has_package("timm") or not has_package("torch"):
        return False
    import timm

    return name in timm.list_models()
