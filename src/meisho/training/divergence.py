"""Divergence: a loss or gradient that is not a number, where it came from, and the batch that met it.

Several processes share descriptors, batch norms and gradients: what is broken in one breaks the others too.
So all of them look for their fault, all save their part of the batch, and the earliest fault is told.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from meisho.files import write_text
from meisho.training.distribution import gather_values
from meisho.training.network import Losses

FOLDER = "diverged"

_IMAGES, _WEIGHTS = -2, -1


@dataclass(frozen=True)
class Fault:
    """The first value that is not finite.

    Attributes:
        depth: How far from the photos it came up: the least of all processes is the cause of the others.
        loss: The batch's loss.
        cause: What is wrong, in words, and what to do.
    """

    depth: int
    loss: float
    cause: str


class NotFiniteError(Exception):
    """A loss or a gradient is not a number; the loop saves the batch and says so. Never leaves `training`.

    Args:
        fault: What is known of it in this process.
        images: (b, 3, h, w) images of this process.
        labels: (b,) landmarks.
        ids: Their photos.
    """

    def __init__(self, fault: Fault, images: Tensor, labels: Tensor, ids: Sequence[str]) -> None:
        super().__init__(fault.cause)
        self.fault, self.images, self.labels, self.ids = fault, images, labels, ids


@torch.no_grad()
def explain_losses(
    network: nn.Module, images: Tensor, labels: Tensor, ids: Sequence[str], losses: Losses
) -> Fault:
    """Find where the first value that is not finite comes from: photos, weights, a layer, or a loss.

    The batch is computed once more, in the network's present mode, with every layer watched. All processes
    call it, also those whose loss is finite.
    """
    loss = float(losses.total.detach())
    depth, layer = _first_broken_layer(network, images, labels)  # before any return: it waits for the others
    finite = torch.isfinite(images.flatten(1)).all(dim=1).tolist()
    if not all(finite):
        photos = _shorten([i for i, is_finite in zip(ids, finite, strict=True) if not is_finite])
        cause = f"the images themselves are not finite ({photos}): augmentation is at fault"
        return Fault(_IMAGES, loss, cause)
    for name, value in network.named_parameters():
        if not bool(torch.isfinite(value).all()):
            cause = f"the weights {name!r} are not finite: the step before broke them; lower the rate"
            return Fault(_WEIGHTS, loss, cause)
    if layer:
        cause = (
            f"the layer {layer!r} gives values that are not finite from finite ones; with fp16 try bf16 or "
            "float32, else lower the learning rate or clip the gradient (optimiser.clip_norm)"
        )
        return Fault(depth, loss, cause)
    names = ("head", "pairs", "other", "total")
    broken = [n for n in names if not bool(torch.isfinite(getattr(losses, n)).all())]
    if not broken:
        return Fault(depth + 1, loss, "all is finite here")
    cause = f"the descriptors are finite but the loss {broken[0]!r} is not; look at its options"
    return Fault(depth, loss, cause)


def explain_gradients(network: nn.Module, loss: float, *, scale: float | None = None) -> Fault:
    """Find the parameters whose gradient is not finite; `scale` is fp16's factor of the loss.

    All processes call it; one may have none, where a head is spread over them.
    """
    broken = [
        name
        for name, p in network.named_parameters()
        if p.grad is not None and not bool(torch.isfinite(p.grad).all())
    ]
    remedy = "; lower the learning rate"
    if scale is not None:
        remedy = f", though fp16's factor of the loss has fallen to {scale:.2g}; choose bf16 or float32"
    cause = f"the loss is finite but the gradient of {_shorten(broken)} is not{remedy}"
    return Fault(0 if broken else 1, loss, cause)


def first_fault(fault: Fault) -> Fault:
    """Return the earliest of all processes' faults, and name the process if no other has one so early."""
    faults = gather_values(fault)
    first = min(faults, key=lambda one: one.depth)
    if len(faults) > 1 and [one.depth for one in faults].count(first.depth) == 1:
        return replace(first, cause=f"in process {faults.index(first)}, {first.cause}")
    return first


def save_batch(folder: Path, broken: NotFiniteError, facts: Mapping[str, object], *, rank: int = 0) -> Path:
    """Save a batch, or one process's part of it: images and labels as tensors, ids and facts as JSON.

    Args:
        folder: Folder of the run.
        broken: The batch.
        facts: What else is known, as JSON values.
        rank: Which process saves its part.

    Returns:
        The folder of the batch; batch.json and batch.safetensors are in it, and batch-1.json, … of the other
        processes.
    """
    name = "batch" if rank == 0 else f"batch-{rank}"
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    images, labels = (tensor.detach().cpu().contiguous() for tensor in (broken.images, broken.labels))
    tensors = {"images": images, "labels": labels}
    save_file(tensors, place / f"{name}.safetensors")
    text = json.dumps(
        {**facts, "ids": list(broken.ids), "labels": labels.tolist()}, indent=1, ensure_ascii=False
    )
    write_text(place / f"{name}.json", text)
    return place


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _first_broken_layer(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[int, str]:
    """Return how many layers give finite values before one does not, and its name; "" where all do."""
    layers: list[tuple[str, bool]] = []
    handles = [
        module.register_forward_hook(_watch(name, layers))
        for name, module in network.named_modules()
        if name and not list(module.children())
    ]
    try:
        network(images, labels)
    finally:
        for handle in handles:
            handle.remove()
    return next(((i, name) for i, (name, is_finite) in enumerate(layers) if not is_finite), (len(layers), ""))


def _watch(
    name: str, layers: list[tuple[str, bool]]
) -> Callable[[nn.Module, tuple[Tensor, ...], object], None]:
    def look(_module: nn.Module, _inputs: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):
            layers.append((name, bool(torch.isfinite(output).all())))

    return look
