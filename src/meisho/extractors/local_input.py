"""Checks of images and options, shared by local feature extractors."""

import numpy as np

from meisho.arrays import UInt8Array
from meisho.errors import ConfigError, InputError
from meisho.extractors.machine import require_torch
from meisho.local_features import LocalFeatures

_EXTRAS = {"xfeat": "local", "aliked": "aliked", "delg": "torch"}
"""Local extractors that need torch -> the extra of meisho with it and all else that they need."""


def require_extra(name: str) -> None:
    """Refuse a local extractor whose packages are missing.

    Raises:
        MissingDependencyError: Naming the extra to install.
    """
    if name in _EXTRAS:
        require_torch(f"local features {name!r}", extra=_EXTRAS[name])


def check_image(image: UInt8Array) -> None:
    """Check that an image is (H, W, 3) uint8 with H, W ≥ 1.

    Raises:
        InputError: It is not; the message gives its shape and dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"an image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")


def check_positive(**values: float) -> None:
    """Check that options are positive, finite numbers.

    Raises:
        ConfigError: One is not; the message names it.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ConfigError(f"{name}={value!r}: must be a number greater than 0")


def check_whole(**values: int) -> None:
    """Check that options are whole numbers of at least 1.

    Raises:
        ConfigError: One is not; the message names it.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={value!r}: must be a whole number of at least 1")


def no_features(dim: int, size_px: tuple[int, int], *, with_scales: bool = False) -> LocalFeatures:
    """Return the value for an image without features."""
    nothing = np.zeros(0, np.float32)
    keypoints, descriptors = nothing.reshape(0, 2), nothing.reshape(0, dim)
    return LocalFeatures(keypoints, descriptors, nothing, size_px, nothing if with_scales else None)
