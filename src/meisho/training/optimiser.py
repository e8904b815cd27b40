"""Optimisers: which parameters are decayed, and which learn at which rate."""

from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.optim import Optimizer

from meisho.training.recipe_tables import OptimiserRecipe

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)


def parameter_groups(
    backbone: nn.Module, head: nn.Module, recipe: OptimiserRecipe
) -> list[dict[str, object]]:
    """Sort parameters into up to four groups: backbone and head, with weight decay and without.

    Norms, biases, all other vectors and scalars (GeM's power, layer scales), and what timm's networks name
    themselves (class tokens, embeddings and biases of positions) are not decayed: pulling them towards 0
    regularises nothing and moves what the norms have found.

    Returns:
        Groups for a torch optimiser; "name" is "backbone", "backbone_plain", "head" or "head_plain", and
        "peak" the rate that the schedule multiplies.
    """
    groups: list[dict[str, object]] = []
    for part, module, rate in (
        ("backbone", backbone, recipe.backbone_rate),
        ("head", head, recipe.head_rate),
    ):
        decayed, plain = split_by_decay(module)
        for name, parameters, decay in ((part, decayed, recipe.weight_decay), (f"{part}_plain", plain, 0.0)):
            if parameters:
                groups.append(
                    {"name": name, "params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
                )
    return groups


def split_by_decay(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return (parameters to decay, parameters not to decay), each once, in the order of the module."""
    plain_ids = {id(p) for m in module.modules() if isinstance(m, NORMS) for p in m.parameters(recurse=False)}
    patterns: set[str] = getattr(module, "no_weight_decay", set)()  # some of timm's end in "*"
    plain_ids |= {
        id(p) for name, p in module.named_parameters() if any(fnmatchcase(name, x) for x in patterns)
    }
    parameters = list(module.parameters())
    decayed = [p for p in parameters if p.ndim > 1 and id(p) not in plain_ids]
    kept = {id(p) for p in decayed}
    return decayed, [p for p in parameters if id(p) not in kept]


def make_optimiser(groups: list[dict[str, object]], recipe: OptimiserRecipe) -> Optimizer:
    """Build the recipe's optimiser on parameter groups."""
    if recipe.name == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    kind = torch.optim.AdamW if recipe.name == "adamw" else torch.optim.Adam
    return kind(groups, betas=(recipe.momentum, recipe.second_momentum))


def set_rates(optimiser: Optimizer, factor: float) -> None:
    """Set each group's rate to its peak times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
