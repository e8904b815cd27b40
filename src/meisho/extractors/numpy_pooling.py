"""Pooling without torch: the functions of `layers.pooling`, for the feature map of one image."""

import math
from collections.abc import Callable

import numpy as np

from meisho.arrays import Float32Array

GEM_EPS = np.float32(1e-6)
_REGION_P, _REGION_SIDE = np.float32(2.5), 5


def pool_gem(features: Float32Array, p: float) -> Float32Array:
    """Pool (C, H, W) -> (C,) by the generalised mean; see `layers.pooling.GeM`."""
    features = np.maximum(features, GEM_EPS)
    largest = features.max(axis=(1, 2), keepdims=True)
    powers = np.power(features / largest, np.float32(p))
    pooled: Float32Array = np.power(powers.mean(axis=(1, 2)), np.float32(1 / p)) * largest[:, 0, 0]
    return pooled


def pool_regional_gem(features: Float32Array, p: float) -> Float32Array:
    """Pool (C, H, W) -> (C,); see `layers.pooling.RegionalGeM`."""
    return pool_gem(mix_regions(features), p)


def pool_average(features: Float32Array, _p: float) -> Float32Array:
    """Pool (C, H, W) -> (C,) by the mean."""
    pooled: Float32Array = features.mean(axis=(1, 2))
    return pooled


def pool_max(features: Float32Array, _p: float) -> Float32Array:
    """Pool (C, H, W) -> (C,) by the maximum."""
    pooled: Float32Array = features.max(axis=(1, 2))
    return pooled


def mix_regions(features: Float32Array) -> Float32Array:
    """Return the mean of (C, H, W) and of the generalised means of windows; see `layers.pooling`."""
    features = np.maximum(features, GEM_EPS)
    margin = _REGION_SIDE // 2
    mode = "reflect" if min(features.shape[1:]) > margin else "edge"
    padded = np.pad(features, ((0, 0), (margin, margin), (margin, margin)), mode=mode)  # type: ignore[call-overload]
    powers = np.power(padded, _REGION_P)
    height, width = features.shape[1:]
    rows = sum(powers[:, i : i + height] for i in range(_REGION_SIDE))
    sums = sum(rows[:, :, i : i + width] for i in range(_REGION_SIDE))
    regions = np.power(sums / np.float32(_REGION_SIDE**2), 1 / _REGION_P)
    mixed: Float32Array = (features + regions) / 2
    return mixed


def pool_scales(descriptors: Float32Array, p: float) -> Float32Array:
    """Pool the descriptors of one image at several scales: (S, D) -> (D,), p = 1 or ∞."""
    pooled: Float32Array = descriptors.max(axis=0) if math.isinf(p) else descriptors.mean(axis=0)
    return pooled


POOLINGS: dict[str, Callable[[Float32Array, float], Float32Array]] = {
    "gem": pool_gem,
    "regional-gem": pool_regional_gem,
    "scale-gem": pool_gem,
    "superglobal": pool_regional_gem,
    "avg": pool_average,
    "max": pool_max,
}
"""Name of a pooling -> its function of a feature map and GeM's power."""
