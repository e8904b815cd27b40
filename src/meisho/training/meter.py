"""Meter: what the steps of an epoch give and take -> the epoch's record."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from meisho.training.history import EpochRecord

T = TypeVar("T")


class Stopwatch:
    """Tells how many seconds have passed since it was made, or last asked."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap, and begin the next."""
        before, self._since = self._since, time.perf_counter()
        return self._since - before


@dataclass
class Meter:
    """Sums over the steps of one epoch; a part of the state, so that a resumed epoch is measured whole.

    Attributes:
        loss_sums: (4,) sums of the losses: total, head, pairs, other.
        norm_sum: Sum of the gradients' norms, where those are finite.
        num_norms: How many are.
        num_photos: Photos trained on, all processes together.
        seconds: Time taken, mining included.
        waited: Seconds of it in which there were no photos yet.
    """

    loss_sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    norm_sum: float = 0.0
    num_norms: int = 0
    num_photos: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def wait_for(self, items: Iterator[T]) -> Iterator[T]:
        """Pass items on, and count the time until each one comes."""
        while True:
            asked = Stopwatch()
            try:
                item = next(items)
            except StopIteration:
                return
            self.waited += asked.lap()
            yield item

    def count(self, losses: Sequence[float], norm: float, *, num_photos: int, seconds: float) -> None:
        """Add one step.

        Args:
            losses: Total, head, pairs, other.
            norm: The gradient's, not finite where fp16 left the step out: such a norm does not count.
            num_photos: Photos of the step, all processes together.
            seconds: Time that it took.
        """
        self.loss_sums = [a + b for a, b in zip(self.loss_sums, losses, strict=True)]
        if math.isfinite(norm):
            self.norm_sum += norm
            self.num_norms += 1
        self.num_photos += num_photos
        self.seconds += seconds

    def record(self, *, epoch: int, step: int, num_steps: int, size_px: int, rate: float) -> EpochRecord:
        """Return the record of the epoch, as far as it is known before validation.

        Args:
            epoch: Epochs done, this one included.
            step: Optimiser steps done.
            num_steps: Steps of this epoch.
            size_px: Its input size.
            rate: Learning rate of its last step.
        """
        total, head, pairs, other = (value / max(num_steps, 1) for value in self.loss_sums)
        seconds = max(self.seconds, 1e-9)  # an epoch without a step takes none
        return EpochRecord(
            epoch=epoch,
            step=step,
            size_px=size_px,
            rate=rate,
            loss=total,
            head_loss=head,
            pair_loss=pairs,
            other_loss=other,
            gradient_norm=self.norm_sum / self.num_norms if self.num_norms else math.nan,
            images_per_second=self.num_photos / seconds,
            waiting=self.waited / seconds,
            seconds=self.seconds,
            validation_seconds=0.0,
        )
