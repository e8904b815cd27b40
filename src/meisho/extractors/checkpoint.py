"""Checkpoints: a folder with a network's weights (`model.safetensors`) and how it is used (`model.json`)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from meisho.array_files import read_safetensors
from meisho.documents import read_json
from meisho.errors import ConfigError, InputError, WeightsError
from meisho.extractors.base import EXTRACTORS, GlobalExtractor
from meisho.extractors.local_checkpoint import LIST_NAME
from meisho.extractors.machine import has_package
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.published.loading import is_published, load_file
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
    settings = {k: v for k, v in options.values.items() if k not in ("weights", "projection_dim")}
    state = {k: v.detach().cpu().numpy() for k, v in network.state_dict().items() if "pooling" not in k}
    state = {k: np.array(v, order="C") for k, v in state.items()}  # else memory goes out as it lies
    with replacing(folder / "model.safetensors") as part:
        save_file(state, part)
    write_text(folder / "model.json", json.dumps({"backbone": name, "options": settings}, indent=2))


def average_checkpoints(checkpoints: Sequence[Path], shares: Sequence[float], to: Path) -> None:
    """Write the weighted mean of checkpoints of one network, weight by weight, as a checkpoint.

    Of a start and what was trained from it: WiSE-FT, Wortsman et al. 2022 (arXiv:2109.01903); of several runs
    with one start: model soups, Wortsman et al. 2022 (arXiv:2203.05482). Counts, such as those of a batch
    norm, are those of the last one; a whitening is not taken along.

    Args:
        checkpoints: Folders that `save_checkpoint` wrote.
        shares: How much of each; they are brought to a sum of 1.
        to: The folder to write.

    Raises:
        InputError: They are not of one network, or used in different ways.
        WeightsError: A file of theirs cannot be read.
    """
    parts = np.asarray(shares, np.float64) / np.sum(shares)
    models = [_read_model(folder) for folder in checkpoints]
    states = [_read_weights(folder) for folder in checkpoints]
    for folder, model, state in zip(checkpoints, models, states, strict=True):
        if _kind_of(model, state) != _kind_of(models[0], states[0]):
            raise InputError(f"{folder} and {checkpoints[0]} are not checkpoints of one network in one use")
    mean = {name: _mean([state[name] for state in states], parts) for name in states[0]}
    name, options = models[-1]
    powers = [model[1]["p"] for model in models]
    settings = {**options, "p": float(np.dot(parts, np.array(powers, np.float64))), "whitening": None}
    with replacing(to / "model.safetensors") as part:
        save_file(mean, part)
    write_text(to / "model.json", json.dumps({"backbone": name, "options": settings}, indent=2))


def _read_weights(folder: Path) -> dict[str, np.ndarray]:
    return read_safetensors(
        folder / "model.safetensors", error=WeightsError, advice="train it again, or leave it out"
    ).arrays


def _kind_of(model: tuple[str, dict[str, object]], state: dict[str, np.ndarray]) -> object:
    """Return what checkpoints must share to be averaged."""
    name, options = model
    use = {key: value for key, value in options.items() if key not in ("p", "whitening")}
    return name, use, {key: (array.shape, array.dtype) for key, array in state.items()}


def _mean(arrays: Sequence[np.ndarray], parts: np.ndarray) -> np.ndarray:
    if arrays[0].dtype.kind != "f":
        return arrays[-1]
    total = sum(part * array.astype(np.float64) for part, array in zip(parts, arrays, strict=True))
    return np.asarray(total, arrays[0].dtype)


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
    """Load what `save_checkpoint` wrote, or what others published; `options` replace those that it holds.

    Raises:
        InputError: `path` is no checkpoint; the message lists the forms of a model specification.
        WeightsError: Its files cannot be read or do not fit.
    """
    folder = Path(path)
    if not (folder / "model.json").is_file():
        if is_published(folder):
            return load_file(path, device=device, **options)
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
        "the path of a checkpoint folder with model.json and model.safetensors or of a checkpoint as its "
        f"authors published it, 'onnx:FILE' for what 'meisho export' wrote, or one of: {', '.join(kinds)}"
    )


def _is_in_timm(name: str) -> bool:
    if not name.isidentifier() or not has_package("timm") or not has_package("torch"):
        return False
    import timm

    return name in timm.list_models()
