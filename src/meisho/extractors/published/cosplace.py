"""CosPlace and EigenPlaces: a Sequential backbone, GeM of L2-normalised features, a linear layer.

[Berton et al. 2022, arXiv:2204.02287; 2023, arXiv:2308.10832]. Checked against gmberton/CosPlace at commit
33ce8d0 and gmberton/EigenPlaces at commit a2969f7, whose networks are the same: `GeoLocalizationNet`.
"""

from torch import nn

from meisho.extractors.published.base import Published, PublishedFile, under
from meisho.extractors.published.parts import (
    RESNET_CHILDREN,
    L2Norm,
    channels_of,
    find_linear,
    find_number,
    name_children,
    name_resnet,
)
from meisho.extractors.weights import StateDict

_AUTHORS = {"max_side_px": 512, "interpolation": "bilinear"}


def convert(file: PublishedFile) -> Published | None:
    """Take a network of CosPlace or EigenPlaces on a ResNet or VGG-16."""
    if not {"aggregation.1.p", "aggregation.3.weight", "backbone.0.weight"} <= file.state.keys():
        return None
    numbered = under("backbone.", file.state)
    is_vgg = "2.weight" in numbered
    weights = _name_vgg(numbered) if is_vgg else name_children(numbered, RESNET_CHILDREN)
    backbone = "vgg16" if is_vgg else name_resnet(weights, file.path)
    return Published(
        backbone,
        weights,
        options={**_AUTHORS, "p": find_number(file.state, "aggregation.1.p", file.path)},
        trim=_drop_last_activation if is_vgg else None,
        local=L2Norm(),
        head=find_linear(file.state, "aggregation.3", channels_of(backbone), file.path),
        left_out=tuple(key for key in file.state if not key.startswith(("backbone.", "aggregation."))),
    )


def _name_vgg(state: StateDict) -> StateDict:
    return {f"features.{key}": value for key, value in state.items()}


def _drop_last_activation(backbone: nn.Module) -> None:
    backbone.features = backbone.features[:-2]  # type: ignore[index]
    backbone.pre_logits = nn.Identity()  # layers after the features
