"""Losses of DELG's local head: a classifier trains its attention, reconstruction its short descriptors."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.layers.local_head import LocalMaps


@dataclass(frozen=True, eq=False)
class LocalLosses:
    """Float32 scalars.

    Attributes:
        total: The weighted sum, to be minimised.
        attention: Cross-entropy of the classifier on the features weighted by attention.
        reconstruction: Mean square of what the short descriptors lose.
    """

    total: Tensor
    attention: Tensor
    reconstruction: Tensor


class LocalLoss(nn.Module):
    """Loss of a `LocalHead` [Cao et al. 2020, arXiv:2001.05027, section 3.2-3.3].

    No gradient of it reaches the trunk: the head detaches its features. The classifier is thrown away after
    training.

    Args:
        channels: C, of the feature map.
        num_classes: Landmarks.
        attention_weight: Weight of the classifier's loss; 1 in the paper's code.
        reconstruction_weight: Weight of the autoencoder's loss; 10 there.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        attention_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
    ) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, num_classes)
        self.attention_weight, self.reconstruction_weight = attention_weight, reconstruction_weight

    def forward(self, maps: LocalMaps, labels: Tensor) -> LocalLosses:
        """Return the losses of B images' maps and their (B,) int64 classes."""
        with torch.autocast(labels.device.type, enabled=False):
            attention = functional.cross_entropy(self.classifier(maps.pooled.float()), labels)
            reconstruction = maps.reconstruction_error.float()
            total = self.attention_weight * attention + self.reconstruction_weight * reconstruction
            return LocalLosses(total, attention, reconstruction)
