"""Losses on pairs: descriptors of one landmark come near each other, those of others go away.

A loss looks at tuples of rows: an anchor, a positive and some negatives, mined in the batch
(`mine_in_batch`, `PairLoss`) or in a pool of descriptors computed beforehand (`mine_negatives`). Distances
are Euclidean, between L2-normalised descriptors: 0 to 2.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.tables import require_name, require_options

NO_ROW = -1
"""Stands in `Tuples.negatives` where there are fewer negatives than were asked for."""

_LEAST_SQUARE = 1e-12  # where two descriptors are equal, the distance's slope is infinite


@dataclass(frozen=True, eq=False)
class Tuples:
    """Rows of descriptors that belong together, and some that do not.

    Attributes:
        anchors: (T,) int64.
        positives: (T,) int64: another photo of the anchor's landmark.
        negatives: (T, M) int64: photos of other landmarks, hardest first, or `NO_ROW`.
    """

    anchors: Tensor
    positives: Tensor
    negatives: Tensor

    def __post_init__(self) -> None:
        if self.anchors.shape != self.positives.shape or self.negatives.shape[:1] != self.anchors.shape:
            raise ValueError("tuples: anchors (T,), positives (T,) and negatives (T, M) do not fit")


def contrastive_loss(descriptors: Tensor, tuples: Tuples, *, margin: float = 0.7) -> Tensor:
    """Return the mean over tuples of ½ d², and ½ max(0, margin - d)² summed over the negatives.

    Source: Radenović et al. 2018, arXiv:1711.02512. Without tuples it is 0.

    Args:
        descriptors: (N, D) of any length.
        tuples: Rows of them.
        margin: τ, a distance.
    """
    to_positives, to_negatives = _distances(descriptors, tuples)
    near = functional.relu(margin - to_negatives).square().sum(dim=1)
    return 0.5 * _mean(to_positives.square() + near)


def triplet_loss(descriptors: Tensor, tuples: Tuples, *, margin: float = 0.1, soft: bool = False) -> Tensor:
    """Return the mean over pairs of positive and negative of max(0, d_positive - d_negative + margin).

    Source: Hermans et al. 2017, arXiv:1703.07737: distances are not squared. Without tuples it is 0.

    Args:
        descriptors: (N, D) of any length.
        tuples: Rows of them.
        margin: A distance.
        soft: Whether log(1 + exp(d_positive - d_negative)) takes the place of the maximum; no margin then.
    """
    to_positives, to_negatives = _distances(descriptors, tuples)
    differences = (to_positives[:, None] - to_negatives)[tuples.negatives != NO_ROW]
    return _mean(functional.softplus(differences) if soft else functional.relu(differences + margin))


PAIR_LOSSES: dict[str, Callable[..., Tensor]] = {"contrastive": contrastive_loss, "triplet": triplet_loss}
"""Name of a loss -> the loss of descriptors and tuples."""


class PairLoss(nn.Module):
    """A loss on the pairs of a batch, mined in it.

    Args:
        name: One of `PAIR_LOSSES`.
        num_negatives: M of each anchor, the nearest ones.
        positives: "all" takes every positive of an anchor, "hardest" the farthest one.
        **options: Options of the loss: margin, soft.

    Raises:
        ConfigError: There is no such loss or option.
        ValueError: A value is out of its range.
    """

    def __init__(
        self,
        name: str,
        *,
        num_negatives: int = 1,
        positives: Literal["all", "hardest"] = "hardest",
        **options: object,
    ) -> None:
        super().__init__()
        require_name(name, PAIR_LOSSES, what="pair loss")
        known = list(inspect.signature(PAIR_LOSSES[name]).parameters)[2:]
        require_options(options, ["num_negatives", "positives", *known], of=f"pair loss {name!r}")
        if positives not in ("all", "hardest") or num_negatives < 1:
            raise ValueError("positives must be 'all' or 'hardest', and num_negatives at least 1")
        self.name, self.num_negatives, self.options = name, num_negatives, options
        self.positives: Literal["all", "hardest"] = positives

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Return the float32 loss of (B, D) descriptors of any length and their (B,) labels."""
        with torch.autocast(descriptors.device.type, enabled=False):
            descriptors = descriptors.float()
            tuples = mine_in_batch(
                descriptors, labels, num_negatives=self.num_negatives, positives=self.positives
            )
            return PAIR_LOSSES[self.name](descriptors, tuples, **self.options)


