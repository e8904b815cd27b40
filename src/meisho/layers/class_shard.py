"""Classes spread over the ranks of a process group: who holds which, and what the ranks tell each other."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True, eq=False)
class Shard:
    """Which part of the classes this rank holds.

    Attributes:
        rank: Number of this process in the group.
        num_ranks: Processes in the group.
        group: The process group; None for the default one.
    """

    rank: int
    num_ranks: int
    group: dist.ProcessGroup | None = None

    def classes(self, num_classes: int) -> range:
        """Return the classes of this rank: as many as the others have, or one more or less."""
        return range(
            num_classes * self.rank // self.num_ranks, num_classes * (self.rank + 1) // self.num_ranks
        )


class GatherContext(FunctionCtx):
    """What the gradient of gathered rows needs: which rank this is, and how many rows it gave."""

    shard: Shard
    size: int


class GatherRows(torch.autograd.Function):
    """Stack the features of all ranks; backward sums over ranks, times their number (see `MarginHead`)."""

    @staticmethod
    def forward(ctx: GatherContext, features: Tensor, shard: Shard) -> Tensor:
        """Return the (B × ranks, D) features of all ranks, in order of rank."""
        ctx.shard, ctx.size = shard, len(features)
        return gather_rows(features, shard)

    @staticmethod
    @once_differentiable
    def backward(ctx: GatherContext, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of this rank's features."""
        total = sum_over_ranks(gradient, ctx.shard)
        start = ctx.shard.rank * ctx.size
        return total[start : start + ctx.size] * ctx.shard.num_ranks, None


def gather_parts(values: Tensor, shard: Shard) -> list[Tensor]:
    """Return what each rank gives, in order of rank; all of one shape."""
    parts = [torch.empty_like(values) for _ in range(shard.num_ranks)]
    dist.all_gather(parts, values.contiguous(), group=shard.group)
    return parts


def gather_rows(values: Tensor, shard: Shard) -> Tensor:
    """Return the rows of all ranks, in order of rank."""
    return torch.cat(gather_parts(values, shard))


def gather_classes(weight: Tensor, num_classes: int, shard: Shard) -> Tensor:
    """Stack the ranks' weights; padded by a row on the way where they hold one class less."""
    rows = -(-num_classes // shard.num_ranks)
    padded = weight.new_zeros((rows, *weight.shape[1:]))
    padded[: len(weight)] = weight
    sizes = [len(Shard(rank, shard.num_ranks).classes(num_classes)) for rank in range(shard.num_ranks)]
    return torch.cat([part[:size] for part, size in zip(gather_parts(padded, shard), sizes, strict=True)])


def sum_over_ranks(values: Tensor, shard: Shard) -> Tensor:
    """Return the sum of what the ranks give, the same on each."""
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=shard.group)
    return total


def answer_of_best(best: Tensor, answers: Tensor, shard: Shard) -> Tensor:
    """Return, of (B,) answers, those of the rank whose `best` is greatest."""
    rank = torch.stack(gather_parts(best, shard)).argmax(dim=0)
    return torch.stack(gather_parts(answers, shard)).gather(0, rank[None])[0]
