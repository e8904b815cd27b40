"""dirtorch: {"model_options", "state_dict", "pca"} of naver/deep-image-retrieval, for AP-GeM.

[Revaud et al. 2019, arXiv:1906.07589]. Checked against that repository at commit 610247f: `ResNet_RMAC`, and
`whiten_features` with the power 0.25 that its README says.
"""

from collections.abc import Mapping

import numpy as np
from torch import nn

from meisho.extractors.published.base import (
    AS_THEY_ARE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    FinalWhitening,
    Published,
    PublishedFile,
    triple,
)
from meisho.extractors.published.parts import L2Norm, channels_of, find_linear, find_number, name_resnet
from meisho.extractors.stand_ins import plain_array

_AUTHORS = {**AS_THEY_ARE, "interpolation": "bilinear"}
_POOLINGS = {"gem": "gem", "max": "max", "avg": "avg"}
_POWER = 0.25
_USED = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.", "fc.", "adpool.")


def convert(file: PublishedFile) -> Published | None:
    """Take a ResNet of dirtorch, with its linear layer and the whitenings beside it."""
    model = file.content.get("model_options")
    if not isinstance(model, Mapping) or "arch" not in model or "conv1.weight" not in file.state:
        return None
    _refuse_what_is_not_built(file, model)
    weights = {
        k: v for k, v in file.state.items() if k.startswith(_USED) and not k.startswith(("fc.", "adpool."))
    }
    backbone = name_resnet(weights, file.path)
    pooling = _POOLINGS[str(model.get("pooling", "gem"))]
    before: list[nn.Module] = [L2Norm()] if model.get("norm_features") else []
    dense = (
        [] if model.get("without_fc") else [find_linear(file.state, "fc", channels_of(backbone), file.path)]
    )
    head = nn.Sequential(*before, *dense)
    dim = dense[0].out_features if dense else channels_of(backbone)
    given = {"p": find_number(file.state, "adpool.p", file.path)} if pooling == "gem" else {}
    preprocess = file.content.get("preprocess")
    facts: Mapping[object, object] = preprocess if isinstance(preprocess, Mapping) else {}
    return Published(
        backbone,
        weights,
        options={**_AUTHORS, "pooling": pooling, **given},
        head=head if len(head) else None,
        whitenings=_whitenings(file, dim),
        left_out=tuple(key for key in file.state if not key.startswith(_USED)),
        mean=triple(facts.get("mean"), IMAGENET_MEAN),
        std=triple(facts.get("std"), IMAGENET_STD),
    )


def _refuse_what_is_not_built(file: PublishedFile, model: Mapping[object, object]) -> None:
    arch, pooling = str(model["arch"]), str(model.get("pooling", "gem"))
    if not arch.endswith("_rmac") or "fpn" in arch:
        raise file.refuse(f"its network {arch!r:.60} is not built; resnet18_rmac to resnet152_rmac are")
    if pooling not in _POOLINGS or model.get("center_bias"):
        raise file.refuse(f"its pooling {pooling!r:.60}, or a bias towards the centre, is not built")


def _whitenings(file: PublishedFile, dim: int) -> dict[str, tuple[FinalWhitening, FinalWhitening]]:
    held = file.content.get("pca")
    if not isinstance(held, Mapping):
        return {}
    found = {str(name): _whitening(file, str(name), pca, dim) for name, pca in held.items()}
    first = [name for name in ("Landmarks_clean",) if name in found]  # the authors' default
    return {name: (found[name], found[name]) for name in [*first, *(n for n in found if n not in first)]}


def _whitening(file: PublishedFile, name: str, pca: object, dim: int) -> FinalWhitening:
    """Turn scikit-learn's PCA into a whitening: components / variance^0.25."""
    mean, components, variance = (
        plain_array(getattr(pca, f"{part}_", None)) for part in ("mean", "components", "explained_variance")
    )
    if mean is None or components is None or variance is None or mean.shape != (dim,):
        raise file.refuse(f"its PCA {name!r:.60} has no mean, components and variances of {dim} dimensions")
    if components.shape != (len(variance), dim) or not (variance > 0).all():
        raise file.refuse(f"the components of its PCA {name!r:.60} and their variances do not fit")
    scale = np.power(variance, -_POWER) if getattr(pca, "whiten", False) else np.ones_like(variance)
    return FinalWhitening(mean, components * scale[:, None])
