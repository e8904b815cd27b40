"""The network that is trained: descriptor network, batch norm, losses; and what it leaves for extraction."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.errors import ConfigError
from meisho.extractors.network import DescriptorNetwork, build_network
from meisho.layers.margin_heads import MarginHead
from meisho.layers.pooling import GeM
from meisho.training.distribution import gather_rows
from meisho.training.recipe_tables import ModelRecipe


@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of one batch, float32 scalars; those that a recipe does not have are 0.

    Attributes:
        total: What is minimised: the weighted sum.
        head: Loss of the margin head, or of DELG's classifier.
        pairs: Loss on pairs of the batch.
        other: Loss against the teacher, or of DELG's autoencoder.
    """

    total: Tensor
    head: Tensor
    pairs: Tensor
    other: Tensor

    def values(self) -> Tensor:
        """Return the four as one (4,) tensor without gradient."""
        return torch.stack([getattr(self, f.name).detach().float() for f in fields(self)])


TeacherLoss = Callable[[Tensor, Tensor], Tensor]
"""(B, D) descriptors and a teacher's (B, D') -> scalar."""


@dataclass(frozen=True)
class LossWeights:
    """What each loss is multiplied by."""

    head: float = 1.0
    pairs: float = 1.0
    distillation: float = 1.0


class TrainingNetwork(nn.Module):
    """Descriptor network and batch norm, with the losses on what they give.

    With several processes the descriptors of all of them are gathered first: batch norm and losses see the
    whole batch, as one process would.

    Args:
        descriptor: Backbone, pooling, projection.
        batch_norm: Whether a batch norm follows the projection.
        head: A margin head, or None.
        pair_loss: A loss on pairs, or None.
        distillation_loss: A loss between descriptors and a teacher's, or None.
        weights: What the losses are multiplied by.
    """

    def __init__(
        self,
        descriptor: DescriptorNetwork,
        *,
        batch_norm: bool = False,
        head: MarginHead | None = None,
        pair_loss: nn.Module | None = None,
        distillation_loss: TeacherLoss | None = None,
        weights: LossWeights | None = None,
    ) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.neck = nn.BatchNorm1d(descriptor.dim) if batch_norm else nn.Identity()
        self.head = head
        self.pair_loss = pair_loss
        self._distillation_loss = distillation_loss
        self._weights = weights or LossWeights()

    def forward(self, images: Tensor, labels: Tensor, teacher: Tensor | None = None) -> Losses:
        """Compute the losses of (B, 3, H, W) normalised images with (B,) int64 landmarks.

        Args:
            images: The images of this process.
            labels: Their landmarks.
            teacher: (B, D') descriptors of the same images by a teacher.
        """
        features = self.neck(gather_rows(self.descriptor(images).float()))
        everyone = gather_rows(labels)
        none = features.new_zeros(())
        head = none if self.head is None else self._head_loss(features, labels, everyone)
        pairs = none if self.pair_loss is None else self.pair_loss(features, everyone)
        other = none
        if self._distillation_loss is not None and teacher is not None:
            other = self._distillation_loss(features, gather_rows(teacher))
        weights = self._weights
        total = weights.head * head + weights.pairs * pairs + weights.distillation * other
        return Losses(total, head, pairs, other)

    def describe(self, images: Tensor) -> Tensor:
        """Describe (B, 3, H, W) normalised images as the head sees them: (B, D), batch norm included."""
        described: Tensor = self.neck(self.descriptor(images).float())
        return described

    def _head_loss(self, features: Tensor, labels: Tensor, everyone: Tensor) -> Tensor:
        assert self.head is not None
        if self.head.shard is None:
            loss: Tensor = self.head(features, everyone)
            return loss
        first = self.head.shard.rank * len(labels)  # a sharded head gathers by itself
        loss = self.head(features[first : first + len(labels)], labels)
        return loss


