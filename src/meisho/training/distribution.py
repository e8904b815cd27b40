"""Several processes that train together: rows of all of them in one batch, with gradients."""

import os
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from meisho.layers import class_shard
from meisho.layers.class_shard import GatherContext, Shard

T = TypeVar("T")


def is_first_process() -> bool:
    """Return whether this is the process that speaks and writes; known before the processes have met."""
    return int(os.environ.get("RANK", "0")) == 0


def this_shard() -> Shard | None:
    """Return which of the processes this is; None where it is alone, or one of a TPU, which do not gather."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return None
    return Shard(dist.get_rank(), dist.get_world_size())


def is_any_process(flag: Tensor) -> bool:
    """Return whether a flag, a bool scalar, is set in any of the processes; all of them call it."""
    shard = this_shard()
    return bool(flag if shard is None else class_shard.sum_over_ranks(flag.float(), shard))


def leave_together() -> None:
    """Leave the group of processes once all have come here.

    Gloo's threads abort a process that leaves while another still talks to it.
    """
    if this_shard() is not None:
        dist.barrier()
        dist.destroy_process_group()


def gather_values(value: T) -> list[T]:
    """Return what each process gives, in their order; all of them call it."""
    shard = this_shard()
    values = [value]
    if shard is not None:
        values *= shard.num_ranks
        dist.all_gather_object(values, value)
    return values


def gather_rows(rows: Tensor) -> Tensor:
    """Stack the (B, ...) rows of all processes, in their order, to (P B, ...); one process gets its own back.

    The gradient of a row is the sum over processes of what they say about it. When each computes the same
    loss on all rows, that is P times the gradient, and the mean over processes which DistributedDataParallel
    takes of the parameters' gradients makes it right again.
    """
    shard = this_shard()
    if shard is None:
        return rows
    if rows.is_floating_point():
        gathered: Tensor = _GatherRows.apply(rows, shard)
        return gathered
    return class_shard.gather_rows(rows, shard)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: GatherContext, rows: Tensor, shard: Shard) -> Tensor:
        ctx.shard, ctx.size = shard, len(rows)
        return class_shard.gather_rows(rows, shard)

    @staticmethod
    @once_differentiable
    def backward(ctx: GatherContext, gradient: Tensor) -> tuple[Tensor, None]:
        total = class_shard.sum_over_ranks(gradient, ctx.shard)
        start = ctx.shard.rank * ctx.size
        return total[start : start + ctx.size], None


@torch.no_grad()
def gradient_norm(replicated: Iterable[nn.Parameter], spread: Iterable[nn.Parameter] = ()) -> Tensor:
    """Return the L2 norm of the gradients of all processes' parameters, and of those spread."""
    square = _sum_of_squares(replicated)
    spread = list(spread)
    shard = this_shard()
    if spread and shard is not None:
        return (square + class_shard.sum_over_ranks(_sum_of_squares(spread), shard)).sqrt()
    return (square + _sum_of_squares(spread)).sqrt()


def _sum_of_squares(parameters: Iterable[nn.Parameter]) -> Tensor:
    parameters = list(parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=parameters[0].device if parameters else None)
    norms = torch._foreach_norm(gradients)
    return torch.stack([norm.float() for norm in norms]).square().sum()
