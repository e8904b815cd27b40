"""Tasks: what is trained, how it is validated and saved. The loop is the same for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from meisho.datasets.base import Dataset
from meisho.describing import Describer
from meisho.errors import ConfigError, ImageError
from meisho.extractors.backbone import BackboneTraits
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.timm_gem import TimmGeM
from meisho.layers.margin_heads import MarginHead, make_head
from meisho.layers.margins import Margin
from meisho.layers.pair_losses import PairLoss
from meisho.training.data import TrainingSet
from meisho.training.distribution import this_shard
from meisho.training.network import (
    LossWeights,
    TeacherLoss,
    TrainingNetwork,
    build_descriptor,
    distillation_loss,
    extraction_network,
)
from meisho.training.recipe import Recipe
from meisho.training.validation import closed_set_accuracy, evaluate_descriptors

Counter = Callable[[int, int], None]


@dataclass(frozen=True)
class Scores:
    """What a validation gives; NaN where it was not measured.

    Attributes:
        retrieval: Mean average precision among landmarks held out, by the data set's protocol.
        accuracy: Share of the photos kept from training whose landmark the classifier names.
        unreadable: Why photos were left out.
    """

    retrieval: float
    accuracy: float
    unreadable: tuple[ImageError, ...] = ()


class Task(Protocol):
    """What is trained.

    Attributes:
        network: Gives `Losses` when called with images, landmarks and a teacher's descriptors.
        traits: How images are normalised.
        backbone: The part that learns at `backbone_rate`.
        rest: The parts that learn at `head_rate`.
        frozen: Beginnings of the names of parameters that are never trained.
    """

    frozen: tuple[str, ...]
    network: nn.Module
    traits: BackboneTraits
    backbone: nn.Module
    rest: nn.Module

    def start_epoch(self, network: nn.Module) -> None:
        """Put the network into training mode, but for what stays as it is."""

    def parameter_name(self, name: str) -> str:
        """Turn a name as recipes have it into the beginning of a parameter's name."""

    def extractor(self, network: nn.Module, device: torch.device) -> GlobalExtractor:
        """Return a copy of a network of this task as an extractor."""

    def validate(
        self, network: nn.Module, device: torch.device, *, weight: torch.Tensor | None, progress: Counter
    ) -> Scores:
        """Measure a network of this task; `weight` is the whole margin head's where it is spread.

        `progress` is called with how many photos are described, and how many there are.
        """

    def save(self, network: nn.Module, folder: Path) -> None:
        """Write what extraction loads."""


class DescriptorTask:
    """Train a global descriptor network with a margin head, a pair loss, or a teacher; see `Task`.

    Args:
        recipe: What to build.
        train: The photos that it will see.
        accuracy: Photos for the closed-set accuracy.
        validation: A data set for the retrieval score, or None.
    """

    frozen: tuple[str, ...] = ()

    def __init__(
        self, recipe: Recipe, train: TrainingSet, accuracy: TrainingSet, validation: Dataset | None
    ) -> None:
        self._recipe, self._accuracy, self._validation = recipe, accuracy, validation
        descriptor = build_descriptor(recipe.model, seed=recipe.seed)
        _check_whitening(recipe, descriptor.dim)
        self.traits = descriptor.traits
        network = TrainingNetwork(
            descriptor,
            batch_norm=recipe.model.batch_norm,
            head=_make_head(recipe, train, descriptor.dim),
            pair_loss=_make_pair_loss(recipe),
            distillation_loss=_make_distillation_loss(recipe),
            weights=LossWeights(recipe.head.weight, recipe.pairs.weight, recipe.distillation.weight),
        )
        self.network: nn.Module = network
        self.backbone: nn.Module = descriptor.backbone
        self.rest: nn.Module = nn.ModuleList(
            [descriptor.pooling, descriptor.projection, network.neck]
            + [m for m in (network.head, network.pair_loss) if m is not None]
        )

    def start_epoch(self, network: nn.Module) -> None:
        """See `Task`."""
        assert isinstance(network, TrainingNetwork)
        network.train()
        if self._recipe.schedule.freeze_batch_norm:
            freeze_batch_norms(network.descriptor.backbone)

    def parameter_name(self, name: str) -> str:
        """See `Task`."""
        in_descriptor = name.partition(".")[0] in ("backbone", "pooling", "projection")
        return f"descriptor.{name}" if in_descriptor else name

    def extractor(self, network: nn.Module, device: torch.device) -> TimmGeM:
        """See `Task`."""
        assert isinstance(network, TrainingNetwork)
        model = self._recipe.model
        return TimmGeM(
            model.backbone, extraction_network(network), model.extraction_options(), device=str(device)
        )

    def validate(
        self, network: nn.Module, device: torch.device, *, weight: torch.Tensor | None, progress: Counter
    ) -> Scores:
        """See `Task`."""
        assert isinstance(network, TrainingNetwork)
        describer = Describer(self.extractor(network, device), num_workers=self._recipe.hardware.workers)
        retrieval = accuracy = float("nan")
        errors: list[ImageError] = []
        if self._validation is not None:
            report = evaluate_descriptors(
                self._validation, describer, on_error=errors.append, progress=progress
            )
            retrieval = report.headline.value
        if network.head is not None:
            head = network.head if weight is None else _whole_head(network.head, weight)
            accuracy = closed_set_accuracy(self._accuracy, describer, head, on_error=errors.append)
        return Scores(retrieval, accuracy, tuple(errors))

    def save(self, network: nn.Module, folder: Path) -> None:
        """See `Task`."""
        assert isinstance(network, TrainingNetwork)
        model = self._recipe.model
        save_checkpoint(extraction_network(network), model.backbone, model.extraction_options(), folder)


def _check_whitening(recipe: Recipe, dim: int) -> None:
    """Refuse what would be refused when training has ended."""
    asked = recipe.whitening.dim
    if asked is not None and not 1 <= asked <= dim:
        raise ConfigError(f"whitening.dim={asked}: must be from 1 to {dim}, the network's dimensions")


def freeze_batch_norms(module: nn.Module) -> None:
    """Keep the statistics of batch norms as they are; their gains and offsets still learn."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def _make_head(recipe: Recipe, train: TrainingSet, dim: int) -> MarginHead | None:
    if recipe.head.name == "none":
        return None
    try:
        return make_head(
            recipe.head.name,
            len(train.landmarks),
            dim,
            class_sizes=train.sizes.tolist(),
            shard=this_shard() if recipe.head.shard else None,
            **{"seed": recipe.seed, **recipe.head.options},
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[head] {error}") from error


def _make_pair_loss(recipe: Recipe) -> nn.Module | None:
    if recipe.pairs.name == "none":
        return None
    build: Callable[..., nn.Module] = PairLoss  # the recipe has checked its options
    try:
        return build(recipe.pairs.name, **recipe.pairs.options)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[pairs] {error}") from error


def _make_distillation_loss(recipe: Recipe) -> TeacherLoss | None:
    return None if recipe.distillation.teacher == "none" else distillation_loss(recipe.distillation.loss)


def _whole_head(head: MarginHead, weight: torch.Tensor) -> MarginHead:
    whole = MarginHead(head.num_classes, head.dim, Margin(), sub_centres=weight.shape[1])
    whole.load_full_weight(weight)
    return whole.to(weight.device)
