"""Pooling: a feature map or a row of tokens -> one vector per image."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

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
        powers = features.float().clamp(min=GEM_EPS).pow(self.p)  # float16 would overflow at 65504^(1/p)
        return powers.mean(dim=(-2, -1)).pow(1 / self.p)

    def extra_repr(self) -> str:
        """Show the power when the module is printed."""
        return f"p={float(self.p):g}, learned={isinstance(self.p, nn.Parameter)}"


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
    "avg": lambda _p: AveragePooling(),
    "max": lambda _p: MaxPooling(),
    "cls": lambda _p: ClassToken(),
}
"""Name of a pooling -> what makes it, given GeM's power."""