def build_descriptor(recipe: ModelRecipe, *, seed: int = 0) -> DescriptorNetwork:
    """Build the descriptor network that a training starts from.

    Raises:
        ConfigError: An option does not fit the backbone or the weights.
        InputError: timm has no such backbone.
        WeightsError: The weights cannot be had or do not fit.
    """
    network = build_network(recipe.backbone, recipe.extraction_options())
    if recipe.learn_p:
        if recipe.pooling != "gem":
            raise ConfigError(f"model.learn_p: pooling {recipe.pooling!r} has no power; choose 'gem'")
        network.pooling = GeM(recipe.p, learned=True)
    if isinstance(network.projection, nn.Identity) and recipe.projection_dim is not None:
        network.projection = _start_projection(network.dim, recipe, seed)
        network.dim = recipe.projection_dim
    elif recipe.projection_dim not in (None, network.dim):
        raise ConfigError(
            f"model.projection_dim={recipe.projection_dim}: the weights {recipe.weights!r} hold one to "
            f"{network.dim} dimensions"
        )
    if recipe.checkpointing:
        network.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    return network


def _start_projection(dim: int, recipe: ModelRecipe, seed: int) -> nn.Linear:
    assert recipe.projection_dim is not None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        projection = nn.Linear(dim, recipe.projection_dim)
    if recipe.projection_start == "identity":
        if recipe.projection_dim != dim:
            raise ConfigError(f"model.projection_start='identity' needs projection_dim={dim}, the backbone's")
        nn.init.eye_(projection.weight)
        nn.init.zeros_(projection.bias)
    return projection


@torch.no_grad()
def extraction_network(network: TrainingNetwork) -> DescriptorNetwork:
    """Return a copy of the descriptor network that describes as `network.describe` does in evaluation mode.

    A batch norm that does not learn any more is a linear map: it is folded into the projection.
    """
    descriptor = copy.deepcopy(network.descriptor).eval()
    if isinstance(network.neck, nn.BatchNorm1d):
        descriptor.projection = fold_batch_norm(descriptor.projection, network.neck)
    return descriptor


@torch.no_grad()
def fold_batch_norm(projection: nn.Module, norm: nn.BatchNorm1d) -> nn.Linear:
    """Return one linear layer that does what `projection` (linear or identity) and then `norm` do."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    if isinstance(projection, nn.Linear):
        weight, bias = projection.weight.detach(), projection.bias.detach()
    else:
        weight, bias = torch.eye(norm.num_features, device=gain.device), torch.zeros_like(gain)
    folded = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    folded.weight.copy_(gain[:, None] * weight)
    folded.bias.copy_(gain * (bias - norm.running_mean) + norm.bias)
    return folded


def distillation_loss(name: str) -> TeacherLoss:
    """Return the loss between (B, D) descriptors and a teacher's (B, D').

    "cosine": mean of 1 - cos; "mse": mean squared distance of the L2-normalised rows; "similarity": mean
    square between the two (B, B) matrices of cosines, after Tung & Mori 2019 (similarity-preserving
    distillation, arXiv:1907.09682), who normalise the rows of the matrices instead.
    """
    return {"cosine": _cosine_loss, "mse": _squared_loss, "similarity": _similarity_loss}[name]


def _cosine_loss(descriptors: Tensor, teacher: Tensor) -> Tensor:
    return (1 - functional.cosine_similarity(descriptors, teacher, dim=1)).mean()


def _squared_loss(descriptors: Tensor, teacher: Tensor) -> Tensor:
    own, theirs = (functional.normalize(v, dim=1) for v in (descriptors, teacher))
    return (own - theirs).square().sum(dim=1).mean()


def _similarity_loss(descriptors: Tensor, teacher: Tensor) -> Tensor:
    own, theirs = (functional.normalize(v, dim=1) for v in (descriptors, teacher))
    return functional.mse_loss(own @ own.T, theirs @ theirs.T)
