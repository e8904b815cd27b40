"""Networks on pycls' ResNet: CVNet and its use by SuperGlobal, and DELG in PyTorch.

All are fed with blue, green, red; here the first convolution is turned round instead. Checked against
sungonce/CVNet at commit 5f5bf24 (`CVNet_Rerank.extract_global_descriptor`), ShihaoShao-GH/SuperGlobal at
commit 8694696 (the same, with its pooling) and feymanpriv/DELG at commit 3557169 (`Delg.globalmodel`).
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from meisho.extractors.published.base import AS_THEY_ARE, Published, PublishedFile, under
from meisho.extractors.published.parts import L2Norm, find_linear, find_number, name_resnet
from meisho.extractors.published.rescaling import by_area_or_line, to_rounded_sides
from meisho.extractors.weights import StateDict

CHANNELS = 2048
RELU_FLOOR = 0.014
"""SuperGlobal's "ReLUP": activations of its first stages are not less than this."""

_SCALES = (0.7071, 1.0, 1.4142)
_AUTHORS = {**AS_THEY_ARE, "interpolation": "bilinear"}
_BLOCK = re.compile(r"s(\d)\.b(\d+)\.(.+)")
_BLOCK_PARTS = {
    **{"proj": "downsample.0", "bn": "downsample.1"},
    **{f"f.{letter}": f"conv{number}" for number, letter in enumerate("abc", 1)},
    **{f"f.{letter}_bn": f"bn{number}" for number, letter in enumerate("abc", 1)},
}
_STEM = {"stem.conv": "conv1", "stem.bn": "bn1"}


def convert_cvnet(file: PublishedFile) -> Published | None:
    """Take CVNet's global network; what it reranks with is left out."""
    prefix = "encoder_q." if "encoder_q.stem.conv.weight" in file.state else ""
    return _convert(file, prefix, rescale=by_area_or_line)


def convert_delg(file: PublishedFile) -> Published | None:
    """Take DELG's global network; its local features and its classifiers are left out."""
    return _convert(file, "globalmodel.", rescale=to_rounded_sides)


def convert_superglobal(file: PublishedFile) -> Published | None:
    """Take CVNet's file as SuperGlobal uses it.

    Its images come to other scales by torchvision's `resize` of a tensor, which is bilinear and, before its
    version 0.17, without smoothing, like ours: no `rescale` is needed.
    """
    plain = convert_cvnet(file)
    if plain is None or plain.head is None:
        return None
    return Published(
        plain.backbone,
        plain.weights,
        options={**_AUTHORS, "pooling": "superglobal", "p": 4.6, "scales": _SCALES},
        trim=_raise_floor,
        head=nn.Sequential(L2Norm(), plain.head),
        left_out=plain.left_out,
    )


def _convert(
    file: PublishedFile, prefix: str, rescale: Callable[[Tensor, float], Tensor]
) -> Published | None:
    state = under(prefix, file.state)
    if not {"stem.conv.weight", "head.fc.weight"} <= state.keys():
        return None
    weights = name_pycls(state)
    return Published(
        name_resnet(weights, file.path),
        weights,
        options={**_AUTHORS, "scales": _SCALES, "p": find_number(state, "head.pool.p", file.path)},
        head=find_linear(state, "head.fc", CHANNELS, file.path),
        rescale=rescale,
        left_out=(
            *(key for key in file.state if not key.startswith(prefix)),
            *(
                f"{prefix}{key}"
                for key in state
                if not key.startswith(("stem.", "s1.", "s2.", "s3.", "s4.", "head."))
            ),
        ),
    )


def name_pycls(state: StateDict) -> StateDict:
    """Bring the names of pycls' ResNet, "s1.b1.f.a.weight", to torchvision's; the first layer takes RGB."""
    named = {}
    for key, value in state.items():
        place, _, last = key.rpartition(".")
        if place in _STEM:
            named[f"{_STEM[place]}.{last}"] = (
                value.flip(1) if key == "stem.conv.weight" and value.ndim == 4 else value
            )
        elif match := _BLOCK.fullmatch(place):
            stage, block, part = match.groups()
            named[f"layer{stage}.{int(block) - 1}.{_BLOCK_PARTS.get(part, part)}.{last}"] = value
    return named


class FlooredReLU(nn.Module):
    """An activation that is at least `RELU_FLOOR`."""

    def forward(self, values: Tensor) -> Tensor:
        """Take values of any shape."""
        return torch.clamp(values, min=RELU_FLOOR)


def _raise_floor(backbone: nn.Module) -> None:
    """Replace the activations that SuperGlobal's code replaces."""
    for number, names in ((1, ("act1", "act2", "act3")), (2, ("act3",)), (3, ("act3",))):
        for block in getattr(backbone, f"layer{number}"):
            for name in names:
                setattr(block, name, FlooredReLU())
