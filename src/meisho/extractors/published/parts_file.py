"""Plain parts: {"backbone", "p", "neck", "head"}, as nested dicts or as the state dict of one module.

Nobody's code stands behind this layout: it is what short training scripts save. `backbone` has the names of
torchvision or timm, `p` is GeM's power, `neck` is a linear layer, a batch norm or both, and `head` the
classifier, which is left out. A backbone that is no ResNet is named by one of `_NAMES`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from meisho.extractors.published.base import Published, PublishedFile, under
from meisho.extractors.published.parts import channels_of, find_linear, name_resnet
from meisho.extractors.stand_ins import plain_array
from meisho.extractors.weights import StateDict, is_weight

_NAMES = ("backbone_name", "arch", "architecture", "model_name")
_POWERS = ("p", "pool.p", "pooling.p", "gem.p")
_CLASSIFIERS = ("fc.", "classifier.", "head.fc.")


def convert(file: PublishedFile) -> Published | None:
    """Take a backbone in parts."""
    state = {**_flatten(file.content), **file.state}
    weights = under("backbone.", state)
    if not weights or not any(name in state for name in _POWERS):
        return None
    named = [file.content[name] for name in _NAMES if isinstance(file.content.get(name), str)]
    backbone = str(named[0]) if named else name_resnet(weights, file.path)
    power = next(name for name in _POWERS if name in state)
    neck, used = _neck(file, under("neck.", state), channels_of(backbone))
    classifier = [key for key in weights if key.startswith(_CLASSIFIERS)]
    return Published(
        backbone,
        {key: value for key, value in weights.items() if key not in classifier},
        options={"p": _number(file, state[power], power)},
        head=neck,
        left_out=(
            *(f"backbone.{key}" for key in classifier),
            *(k for k in state if not k.startswith("backbone.") and k != power and k not in used),
        ),
    )


def _flatten(content: Mapping[str, object], prefix: str = "") -> StateDict:
    """Return the tensors of nested dicts under dotted names; numbers become tensors."""
    found: StateDict = {}
    for key, value in content.items():
        if isinstance(value, dict) and all(isinstance(name, str) for name in value) and prefix.count(".") < 4:
            found |= _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, float | int) and not isinstance(value, bool) and not prefix:
            found[key] = torch.tensor(float(value))
        elif is_weight(key, value):
            found[f"{prefix}{key}"] = value  # type: ignore[assignment]  # it is a tensor
    return {key: value for key, value in found.items() if prefix or _is_part(key)}


def _is_part(key: str) -> bool:
    return key in _POWERS or key.startswith(("backbone.", "neck.", "head."))


def _number(file: PublishedFile, value: Tensor, name: str) -> float:
    array = plain_array(value)
    if array is None or array.size != 1:
        raise file.refuse(f"{name} should be one number, GeM's power")
    return float(array.reshape(-1)[0])


def _neck(file: PublishedFile, state: StateDict, dim: int) -> tuple[nn.Module | None, set[str]]:
    """Return the layers after the pooling in the order of their numbers, and the names of what they took."""
    layers: list[nn.Module] = []
    places = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    for place in sorted(places, key=lambda name: (len(name), name)):
        held = under(f"{place}." if place else "", state)
        if "running_mean" in held:
            layers.append(_batch_norm(file, held, dim))
        else:
            layers.append(find_linear(held, "", dim, file.path))
            dim = layers[-1].out_features  # type: ignore[assignment]  # of a linear layer
    return (nn.Sequential(*layers) if layers else None), {f"neck.{key}" for key in state}


def _batch_norm(file: PublishedFile, held: StateDict, dim: int) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(dim)
    held = {"weight": torch.ones(dim), "bias": torch.zeros(dim), **held}
    try:
        layer.load_state_dict(held, strict=False)
    except RuntimeError as error:
        raise file.refuse(f"the batch norm of its neck does not take {dim} dimensions") from error
    return layer
