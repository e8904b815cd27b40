"""Margins: how the cosines between photos and class centres become logits; training alone needs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch import distributed as dist

_LEAST_SINE_SQUARED = 1e-12  # at a class centre the sine's slope is infinite and the cosine's is 0


class Rule(Protocol):
    """How the cosines of one batch become logits, before they are scaled."""

    def widen(self, cosines: Tensor) -> Tensor:
        """Turn (B, 1) cosines to the own classes into logits."""

    def harden(self, cosines: Tensor) -> Tensor:
        """Turn (B, c) cosines to other classes into logits."""


class Margin(nn.Module):
    """What a head asks of a photo beyond being nearest to its own class; this one asks nothing."""

    def observe(self, target_cosines: Tensor) -> None:
        """Learn from the (B,) cosines of a training batch to its own classes, before `rule` is asked for."""

    def rule(self, labels: Tensor, target_cosines: Tensor) -> Rule:
        """Return the rule for one batch.

        Args:
            labels: (B,) int64 classes.
            target_cosines: (B,) cosines to the own classes, without gradient.
        """
        return _CosineRule(labels.new_zeros((len(labels), 1), dtype=torch.float32))


class CosMargin(Margin):
    """CosFace: the cosine to the own class counts less by a margin [Wang et al. 2018, arXiv:1801.09414].

    Args:
        margin: What is taken off the cosine.
    """

    def __init__(self, margin: float = 0.35) -> None:
        super().__init__()
        self.margin = float(margin)

    def rule(self, labels: Tensor, target_cosines: Tensor) -> Rule:
        """See `Margin.rule`."""
        return _CosineRule(torch.full((len(labels), 1), self.margin, device=labels.device))


class ArcMargin(Margin):
    """ArcFace: the angle to the own class counts more by a margin [Deng et al. 2019, arXiv:1801.07698].

    Where angle and margin pass 180°, the logit goes on falling as cos θ - m sin m, as in the official code.

    Args:
        margin_rad: What is added to the angle, rad; one for all classes, or one for each.
    """

    def __init__(self, margin_rad: float | Sequence[float] = 0.3) -> None:
        super().__init__()
        self.margins_rad: Tensor
        margins = torch.as_tensor(margin_rad, dtype=torch.float32)
        self.register_buffer("margins_rad", margins, persistent=False)

    def rule(self, labels: Tensor, target_cosines: Tensor) -> Rule:
        """See `Margin.rule`."""
        margins = self.margins_rad[labels] if self.margins_rad.ndim else self.margins_rad.expand(len(labels))
        return _ArcRule(margins[:, None])


class DynamicMargin(ArcMargin):
    """ArcFace with a greater margin for rarer classes: a n^-λ + b rad for a class of n photos.

    Source: Ha et al. 2020, arXiv:2010.05350, the third place of the Google Landmarks recognition of 2020.

    Args:
        class_sizes: n of each class, all at least 1.
        factor: a.
        power: λ.
        least_rad: b.

    Raises:
        ValueError: There are no sizes, or a class has no photo.
    """

    def __init__(
        self,
        class_sizes: Sequence[int] = (),
        factor: float = 0.5,
        power: float = 0.25,
        least_rad: float = 0.05,
    ) -> None:
        if min(class_sizes, default=0) < 1:
            raise ValueError("dynamic margins need the number of photos of each class, all at least 1")
        super().__init__([factor * size**-power + least_rad for size in class_sizes])


class CurricularMargin(Margin):
    """CurricularFace: ArcFace, with hard other classes weighing more as training goes on.

    A class is hard for a photo if its cosine is greater than that of the own class with its margin; it then
    counts as cos θ (t + cos θ), t being the moving mean of the cosines to the own classes. Source: Huang et
    al. 2020, arXiv:2004.00288.

    Args:
        margin_rad: What is added to the angle, rad.
        momentum: The share of t that a batch leaves as it was.
    """

    def __init__(self, margin_rad: float = 0.3, momentum: float = 0.99) -> None:
        super().__init__()
        self.margin_rad, self.momentum = float(margin_rad), float(momentum)
        self.t: Tensor
        self.register_buffer("t", torch.zeros(()))

    def observe(self, target_cosines: Tensor) -> None:
        """Move t, to the same value on all ranks."""
        self.t.lerp_(_mean_over_ranks(target_cosines.mean()), 1 - self.momentum)

    def rule(self, labels: Tensor, target_cosines: Tensor) -> Rule:
        """See `Margin.rule`."""
        margins = torch.full((len(labels), 1), self.margin_rad, device=labels.device)
        return _CurricularRule(margins, _add_angle(target_cosines[:, None], margins), self.t.clone())


@dataclass(frozen=True, eq=False)
class _CosineRule:
    margins: Tensor

    def widen(self, cosines: Tensor) -> Tensor:
        return cosines - self.margins

    def harden(self, cosines: Tensor) -> Tensor:
        return cosines


@dataclass(frozen=True, eq=False)
class _ArcRule:
    margins_rad: Tensor

    def widen(self, cosines: Tensor) -> Tensor:
        return _widen_angle(cosines, self.margins_rad)

    def harden(self, cosines: Tensor) -> Tensor:
        return cosines


@dataclass(frozen=True, eq=False)
class _CurricularRule:
    margins_rad: Tensor
    thresholds: Tensor
    t: Tensor

    def widen(self, cosines: Tensor) -> Tensor:
        return _widen_angle(cosines, self.margins_rad)

    def harden(self, cosines: Tensor) -> Tensor:
        return torch.where(cosines > self.thresholds, cosines * (self.t + cosines), cosines)


def _add_angle(cosines: Tensor, margins_rad: Tensor) -> Tensor:
    """Return cos(θ + margin), for any θ whose cosine is given."""
    sines = (1 - cosines.square()).clamp(min=_LEAST_SINE_SQUARED).sqrt()
    return cosines * margins_rad.cos() - sines * margins_rad.sin()


def _widen_angle(cosines: Tensor, margins_rad: Tensor) -> Tensor:
    """Return cos(θ + margin), and beyond 180° the line that goes on falling."""
    falling = cosines - margins_rad * margins_rad.sin()
    return torch.where(cosines > -margins_rad.cos(), _add_angle(cosines, margins_rad), falling)


def _mean_over_ranks(value: Tensor) -> Tensor:
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


MARGINS: dict[str, type[Margin]] = {
    "softmax": Margin,
    "arcface": ArcMargin,
    "cosface": CosMargin,
    "dynamic": DynamicMargin,
    "curricular": CurricularMargin,
}
"""Name of a margin -> its class. Sub-centre ArcFace is "arcface" in a head with `sub_centres`."""
