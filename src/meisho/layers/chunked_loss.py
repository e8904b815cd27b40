"""Cross-entropy over many classes, some thousand at a time: the matrix of logits is never held."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from meisho.layers.class_shard import Shard, gather_parts, sum_over_ranks
from meisho.layers.margins import Rule

_LEAST_NORM = 1e-6  # of a feature or a centre: shorter ones count as this long


@dataclass(frozen=True, eq=False)
class LogitTask:
    """What the loss of one batch is: all but features and weight.

    Attributes:
        labels: (B,) int64, counted from this rank's first class.
        rule: The margin's, for this batch.
        scale: Factor of the cosines.
        label_smoothing: As for `MarginHead`.
        num_classes: C, over all ranks.
        chunk_classes: Classes whose logits are held at a time.
        shard: This rank's part, if the classes are spread over ranks.
    """

    labels: Tensor
    rule: Rule
    scale: float
    label_smoothing: float
    num_classes: int
    chunk_classes: int
    shard: Shard | None

    def logits(self, directions: Tensor, centres: Tensor, first: int) -> Tensor:
        """Return (B, c) logits of the c classes from `first` on."""
        cosines = nearest_cosines(directions, centres)
        columns, own = self.own_columns(first, len(centres))
        hardened = self.rule.harden(cosines)
        widened = self.rule.widen(cosines.gather(1, columns))
        widened = torch.where(own, widened, hardened.gather(1, columns))
        return hardened.scatter(1, columns, widened) * self.scale

    def own_columns(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Return (B, 1) columns of the own classes in a chunk, and whether they are in it at all."""
        columns = (self.labels - first)[:, None]
        return columns.clamp(0, count - 1), (columns >= 0) & (columns < count)

    def summarise(self, directions: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return three (B,): log-sum-exp of the logits, their sum, and the own class's, over all ranks."""
        log_sum, sums, targets = self._summarise_here(directions, weight)
        if self.shard is None:
            return log_sum, sums, targets
        sums, targets = sum_over_ranks(torch.stack([sums, targets]), self.shard)
        return torch.stack(gather_parts(log_sum, self.shard)).logsumexp(dim=0), sums, targets

    def _summarise_here(self, directions: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_sums: list[Tensor] = []
        sums, targets = directions.new_zeros((2, len(directions)))
        for first, centres in split_classes(weight, self.chunk_classes):
            logits = self.logits(directions, centres, first)
            columns, own = self.own_columns(first, len(centres))
            targets += torch.where(own, logits.gather(1, columns), 0).squeeze(1)
            sums += logits.sum(dim=1)
            log_sums.append(logits.logsumexp(dim=1))
        return torch.stack(log_sums).logsumexp(dim=0), sums, targets

    def logit_gradients(self, logits: Tensor, log_sum: Tensor, first: int) -> Tensor:
        """Return (B, c) gradients of the summed loss: what the softmax gives less what it should give."""
        columns, own = self.own_columns(first, logits.shape[1])
        gradients = (logits - log_sum[:, None]).exp_()
        if self.label_smoothing:
            gradients -= self.label_smoothing / self.num_classes
        return gradients.scatter_add_(1, columns, -(1 - self.label_smoothing) * own.to(logits.dtype))


class _Context(FunctionCtx):
    task: LogitTask
    saved_tensors: tuple[Tensor, Tensor, Tensor]


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of a `LogitTask`; logits are computed twice, so that they need not be kept."""

    @staticmethod
    def forward(ctx: _Context, directions: Tensor, weight: Tensor, task: LogitTask) -> Tensor:
        """Return the mean loss of (B, D) unit features."""
        log_sum, sums, targets = task.summarise(directions, weight)
        ctx.save_for_backward(directions, weight, log_sum)
        ctx.task = task
        target_share = (1 - task.label_smoothing) * targets
        return (log_sum - target_share - task.label_smoothing / task.num_classes * sums).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of the features and of the weight."""
        directions, weight, log_sum = ctx.saved_tensors
        task = ctx.task
        factor = gradient / len(directions)
        of_directions, of_weight = torch.zeros_like(directions), torch.empty_like(weight)
        for first, centres in split_classes(weight, task.chunk_classes):
            with torch.enable_grad(), torch.autocast(directions.device.type, enabled=False):
                inputs = directions.detach().requires_grad_(), centres.detach().requires_grad_()
                logits = task.logits(*inputs, first)
            of_logits = task.logit_gradients(logits.detach(), log_sum, first).mul_(factor)
            of_inputs = torch.autograd.grad(logits, inputs, of_logits)
            of_directions += of_inputs[0]
            of_weight[first : first + len(centres)] = of_inputs[1]
        return of_directions, of_weight, None


def to_directions(vectors: Tensor) -> Tensor:
    """Return vectors (..., D) at length 1; a zero vector stays zero."""
    return functional.normalize(vectors, dim=-1, eps=_LEAST_NORM)


def nearest_cosines(directions: Tensor, centres: Tensor) -> Tensor:
    """Return (B, c) cosines of (B, D) unit features to the nearest of each class's K centres (c, K, D)."""
    cosines = directions @ to_directions(centres).flatten(0, 1).T
    return cosines if centres.shape[1] == 1 else cosines.view(-1, *centres.shape[:2]).max(dim=2).values


def split_classes(weight: Tensor, chunk_classes: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, rows) of consecutive parts."""
    for first in range(0, len(weight), chunk_classes):
        yield first, weight[first : first + chunk_classes]
