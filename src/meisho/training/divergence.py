"""Divergence: a loss or gradient that is not a number, where it came from, and the batch that met it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from meisho.training.network import Losses

FOLDER = "diverged"


@torch.no_grad()
def explain_losses(network: nn.Module, images: Tensor, labels: Tensor, losses: Losses) -> str:
    """Say where the first value that is not finite comes from: photos, weights, a layer, or a loss.

    The batch is computed once more, in the network's present mode, with every layer watched.
    """
    if not bool(torch.isfinite(images).all()):
        rows = torch.nonzero(~torch.isfinite(images.flatten(1)).all(dim=1))[:, 0].tolist()
        return f"the images themselves are not finite (places {rows} of the batch): augmentation is at fault"
    for name, value in network.named_parameters():
        if not bool(torch.isfinite(value).all()):
            return f"the weights {name!r} are not finite: the step before this one broke them; lower the rate"
    layer = _first_broken_layer(network, images, labels)
    if layer:
        return (
            f"the layer {layer!r} gives values that are not finite from finite ones; with fp16 try bf16 or "
            "float32, else lower the learning rate or clip the gradient (optimiser.clip_norm)"
        )
    names = ("total", "head", "pairs", "other")
    broken = [n for n in names[1:] if not bool(torch.isfinite(getattr(losses, n)).all())] or ["total"]
    return f"the descriptors are finite but the loss {broken[0]!r} is not; look at its options"


def explain_gradients(network: nn.Module, *, scale: float | None = None) -> str:
    """Say which parameters have a gradient that is not finite; `scale` is fp16's factor of the loss."""
    broken = [
        name
        for name, p in network.named_parameters()
        if p.grad is not None and not bool(torch.isfinite(p.grad).all())
    ]
    shown = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
    if scale is not None:
        return (
            f"the loss is finite but the gradient of {shown} is not, though fp16's factor of the loss has "
            f"fallen to {scale:.2g}; choose bf16 or float32"
        )
    return f"the loss is finite but the gradient of {shown} is not; lower the learning rate"


def save_batch(
    folder: Path, images: Tensor, labels: Tensor, ids: Sequence[str], facts: dict[str, Any]
) -> Path:
    """Save a batch: images and labels as tensors, ids and facts as JSON; returns the folder."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    tensors = {"images": images.detach().cpu().contiguous(), "labels": labels.detach().cpu().contiguous()}
    save_file(tensors, place / "batch.safetensors")
    text = json.dumps({**facts, "ids": list(ids), "labels": labels.tolist()}, indent=1, ensure_ascii=False)
    (place / "batch.json").write_text(text, encoding="utf-8")
    return place


def _first_broken_layer(network: nn.Module, images: Tensor, labels: Tensor) -> str:
    broken: list[str] = []
    handles = [
        module.register_forward_hook(_watch(name, broken))
        for name, module in network.named_modules()
        if name and not list(module.children())
    ]
    try:
        network(images, labels)
    finally:
        for handle in handles:
            handle.remove()
    return broken[0] if broken else ""


def _watch(name: str, broken: list[str]) -> Any:
    def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if not broken and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            broken.append(name)

    return look
