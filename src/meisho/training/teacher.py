"""Teachers: what gives the descriptors that a network learns from, besides labels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from meisho.errors import ConfigError, InputError
from meisho.extractors.backbone import BackboneTraits
from meisho.extractors.base import load_extractor
from meisho.extractors.timm_gem import to_torch
from meisho.training.network import TrainingNetwork

Teacher = Callable[[Tensor], Tensor]
"""(B, 3, H, W) images normalised for the student -> (B, D) descriptors, without gradient."""


def load_teacher(model: str, traits: BackboneTraits, device: torch.device) -> Teacher:
    """Load a model as teacher.

    Args:
        model: A model as `meisho index --model` takes it.
        traits: The student's: the images are normalised for it.
        device: Where to compute.

    Raises:
        ConfigError: The model is no network of this project.
        InputError: No such model.
        WeightsError: Its weights cannot be had or do not fit.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    extractor = load_extractor(model, device=kind)
    try:
        teacher = to_torch(extractor, device=kind)
    except InputError as error:
        raise ConfigError(
            f"distillation.teacher={model!r}: is no timm model or checkpoint; choose one"
        ) from error
    network = teacher.network.to(device).requires_grad_(False)
    theirs = network.traits
    gain, bias = _renormalisation(traits, theirs, device)

    @torch.no_grad()
    def describe(images: Tensor) -> Tensor:
        described: Tensor = network(images * gain + bias).float()
        return described

    return describe


def follow_average(network: nn.Module) -> Teacher:
    """Take the moving average of the student as its teacher."""
    assert isinstance(network, TrainingNetwork)

    @torch.no_grad()
    def describe(images: Tensor) -> Tensor:
        return network.describe(images)

    return describe


def _renormalisation(
    own: BackboneTraits, theirs: BackboneTraits, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return gain and bias, (1, 3, 1, 1), that turn images normalised for one network into the other's."""
    mean, std, other_mean, other_std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (own.mean, own.std, theirs.mean, theirs.std)
    )
    return std / other_std, (mean - other_mean) / other_std
