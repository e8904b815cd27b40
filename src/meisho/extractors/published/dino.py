"""DINOv2 of its first publisher, and the place recognisers on it: SALAD and MegaLoc.

timm resizes embeddings of positions as DINOv2 with registers does; for one without, they are resized here
with an offset of 0.1 and without averaging, as there. Checked against facebookresearch/dinov2 at commit
b8931f7 (`dinov2_vits14`, `dinov2_vits14_reg`), serizba/salad at commit e593005 (its `DINOv2` and `SALAD`)
and gmberton/MegaLoc at commit 1af071c (`MegaLoc`).
"""

import math
import types
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.extractors.published.base import Published, PublishedFile, under
from meisho.extractors.published.parts import L2Norm, find_linear
from meisho.extractors.weights import StateDict

_BACKBONES = {
    384: "vit_small_patch14_dinov2",
    768: "vit_base_patch14_dinov2",
    1024: "vit_large_patch14_dinov2",
}
_OFFSET = 0.1
_ROUNDS = 3
_PLACES = {"max_side_px": 322, "interpolation": "bilinear", "multiple_px": 14}
_UNUSED = "mask_token"
"""Stood for hidden patches in training, and never describes."""


def convert(file: PublishedFile) -> Published | None:
    """Take dinov2_vits14, vitb14 or vitl14, with registers or without; its class token describes."""
    if not {"cls_token", _UNUSED, "blocks.0.ls1.gamma"} <= file.state.keys():
        return None
    return _on_dinov2(file, "", options={"pooling": "cls", "max_side_px": 518, "multiple_px": 14})


def convert_salad(file: PublishedFile) -> Published | None:
    """Take DINOv2 with SALAD."""
    if not {"backbone.model.cls_token", "aggregator.dust_bin"} <= file.state.keys():
        return None
    pooling = _optimal_transport(file, under("aggregator.", file.state))
    return _on_dinov2(file, "backbone.model.", options=_PLACES, pooling=pooling)


def convert_megaloc(file: PublishedFile) -> Published | None:
    """Take MegaLoc: DINOv2 with SALAD and a linear layer."""
    if not {"backbone.cls_token", "aggregator.agg.dust_bin"} <= file.state.keys():
        return None
    pooling = _optimal_transport(file, under("aggregator.agg.", file.state))
    head = nn.Sequential(L2Norm(), find_linear(file.state, "aggregator.linear", pooling.dim, file.path))
    return _on_dinov2(file, "backbone.", options=_PLACES, pooling=pooling, head=head)


def _on_dinov2(
    file: PublishedFile,
    prefix: str,
    *,
    options: Mapping[str, object],
    pooling: nn.Module | None = None,
    head: nn.Module | None = None,
) -> Published:
    weights = {key: value for key, value in under(prefix, file.state).items() if key != _UNUSED}
    with_registers = "register_tokens" in weights
    used = (prefix, "aggregator.")
    others = tuple(key for key in file.state if not key.startswith(used))
    return Published(
        _name(file, weights).replace("patch14", "patch14_reg4" if with_registers else "patch14"),
        _name_registers(file, weights) if with_registers else weights,
        options=options,
        trim=None if with_registers else _resize_as_dinov2,
        pooling=pooling,
        head=head,
        left_out=(*others, *(key for key in file.state if key == prefix + _UNUSED)),
    )


def _name(file: PublishedFile, weights: StateDict) -> str:
    channels = weights["cls_token"].shape[-1]
    if channels not in _BACKBONES:
        raise file.refuse(
            f"a DINOv2 of {channels} channels is not built; {', '.join(map(str, _BACKBONES))} are"
        )
    return _BACKBONES[channels]


def _name_registers(file: PublishedFile, weights: StateDict) -> StateDict:
    """Bring the tokens to timm's names: there, positions are those of the patches alone."""
    positions, token = weights["pos_embed"], weights["cls_token"]
    if positions.ndim != 3 or positions[:, :1].shape != token.shape:
        raise file.refuse("its positions and its class token do not fit")
    moved = {"cls_token": token + positions[:, :1], "pos_embed": positions[:, 1:]}
    named = {("reg_token" if key == "register_tokens" else key): value for key, value in weights.items()}
    return {**named, **moved}


