"""Parts of published networks: layers that several layouts share, and the names of their backbones."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.errors import WeightsError
from meisho.extractors.weights import StateDict

RESNET_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Place of a layer in `list(torchvision.models.resnet50().children())` -> its name."""

_RESNETS = {
    # blocks of each layer, and the shape of the second convolution: timm's name
    ((2, 2, 2, 2), (64, 64)): "resnet18",
    ((3, 4, 6, 3), (64, 64)): "resnet50",
    ((3, 4, 23, 3), (64, 64)): "resnet101",
    ((3, 8, 36, 3), (64, 64)): "resnet152",
    ((3, 4, 6, 3), (128, 4)): "resnext50_32x4d",
    ((3, 4, 23, 3), (128, 4)): "resnext101_32x4d",
    ((3, 4, 23, 3), (256, 8)): "resnext101_32x8d",
    ((3, 4, 6, 3), (128, 128)): "wide_resnet50_2",
    ((3, 4, 23, 3), (128, 128)): "wide_resnet101_2",
}


class L2Norm(nn.Module):
    """L2-normalise over the channels: of a vector, or at each place of a map."""

    def forward(self, values: Tensor) -> Tensor:
        """Take (B, C) or (B, C, H, W)."""
        return functional.normalize(values, dim=1)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Return a linear layer with these weights: (D', D) and (D',)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def find_linear(state: StateDict, name: str, inputs: int, path: Path) -> nn.Linear:
    """Return the linear layer `name` of a state dict, or with "" the one that it is all of.

    Raises:
        WeightsError: It is missing, or does not take that many inputs.
    """
    weight, bias = (state.get(f"{name}.{part}" if name else part) for part in ("weight", "bias"))
    fits = weight is not None and weight.ndim == 2 and weight.shape[1] == inputs
    if weight is None or not fits or (bias is not None and bias.shape != weight.shape[:1]):
        shape = "is missing" if weight is None else f"has the shape {tuple(weight.shape)}"
        raise WeightsError(
            f"{path}: the linear layer {name or 'after the pooling'} {shape}; {inputs} inputs come to it"
        )
    return linear(weight.float(), None if bias is None else bias.float())


def find_number(state: StateDict, name: str, path: Path) -> float:
    """Return the only number of a tensor.

    Raises:
        WeightsError: There is no such tensor, or it holds others.
    """
    value = state.get(name)
    if value is None or value.numel() != 1:
        raise WeightsError(f"{path}: {name} should be one number")
    return float(value)


def name_children(state: StateDict, names: dict[str, str]) -> StateDict:
    """Give the layers of a Sequential, "0.weight", the names that they have in a network, "conv1.weight"."""
    split = {key: key.partition(".") for key in state}
    return {f"{names.get(first, first)}.{rest}": state[key] for key, (first, _, rest) in split.items()}


def name_resnet(state: StateDict, path: Path) -> str:
    """Return timm's name of a ResNet of torchvision's names, by its shapes.

    Raises:
        WeightsError: It is none that is known.
    """
    blocks = tuple(
        len({key.split(".")[1] for key in state if key.startswith(f"layer{number}.")})
        for number in range(1, 5)
    )
    second = state.get("layer1.0.conv2.weight")
    shape = tuple(second.shape[:2]) if second is not None else ()
    name = _RESNETS.get((blocks, shape))  # type: ignore[arg-type]
    if name == "resnet50" and "layer1.0.conv3.weight" not in state:
        name = "resnet34"
    if name is None:
        raise WeightsError(f"{path}: is no ResNet that timm has (blocks {blocks}, convolution {shape})")
    return name


def channels_of(backbone: str) -> int:
    """Return the number of channels of the features of a backbone."""
    import timm

    with torch.device("meta"):
        return int(timm.create_model(backbone, num_classes=0).num_features)