@torch.no_grad()
def mine_in_batch(
    descriptors: Tensor,
    labels: Tensor,
    *,
    num_negatives: int = 1,
    positives: Literal["all", "hardest"] = "hardest",
) -> Tuples:
    """Find tuples among (B, D) descriptors; every photo with a positive and a negative is an anchor.

    Args:
        descriptors: (B, D) of any length.
        labels: (B,).
        num_negatives: M, the nearest ones; fewer where the batch has fewer.
        positives: "all": a tuple for each positive of an anchor; "hardest": one for the farthest.
    """
    directions = functional.normalize(descriptors.float(), dim=1)
    cosines = directions @ directions.T
    same = labels[:, None] == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    is_anchor = others.any(dim=1) & ~same.all(dim=1)
    negatives = _nearest_rows(cosines.masked_fill(same, -math.inf), num_negatives)
    if positives == "all":
        anchors, partners = torch.nonzero(others & is_anchor[:, None], as_tuple=True)
    else:
        anchors = torch.nonzero(is_anchor)[:, 0]
        partners = cosines.masked_fill(~others, math.inf)[anchors].argmin(dim=1)
    return Tuples(anchors, partners, negatives[anchors])


@torch.no_grad()
def mine_negatives(
    anchors: Tensor,
    anchor_labels: Tensor,
    pool: Tensor,
    pool_labels: Tensor,
    *,
    num_negatives: int = 5,
    one_per_label: bool = True,
    chunk: int = 256,
) -> Tensor:
    """Find the nearest photos of other landmarks in a pool: (Q, M) int64 rows of the pool, nearest first.

    Args:
        anchors: (Q, D) of any length.
        anchor_labels: (Q,).
        pool: (P, D) of any length.
        pool_labels: (P,).
        num_negatives: M; where the pool has fewer, the rest is `NO_ROW`.
        one_per_label: Whether a landmark gives at most one negative of an anchor: they differ more then
            [Radenović et al. 2018, arXiv:1711.02512, section 3.2].
        chunk: Anchors compared at a time.
    """
    directions = functional.normalize(pool.float(), dim=1)
    found = []
    for first in range(0, len(anchors), chunk):
        some = slice(first, first + chunk)
        cosines = functional.normalize(anchors[some].float(), dim=1) @ directions.T
        cosines = cosines.masked_fill(anchor_labels[some, None] == pool_labels, -math.inf)
        found.append(_nearest_rows(cosines, num_negatives, pool_labels if one_per_label else None))
    return torch.cat(found) if found else torch.empty((0, num_negatives), dtype=torch.int64)


def _nearest_rows(cosines: Tensor, count: int, labels: Tensor | None = None) -> Tensor:
    """Return (Q, count) rows of greatest (Q, P) cosines, one per label if given; `NO_ROW` for -∞."""
    ranked, rows = torch.sort(cosines, dim=1, descending=True, stable=True)
    usable = ranked > -math.inf
    if labels is not None:
        usable &= _is_first(labels[rows])
    order = torch.argsort(usable.to(torch.uint8), dim=1, descending=True, stable=True)[:, :count]
    nearest = rows.gather(1, order).masked_fill(~usable.gather(1, order), NO_ROW)
    return functional.pad(nearest, (0, count - nearest.shape[1]), value=NO_ROW)


def _is_first(values: Tensor) -> Tensor:
    """Return (Q, P) bool: whether no equal value stands before it in its row."""
    ordered, order = torch.sort(values, dim=1, stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(first).scatter_(1, order, first)


def _distances(descriptors: Tensor, tuples: Tuples) -> tuple[Tensor, Tensor]:
    """Return (T,) distances to the positives and (T, M) to the negatives, +∞ where there is none."""
    directions = functional.normalize(descriptors.float(), dim=1)
    anchors = directions[tuples.anchors]
    to_positives = _length(anchors - directions[tuples.positives])
    to_negatives = _length(anchors[:, None] - directions[tuples.negatives.clamp(min=0)])
    return to_positives, to_negatives.masked_fill(tuples.negatives == NO_ROW, math.inf)


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=-1).clamp(min=_LEAST_SQUARE).sqrt()


def _mean(losses: Tensor) -> Tensor:
    return losses.mean() if losses.numel() else losses.sum()  # 0, with a gradient of 0
