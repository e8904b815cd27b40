"""The moving average of a network's weights: what is validated and saved in place of the last ones."""

import copy

import torch
from torch import nn


class MovingAverage:
    """A copy of a network whose weights follow it slowly [Polyak & Juditsky 1992].

    At update n (from 1) the copy keeps min(decay, n / (n + 9)) of itself: the start is soon forgotten.
    Buffers, such as the statistics of batch norm, are averaged too where they are floats, else copied.

    Args:
        network: What is followed.
        decay: In [0, 1).

    Attributes:
        network: The average; in evaluation mode, its parameters need no gradient.
        num_updates: n so far; part of the state that resuming needs.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's weights."""
        self.num_updates += 1
        kept = min(self.decay, self.num_updates / (self.num_updates + 9))
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            value = current[name].detach().to(average.device)
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - kept)
            else:
                average.copy_(value)
