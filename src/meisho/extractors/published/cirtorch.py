"""cirtorch: {"meta", "state_dict"} of filipradenovic/cnnimageretrieval-pytorch [Radenović et al. 2018].

Checked against that repository at commit 1e66a41: `init_network`, `extract_ss`, `extract_ms`, `whitenapply`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from meisho.extractors.published.base import (
    AS_THEY_ARE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    FinalWhitening,
    Published,
    PublishedFile,
    triple,
    under,
)
from meisho.extractors.published.parts import (
    RESNET_CHILDREN,
    L2Norm,
    channels_of,
    find_linear,
    find_number,
    name_children,
)
from meisho.extractors.stand_ins import plain_array
from meisho.layers.pooling import GEM_EPS

_POOLINGS = {"mac": "max", "spoc": "avg", "gem": "gem"}
_VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")
_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")
_DENSENET_CHILDREN = {
    **{"0": "features.conv0", "1": "features.norm0", "11": "features.norm5"},
    **{str(2 + 2 * number): f"features.denseblock{number}" for number in range(1, 5)},
    **{str(3 + 2 * number): f"features.transition{number}" for number in range(1, 4)},
}
_AUTHORS = {**AS_THEY_ARE, "interpolation": "lanczos"}


class GeMPerChannel(nn.Module):
    """GeM with a power for each channel, "gemmp"."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.p = nn.Parameter(p)

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, H, W) -> (B, C) float32."""
        features = features.float().clamp(min=GEM_EPS)
        largest = features.amax(dim=(-2, -1), keepdim=True)  # as in `generalised_mean`
        means = (features / largest).pow(self.p[:, None, None]).mean(dim=(-2, -1))
        return means.pow(1 / self.p) * largest[..., 0, 0]


def convert(file: PublishedFile) -> Published | None:
    """Take a network of cirtorch: resnet, vgg or densenet, with its pooling and its whitenings."""
    meta = file.content.get("meta")
    if not isinstance(meta, Mapping) or "architecture" not in meta or "features.0.weight" not in file.state:
        return None
    backbone, pooling = str(meta["architecture"]), str(meta.get("pooling"))
    _refuse_what_is_not_built(file, meta, backbone, pooling)
    dim = channels_of(backbone)
    whiten = find_linear(file.state, "whiten", dim, file.path) if meta.get("whitening") else None
    learned = pooling == "gem"
    p = find_number(file.state, "pool.p", file.path) if learned else 3.0
    known = ("features.", "lwhiten.", "pool.", "whiten.")
    return Published(
        backbone,
        _name_features(backbone, under("features.", file.state)),
        options={**_AUTHORS, "pooling": _POOLINGS.get(pooling, "gem"), "p": p},
        mean=triple(meta.get("mean"), IMAGENET_MEAN),
        std=triple(meta.get("std"), IMAGENET_STD),
        trim=_drop_last_pooling if backbone in _VGGS else None,
        local=_local_whitening(file, dim) if meta.get("local_whitening") else None,
        pooling=GeMPerChannel(file.state["pool.p"].float()) if pooling == "gemmp" else None,
        head=nn.Sequential(L2Norm(), whiten) if whiten is not None else None,
        resizes_by_factor=True,
        scale_power=p if learned and whiten is None else 1.0,
        whitenings=_whitenings(file, meta, dim),
        left_out=tuple(key for key in file.state if not key.startswith(known)),
    )


def _refuse_what_is_not_built(
    file: PublishedFile, meta: Mapping[object, object], backbone: str, pooling: str
) -> None:
    if backbone not in (*_RESNETS, *_VGGS, *_DENSENETS):
        raise file.refuse(f"its architecture {backbone!r:.60} is not in timm; resnet, vgg and densenet are")
    if pooling not in (*_POOLINGS, "gemmp") or meta.get("regional"):
        kind = "regional" if meta.get("regional") else f"{pooling!r:.60}"
        raise file.refuse(f"its pooling is {kind}, which is not built; mac, spoc, gem and gemmp are")
    if pooling == "gemmp" and ("pool.p" not in file.state or file.state["pool.p"].ndim != 1):
        raise file.refuse("pool.p should have one number for each channel")


def _name_features(backbone: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if backbone in _RESNETS:
        return name_children(state, RESNET_CHILDREN)
    if backbone in _DENSENETS:
        return name_children(state, _DENSENET_CHILDREN)
    return {f"features.{key}": value for key, value in state.items()}


def _drop_last_pooling(backbone: nn.Module) -> None:
    backbone.features = backbone.features[:-1]  # type: ignore[index]
    backbone.pre_logits = nn.Identity()  # layers after the features


def _local_whitening(file: PublishedFile, dim: int) -> nn.Module:
    """Return the linear layer that the features of each place go through, as a convolution."""
    layer = find_linear(file.state, "lwhiten", dim, file.path)
    convolution = nn.Conv2d(dim, layer.out_features, 1)
    with torch.no_grad():
        convolution.weight.copy_(layer.weight[:, :, None, None])
        convolution.bias.copy_(layer.bias)  # type: ignore[union-attr]
    return convolution


def _whitenings(
    file: PublishedFile, meta: Mapping[object, object], dim: int
) -> dict[str, tuple[FinalWhitening, FinalWhitening]]:
    """Return `meta["Lw"]`: data set -> learned on one scale ("ss") and on several ("ms")."""
    held = meta.get("Lw")
    if not isinstance(held, Mapping):
        return {}
    found = {}
    for name in sorted(
        filter(_is_name, held), key=len, reverse=True
    ):  # retrieval-SfM-120k before retrieval-SfM-30k
        pair = held[name]
        if isinstance(pair, Mapping) and isinstance(pair.get("ss"), Mapping):
            found[name] = (_whitening(file, pair["ss"], dim), _whitening(file, pair.get("ms"), dim))
    return found


def _whitening(file: PublishedFile, held: object, dim: int) -> FinalWhitening:
    mean, projection = (plain_array(held.get(k)) if isinstance(held, Mapping) else None for k in ("m", "P"))
    if mean is None or projection is None or mean.size != dim or projection.shape != (dim, dim):
        raise file.refuse(f"a whitening in 'Lw' has no mean 'm' and projection 'P' of {dim} dimensions")
    return FinalWhitening(mean.reshape(-1), projection)


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isprintable()
