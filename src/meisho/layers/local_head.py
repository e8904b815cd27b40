"""The local branch of DELG: which cells of a feature map are worth keeping, and a descriptor of each."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

HIDDEN_CHANNELS = 512
"""Channels inside the attention, as in the official code."""


@dataclass(frozen=True, eq=False)
class LocalMaps:
    """What a `LocalHead` gives for B images.

    Attributes:
        descriptors: (B, D, h, w), not normalised.
        attention: (B, 1, h, w), greater than 0.
        pooled: (B, C) mean of the L2-normalised features weighted by attention: a classifier on it trains the
            attention.
        reconstruction_error: Mean square of what the short descriptors lose of the features: the
            autoencoder's loss. The paper adds it with weight 10 to the attention's loss with weight 1.
    """

    descriptors: Tensor
    attention: Tensor
    pooled: Tensor
    reconstruction_error: Tensor


class LocalHead(nn.Module):
    """Attention and autoencoder on a feature map [Cao et al. 2020, arXiv:2001.05027, section 3.2].

    It follows the official code (delf/python/training/model/delf_model.py): the attention looks at the
    features as the autoencoder gives them back, and weighs the features themselves. No gradient leaves it:
    the features are detached, so that its losses do not disturb the trunk.

    Args:
        channels: C, of the feature map.
        dim: D, of the descriptors.
    """

    def __init__(self, channels: int, dim: int = 128) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(channels, dim, 1)
        self.decoder = nn.Conv2d(dim, channels, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, HIDDEN_CHANNELS, 1),
            nn.BatchNorm2d(HIDDEN_CHANNELS),
            nn.ReLU(),
            nn.Conv2d(HIDDEN_CHANNELS, 1, 1),
            nn.Softplus(),
        )

    def forward(self, features: Tensor) -> LocalMaps:
        """Look at (B, C, h, w) features."""
        features = features.detach()
        descriptors = self.encoder(features)
        decoded = functional.relu(self.decoder(descriptors))
        attention = self.attention(decoded)
        pooled = (functional.normalize(features, dim=1) * attention).mean(dim=(2, 3))
        return LocalMaps(descriptors, attention, pooled, functional.mse_loss(decoded, features))
