"""Local features of one photo: where they are and what they look like."""

from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float32Array, read_only
from meisho.errors import InputError


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """K local features of one photo, best first.

    Attributes:
        keypoints: (K, 2) float32, read-only; x, y in px of the whole upright photo, not rounded; (0, 0) is
            the centre of the top-left pixel.
        descriptors: (K, D) float32, read-only.
        scores: (K,) float32, read-only; higher is better.
        size_px: Width and height of the whole upright photo.
        scales: (K,) float32, read-only; size of each feature, px of the upright photo; None if unknown.

    Raises:
        InputError: The shapes do not fit, or a number is not finite.
    """

    keypoints: Float32Array
    descriptors: Float32Array
    scores: Float32Array
    size_px: tuple[int, int]
    scales: Float32Array | None = None

    def __post_init__(self) -> None:
        for name in ("keypoints", "descriptors", "scores", "scales"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, read_only(getattr(self, name), np.float32))
        count = len(self.keypoints)
        scales = self.scores if self.scales is None else self.scales
        shapes = self.keypoints.shape, self.descriptors.shape[:1], self.scores.shape, scales.shape
        if shapes != ((count, 2), (count,), (count,), (count,)) or self.descriptors.ndim != 2:
            raise InputError(
                f"local features: keypoints {self.keypoints.shape}, descriptors {self.descriptors.shape}, "
                f"scores {self.scores.shape} and scales {scales.shape} do not fit"
            )
        if not all(np.isfinite(a).all() for a in (self.keypoints, self.descriptors, self.scores, scales)):
            raise InputError("local features: a number is NaN or infinite")

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays."""
        arrays = (self.keypoints, self.descriptors, self.scores, self.scales)
        return sum(array.nbytes for array in arrays if array is not None)

    def first(self, count: int) -> "LocalFeatures":
        """Return the best `count` features."""
        return LocalFeatures(
            self.keypoints[:count],
            self.descriptors[:count],
            self.scores[:count],
            self.size_px,
            None if self.scales is None else self.scales[:count],
        )
