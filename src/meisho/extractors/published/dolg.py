"""DOLG: a global feature, and what of the local ones is orthogonal to it.

[Yang et al. 2021, arXiv:2108.02927]. Checked against feymanpriv/DOLG at commit 63b117d: `DOLG`, with
`MODEL.WITH_MA` and without.
"""

import types

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.extractors.published.base import AS_THEY_ARE, Published, PublishedFile, under
from meisho.extractors.published.parts import find_linear, find_number, name_resnet
from meisho.extractors.published.pycls import CHANNELS, name_pycls
from meisho.extractors.published.rescaling import to_rounded_sides
from meisho.extractors.weights import StateDict
from meisho.layers.pooling import GeM

_LOCAL_CHANNELS = 1024
_ASPP_CHANNELS = 512
_DILATIONS = (6, 12, 18)
_AUTHORS = {
    **AS_THEY_ARE,
    "interpolation": "bilinear",
    "scales": (0.3535, 0.5, 0.7071, 1.0, 1.4142),
}
_USED = ("globalmodel.", "localmodel.", "fc_t.", "fc.", "pool_g.")


def convert(file: PublishedFile) -> Published | None:
    """Take a DOLG; its classifier is left out."""
    if not {"globalmodel.stem.conv.weight", "fc_t.weight", "localmodel.conv1.weight"} <= file.state.keys():
        return None
    weights = name_pycls(under("globalmodel.", file.state))
    local = LocalBranch(with_aspp=any(key.startswith("localmodel.aspp.") for key in file.state))
    _load(local, under("localmodel.", file.state), file)
    pool = GeM(find_number(file.state, "pool_g.p", file.path))
    to_local = find_linear(file.state, "fc_t", CHANNELS, file.path)
    if to_local.out_features != _LOCAL_CHANNELS:
        raise file.refuse(f"fc_t gives {to_local.out_features} dimensions, not {_LOCAL_CHANNELS}")
    return Published(
        name_resnet(weights, file.path),
        weights,
        options=_AUTHORS,
        trim=_give_two_maps,
        pooling=OrthogonalFusion(local, pool, to_local),
        head=find_linear(file.state, "fc", 2 * _LOCAL_CHANNELS, file.path),
        rescale=to_rounded_sides,
        left_out=tuple(key for key in file.state if not key.startswith(_USED)),
    )


def _load(module: nn.Module, state: StateDict, file: PublishedFile) -> None:
    try:
        missing = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise file.refuse("the shapes of its local branch are not DOLG's") from error
    lost = [key for key in missing.missing_keys if not key.endswith("num_batches_tracked")]
    if lost or missing.unexpected_keys:
        named = ", ".join(f"{key:.60}" for key in (lost + missing.unexpected_keys)[:3])
        raise file.refuse(f"its local branch lacks or has beyond DOLG's: {named}")


def _give_two_maps(backbone: nn.Module) -> None:
    backbone.forward_features = types.MethodType(_two_maps, backbone)  # type: ignore[assignment]


def _two_maps(backbone: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maps of the last two stages of a ResNet."""
    stem = backbone.maxpool(backbone.act1(backbone.bn1(backbone.conv1(images))))  # type: ignore[operator]
    third = backbone.layer3(backbone.layer2(backbone.layer1(stem)))  # type: ignore[operator]
    return third, backbone.layer4(third)  # type: ignore[operator]


class OrthogonalFusion(nn.Module):
    """The global feature beside the mean of the local features without their part along it."""

    def __init__(self, local: nn.Module, pool: nn.Module, to_local: nn.Linear) -> None:
        super().__init__()
        self.local, self.pool, self.to_local = local, pool, to_local

    def forward(self, maps: tuple[Tensor, Tensor]) -> Tensor:
        """Take the maps of the last two stages -> (B, 2 C)."""
        third, fourth = maps
        whole = self.to_local(self.pool(fourth))
        mean = self.local(third).mean(
            dim=(-2, -1)
        )  # the projection is linear: that of the mean is the mean's
        along = (whole * mean).sum(dim=1, keepdim=True) / whole.pow(2).sum(dim=1, keepdim=True)
        return torch.cat([whole, mean - along * whole], dim=1)


class LocalBranch(nn.Module):
    """Local features weighed by an attention, after a pyramid of dilated convolutions or without one."""

    def __init__(self, *, with_aspp: bool) -> None:
        super().__init__()
        self.aspp = DilatedPyramid() if with_aspp else nn.Identity()
        self.conv1 = nn.Conv2d(_LOCAL_CHANNELS, _LOCAL_CHANNELS, 1)
        self.bn = nn.BatchNorm2d(_LOCAL_CHANNELS)
        self.conv2 = nn.Conv2d(_LOCAL_CHANNELS, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Take (B, C, H, W) -> the same shape."""
        mixed = self.bn(self.conv1(self.aspp(features)))
        attention = functional.softplus(self.conv2(mixed.relu()))
        return attention * functional.normalize(mixed, dim=1)


class DilatedPyramid(nn.Module):
    """ASPP: convolutions of several reaches, and the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        reaching = [
            nn.Conv2d(_LOCAL_CHANNELS, _ASPP_CHANNELS, 3, padding=reach, dilation=reach)
            for reach in _DILATIONS
        ]
        self.aspp = nn.ModuleList([nn.Conv2d(_LOCAL_CHANNELS, _ASPP_CHANNELS, 1), *reaching])
        mean = nn.Conv2d(_LOCAL_CHANNELS, _ASPP_CHANNELS, 1)
        self.im_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), mean, nn.ReLU())
        after = nn.Conv2d(_ASPP_CHANNELS * (len(self.aspp) + 1), _LOCAL_CHANNELS, 1)
        self.conv_after = nn.Sequential(after, nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """Take (B, C, H, W) -> the same shape."""
        whole = self.im_pool(features).expand(-1, -1, *features.shape[-2:])
        mixed: Tensor = self.conv_after(torch.cat([whole, *(layer(features) for layer in self.aspp)], dim=1))
        return mixed