def _resize_as_dinov2(backbone: nn.Module) -> None:
    backbone._pos_embed = types.MethodType(_add_positions, backbone)  # type: ignore[assignment]


def _add_positions(backbone: nn.Module, patches: Tensor) -> Tensor:
    """Put the class token before (B, H, W, C) patches, and add the positions: (B, 1 + H W, C)."""
    count, height, width, channels = patches.shape
    token, positions = backbone.cls_token, backbone.pos_embed
    assert isinstance(token, Tensor) and isinstance(positions, Tensor)  # a vision transformer's
    tokens = torch.cat([token.expand(count, -1, -1), patches.reshape(count, -1, channels)], dim=1)
    return tokens + resize_positions(positions, height, width)


def resize_positions(positions: Tensor, height: int, width: int) -> Tensor:
    """Resize embeddings of positions (1, 1 + n n, C), the class token's first, to a grid."""
    side = math.isqrt(positions.shape[1] - 1)
    if height == width == side:
        return positions
    grid = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = ((height + _OFFSET) / side, (width + _OFFSET) / side)
    grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic")
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


class OptimalTransport(nn.Module):
    """SALAD: features shared out to clusters [Izquierdo and Civera 2024, arXiv:2311.15937].

    Attributes:
        dim: Dimensions of what it gives.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        channels, hidden = shapes["score.0.weight"][1], shapes["score.0.weight"][0]
        clusters, cluster_dim = shapes["score.3.weight"][0], shapes["cluster_features.3.weight"][0]
        token_dim = shapes["token_features.2.weight"][0]
        self.token_features = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, token_dim)
        )
        self.cluster_features = _two_layers(channels, hidden, cluster_dim)
        self.score = _two_layers(channels, hidden, clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))
        self.dim = token_dim + clusters * cluster_dim

    def forward(self, tokens: Tensor) -> Tensor:
        """Take (B, 1 + T, C) tokens, the class token first -> (B, token_dim + cluster_dim * clusters)."""
        places = tokens[:, 1:].transpose(1, 2).unsqueeze(-1)
        features = self.cluster_features(places).flatten(2)
        shares = transport(self.score(places).flatten(2), self.dust_bin)
        gathered = torch.einsum("bdt,bkt->bdk", features, shares)
        parts = [functional.normalize(self.token_features(tokens[:, 0]), dim=1)]
        parts.append(functional.normalize(gathered, dim=1).flatten(1))
        return torch.cat(parts, dim=1)


def _two_layers(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    first, last = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, outputs, 1)
    return nn.Sequential(first, nn.Identity(), nn.ReLU(), last)  # dropout where nothing is


def transport(scores: Tensor, dust_bin: Tensor) -> Tensor:
    """Share (B, K, T) places out to clusters, those of no use to a dust bin: three rounds of Sinkhorn.

    Returns:
        (B, K, T) shares; of a place they sum to at most 1.
    """
    count, clusters, places = scores.shape
    scores = torch.cat([scores, dust_bin.expand(count, 1, places)], dim=1)
    rows = scores.new_full((clusters + 1,), -math.log(places + clusters))
    rows[-1] += math.log(
        max(places - clusters, 1e-3)
    )  # the dust bin takes what the clusters have no room for
    columns = scores.new_full((places,), -math.log(places + clusters))
    u, v = torch.zeros_like(rows).expand(count, -1), torch.zeros_like(columns).expand(count, -1)
    for _ in range(_ROUNDS):
        u = rows - torch.logsumexp(scores + v.unsqueeze(1), dim=2)
        v = columns - torch.logsumexp(scores + u.unsqueeze(2), dim=1)
    plan = scores + u.unsqueeze(2) + v.unsqueeze(1) + math.log(places + clusters)
    return plan.exp()[:, :-1]


def _optimal_transport(file: PublishedFile, state: StateDict) -> OptimalTransport:
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    try:
        module = OptimalTransport(shapes)
        module.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise file.refuse("its aggregator is not SALAD's") from error
    return module
