"""Pooling: a feature map or a row of tokens -> one vector per image."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

GEM_EPS = 1e-6
"""Features below this are raised to it before the power, so that it and its gradient stay finite."""


class GeM(nn.Module):
    """Generalised-mean pooling [Radenović et al. 2018, arXiv:1711.02512, eq. 2-3].

    p = 1 is average pooling (of features of at least `GEM_EPS`), p → ∞ is max pooling.

    Args:
        p: The power.
        learned: Whether `p` is a parameter that training may move.
    """

    def __init__(self, p: float = 3.0, *, learned: bool = False) -> None:
        super().__init__()
        self.p: Tensor  # no part of the state dict unless it is learned
        if learned:
            self.p = nn.Parameter(torch.tensor(float(p)))
        else:
            self.register_buffer("p", torch.tensor(float(p)), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, H, W) features of any float type -> (B, C) float32."""
        return generalised_mean(features.float().clamp(min=GEM_EPS), self.p)

    def extra_repr(self) -> str:
        """Show the power when the module is printed."""
        return f"p={float(self.p):g}, learned={isinstance(self.p, nn.Parameter)}"


def generalised_mean(features: Tensor, p: Tensor | float) -> Tensor:
    """Return the generalised mean over the places of positive float32 features: (B, C, H, W) -> (B, C).

    Each map is divided by its maximum first, or its powers would leave float32: 10^p above p = 38, and
    `GEM_EPS`^p above p = 7. With p → ∞ the mean goes to the maximum.
    """
    largest = features.detach().amax(dim=(-2, -1), keepdim=True)
    powers = (features / largest).pow(p)
    return powers.mean(dim=(-2, -1)).pow(1 / p) * largest[..., 0, 0]


class RegionalGeM(GeM):
    """GeM over a map whose places have taken up what lies around them [Shao et al. 2023, arXiv:2308.06954].

    SuperGlobal's "regional GeM" and then its "GeM+", which is GeM with a power found for the network (4.6 for
    its authors'). Checked against golden values of the official code (`rgem`, `gemp`).
    """

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, H, W) features of any float type -> (B, C) float32."""
        return super().forward(mix_regions(features.float()))


def mix_regions(features: Tensor, *, p: float = 2.5, size: int = 5) -> Tensor:
    """Return the mean of a map (B, C, H, W) and of the generalised means of the windows around its places.

    Args:
        features: Values below `GEM_EPS` are raised to it.
        p: The power of the mean; 2.5 as in SuperGlobal's code.
        size: Side of the window, odd; 5 as there. The map is reflected beyond its edge, and where it is too
            small for that its edge is repeated.
    """
    features = features.clamp(min=GEM_EPS)
    margin = size // 2
    mode = "reflect" if min(features.shape[-2:]) > margin else "replicate"
    padded = functional.pad(features, (margin,) * 4, mode=mode)
    regions = functional.avg_pool2d(padded.pow(p), size, stride=1).pow(1 / p)
    return (features + regions) / 2


def pool_scales(descriptors: Tensor, p: float = 1.0) -> Tensor:
    """Pool the descriptors of one image at several scales: (S, B, D) -> (B, D).

    The mean for p = 1; for p = ∞ the maximum, which is SuperGlobal's "scale GeM" as its code has it; between
    them the generalised mean above each image's smallest value.
    """
    if math.isinf(p):
        return descriptors.amax(dim=0)
    if p == 1:
        return descriptors.mean(dim=0)
    smallest = descriptors.amin(dim=(0, 2)).unsqueeze(-1)
    above = descriptors - smallest
    largest = above.amax(dim=0).clamp(min=GEM_EPS)  # the powers stay within float32
    return (above / largest).pow(p).mean(dim=0).pow(1 / p) * largest + smallest


class AveragePooling(nn.Module):
    """Mean over places ("SPoC" in the field's words)."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, H, W) -> (B, C) float32."""
        return features.float().mean(dim=(-2, -1))


class MaxPooling(nn.Module):
    """Maximum over places ("MAC" in the field's words)."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, H, W) -> (B, C) float32."""
        return features.float().amax(dim=(-2, -1))


class ClassToken(nn.Module):
    """The first token of a vision transformer."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Take (B, T, C) tokens, the class token first -> (B, C) float32."""
        return tokens[:, 0].float()


POOLINGS: dict[str, Callable[[float], nn.Module]] = {
    "gem": GeM,
    "regional-gem": RegionalGeM,
    "scale-gem": GeM,
    "superglobal": RegionalGeM,
    "avg": lambda _p: AveragePooling(),
    "max": lambda _p: MaxPooling(),
    "cls": lambda _p: ClassToken(),
}
"""Name of a pooling -> what makes it, given GeM's power."""
