"""What the extractors on timm backbones share, with torch or without."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import InputError
from meisho.extractors.options import TimmGeMOptions
from meisho.images import ImageOptions
from meisho.whitening import Whitening

SHAPE_STEP_PX = 32
"""Sides are rounded to this where the backbone lets us choose: few shapes fill batches, and oneDNN compiles
its kernels anew for each shape."""

MIN_SIDE_PX = 32
"""Smaller images are padded to this by repeating their edge: most backbones reduce 32 times."""


def check_images(images: UInt8Array) -> None:
    """Refuse what is not (B, H, W, 3) uint8 with H, W ≥ 1.

    Raises:
        InputError: Saying what it is.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise InputError(f"images must be (B, H, W, 3) uint8, got {images.shape} {images.dtype}")


def describe_batch(
    images: UInt8Array,
    describe: Callable[[UInt8Array], Float32Array],
    *,
    dim: int,
    whitening: Whitening | None,
) -> Float32Array:
    """Check a batch, describe it, normalise and whiten what comes: (B, H, W, 3) uint8 -> (B, D) float32.

    Args:
        images: The batch, which may be empty.
        describe: Called with it where it is not.
        dim: D, after the whitening.
        whitening: What comes at the end, or None.

    Raises:
        InputError: The images are of another shape or type.
    """
    check_images(images)
    if len(images) == 0:
        return np.zeros((0, dim), np.float32)
    vectors = normalize_rows(describe(images))
    return vectors if whitening is None else whitening.transform(vectors)


def image_options_of(options: TimmGeMOptions) -> ImageOptions:
    """Return how photos are loaded; `options.multiple_px` is set."""
    return ImageOptions(
        max_side_px=options.max_side_px,
        multiple_px=options.multiple_px or SHAPE_STEP_PX,
        interpolation=options.interpolation,
        enlarge=options.enlarge,
    )


def trace_origin(model: str, options: TimmGeMOptions, digest: str) -> tuple[Provenance, Whitening | None]:
    """Return the provenance of descriptors, and the whitening that comes at their end, if any.

    Args:
        model: Its specification: "timm:NAME".
        options: All of them resolved; its whitening is loaded.
        digest: Digest of the weights before the whitening.

    Raises:
        WeightsError: The whitening cannot be read.
        MismatchError: It was fitted on other descriptors.
    """
    return whiten_origin(describe_origin(model, replace(options, whitening=None), digest), options.whitening)


def whiten_origin(plain: Provenance, path: str | None) -> tuple[Provenance, Whitening | None]:
    """Return the provenance of descriptors after a saved whitening, and that; as they are where it is None.

    Raises:
        InputError: The path is no text.
        WeightsError: The whitening cannot be read.
        MismatchError: It was fitted on other descriptors.
    """
    if path is None:
        return plain, None
    if not isinstance(path, str):
        raise InputError(f"whitening={path!r}: must be text")
    whitening = Whitening.load(Path(path))
    return whitening.origin_after(plain, path), whitening


def describe_origin(model: str, options: TimmGeMOptions, digest: str) -> Provenance:
    """Return the provenance of descriptors, `digest` being that of all their weights."""
    return Provenance.from_options(model, options.values, digest)
