"""The local head of DELG as a task: it learns, the trunk stays as it is."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from meisho.arrays import Float32Array, UInt8Array
from meisho.datasets.base import Dataset
from meisho.describing import Describer
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import ImageError
from meisho.extractors.delg import DelgNetwork, build_delg, save_delg
from meisho.images import ImageOptions
from meisho.layers.local_losses import LocalLoss
from meisho.training.data import TrainingSet
from meisho.training.network import Losses
from meisho.training.recipe import Recipe
from meisho.training.task import Counter, Scores
from meisho.training.validation import evaluate_descriptors


class LocalTrainingNetwork(nn.Module):
    """DELG's trunk and local head, with the losses of the head.

    Args:
        delg: The network.
        loss: Attention and reconstruction.
    """

    def __init__(self, delg: DelgNetwork, loss: LocalLoss) -> None:
        super().__init__()
        self.delg = delg
        self.loss = loss

    def forward(self, images: Tensor, labels: Tensor, teacher: Tensor | None = None) -> Losses:
        """Compute the losses of (B, 3, H, W) normalised images with (B,) int64 landmarks."""
        losses = self.loss(self.delg.find_local(images), labels)
        return Losses(losses.total, losses.attention, losses.total.new_zeros(()), losses.reconstruction)


class LocalTask:
    """Train DELG's local head on a trunk that is not trained; see `meisho.training.task.Task`.

    It validates by retrieval with the features pooled by attention: they are worth as much as the attention
    knows which places of a photo tell landmarks apart.

    Args:
        recipe: What to build.
        train: The photos that it will see.
        validation: A data set for the retrieval score, or None.
    """

    frozen: tuple[str, ...] = ("delg.global_branch",)

    def __init__(self, recipe: Recipe, train: TrainingSet, validation: Dataset | None) -> None:
        self._recipe, self._validation = recipe, validation
        delg = build_delg(recipe.model.backbone, recipe.model.weights, None, recipe.local.dim)
        channels = int(delg.local_head.encoder.in_channels)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.seed)
            loss = LocalLoss(
                channels,
                len(train.landmarks),
                attention_weight=recipe.local.attention_weight,
                reconstruction_weight=recipe.local.reconstruction_weight,
            )
        self.network: nn.Module = LocalTrainingNetwork(delg, loss)
        self.traits = delg.global_branch.traits
        self.backbone: nn.Module = delg.global_branch.backbone
        self.rest: nn.Module = nn.ModuleList([delg.local_head, loss])

    def start_epoch(self, network: nn.Module) -> None:
        """Train the head; the trunk, batch norms included, stays as it is."""
        assert isinstance(network, LocalTrainingNetwork)
        network.train()
        network.delg.global_branch.eval()

    def parameter_name(self, name: str) -> str:
        """Turn "local_head" into the beginning of a parameter's name."""
        return f"delg.{name}" if name.startswith("local_head") else name

    def extractor(self, network: nn.Module, device: torch.device) -> "PooledFeatures":
        """Return a copy of the network that describes by its pooled features."""
        assert isinstance(network, LocalTrainingNetwork)
        return PooledFeatures(copy.deepcopy(network.delg).eval(), device, self._recipe.model.max_side_px)

    def validate(
        self, network: nn.Module, device: torch.device, *, weight: Tensor | None, progress: Counter
    ) -> Scores:
        """Score retrieval with the pooled features; there is no closed-set accuracy."""
        if self._validation is None:
            return Scores(float("nan"), float("nan"))
        describer = Describer(self.extractor(network, device), num_workers=self._recipe.hardware.workers)
        errors: list[ImageError] = []
        report = evaluate_descriptors(self._validation, describer, on_error=errors.append, progress=progress)
        return Scores(report.headline.value, float("nan"), tuple(errors))

    def save(self, network: nn.Module, folder: Path) -> None:
        """Write the head's weights, and how they are used: `load_local_extractor(folder)` loads them."""
        assert isinstance(network, LocalTrainingNetwork)
        model = self._recipe.model
        options = {"backbone": model.backbone, "weights": model.weights, "dim": self._recipe.local.dim}
        save_delg(network.delg, options, folder)


class PooledFeatures:
    """The local branch's features pooled by its attention, as a global extractor (see `GlobalExtractor`).

    Args:
        network: In evaluation mode.
        device: Where to compute.
        max_side_px: The longer side of images.
    """

    def __init__(self, network: DelgNetwork, device: torch.device, max_side_px: int) -> None:
        self._network, self._device = network.to(device), device
        self.image_options = ImageOptions(max_side_px=max_side_px, multiple_px=32)
        self.dim = int(network.local_head.encoder.in_channels)
        self.provenance = Provenance.from_options("delg pooled", {"max_side_px": max_side_px})
        traits = network.global_branch.traits
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (traits.mean, traits.std)
        )

    @torch.inference_mode()
    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe (B, H, W, 3) uint8 RGB -> (B, C) float32, L2-normalised."""
        pixels = (
            torch.from_numpy(np.array(images, order="C")).to(self._device).permute(0, 3, 1, 2).float() / 255
        )
        pooled: Float32Array = (
            self._network.find_local((pixels - self._mean) / self._std).pooled.cpu().numpy()
        )
        return normalize_rows(pooled)
