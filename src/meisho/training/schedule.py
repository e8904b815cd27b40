"""Schedules: learning rate, input size and frozen layers as functions of the step or the epoch."""

import math
from collections.abc import Callable, Iterable, Sequence

from torch import nn

from meisho.errors import ConfigError
from meisho.tables import find_nearest
from meisho.training.recipe_tables import FreezeRecipe, SizeRecipe


def rate_factor(step: int, num_steps: int, *, warmup_steps: int = 0, end: float = 0.01) -> float:
    """Return what the peak rate is multiplied by at a step: linear warm-up, then half a cosine down to `end`.

    The first step of a warm-up of w steps has 1 / w, its last one 1; the last step of all has `end` exactly.

    Args:
        step: From 0; beyond the last step the factor stays `end`.
        num_steps: Steps of the whole training.
        warmup_steps: Steps until the peak is reached.
        end: The factor of the last step.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    first = max(warmup_steps - 1, 0)  # the step at which the cosine stands at its top
    progress = min((step - first) / max(num_steps - 1 - first, 1), 1.0)
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def size_at(epoch: int, sizes: Sequence[SizeRecipe]) -> int:
    """Return the input size of an epoch, px: that of the last entry which has begun."""
    return max((s for s in sizes if s.from_epoch <= epoch), key=lambda s: s.from_epoch).px


def frozen_names(epoch: int, freezes: Sequence[FreezeRecipe]) -> tuple[str, ...]:
    """Return the beginnings of the names of the parameters that are not trained in an epoch."""
    return tuple(
        name for f in freezes if f.from_epoch <= epoch < (f.until_epoch or math.inf) for name in f.names
    )


def freeze_parameters(module: nn.Module, beginnings: Iterable[str]) -> int:
    """Freeze the parameters whose names begin so and let the others train; returns how many are frozen."""
    beginnings = tuple(beginnings)
    frozen = 0
    for name, parameter in module.named_parameters():
        is_frozen = any(name == b or name.startswith(f"{b.rstrip('.')}.") for b in beginnings)
        parameter.requires_grad_(not is_frozen)
        if is_frozen:
            parameter.grad = None  # else the optimiser would go on with the last one
            frozen += 1
    return frozen


def unknown_names(module: nn.Module, beginnings: Iterable[str]) -> list[str]:
    """Return the beginnings that no parameter's name has: misspelt ones would freeze nothing, in silence."""
    names = [name for name, _ in module.named_parameters()]
    return [b for b in beginnings if not any(n == b or n.startswith(f"{b.rstrip('.')}.") for n in names)]


def nearest_name(name: str, parameters: Iterable[str]) -> str:
    """Say which beginning of the parameters' names may have been meant, and what the parts are."""
    parts = [parameter.split(".") for parameter in parameters]
    beginnings = {".".join(of[:i]) for of in parts for i in range(1, len(of) + 1)}
    near = sorted((b for b in beginnings if b.endswith(f".{name}")), key=len)
    near = near or find_nearest(name, beginnings, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}Parts are {', '.join(dict.fromkeys(of[0] for of in parts))}"


def check_freezes(
    network: nn.Module, freezes: Sequence[FreezeRecipe], parameter_name: Callable[[str], str]
) -> None:
    """Check that every name to freeze is one: a misspelt one would freeze nothing, in silence.

    Args:
        network: What is trained.
        freezes: What a recipe freezes.
        parameter_name: Turns a name as recipes have it into the beginning of a parameter's name.

    Raises:
        ConfigError: No parameter's name begins so; the message names the nearest that does.
    """
    for name in (name for freeze in freezes for name in freeze.names):
        if unknown_names(network, [parameter_name(name)]):
            names = [n for n, _ in network.named_parameters()]
            short = [n.partition(".")[2] for n in names]  # as recipes have it, where that is the same
            said = [s if parameter_name(s) == n else n for s, n in zip(short, names, strict=True)]
            raise ConfigError(
                f"schedule.freezes: no parameter's name begins with {name!r}; {nearest_name(name, said)}"
            )
