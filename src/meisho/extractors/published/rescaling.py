"""Rescaling: how an image is brought to another scale by the authors' own code.

Each takes (B, 3, H, W) float32 grey levels from 0 to 255 and a factor, and returns (B, 3, H', W'), at least
one pixel wide and high. OpenCV enlarges 8-bit images in whole numbers, which is done here too: without it one
grey level in eight is one too high.
"""

import torch
from torch import Tensor
from torch.nn import functional

_BITS = 11  # of OpenCV's weights
_LEAST_PART = 1e-3  # of a pixel: OpenCV leaves out less


def to_rounded_sides(images: Tensor, scale: float) -> Tensor:
    """Resize bilinearly to the nearest whole sides, whatever that does to the factor.

    `im_scale` of feymanpriv/DOLG at 63b117d (evaler/process.py) and feymanpriv/DELG at 3557169
    (tools/extractor.py): `cv2.resize` of float32 with `INTER_LINEAR`.
    """
    return functional.interpolate(images, size=_sides(images, scale), mode="bilinear", align_corners=False)


def by_area_or_line(images: Tensor, scale: float) -> Tensor:
    """Shrink by the mean over each pixel's area and enlarge bilinearly, at exactly this factor, in 8 bits.

    `DataSet.__getitem__` of sungonce/CVNet at 5f5bf24 (test/dataset.py): `cv2.resize` of uint8 by `fx` and
    `fy`, with `INTER_AREA` below 1 and `INTER_LINEAR` above.
    """
    height, width = _sides(images, scale)
    if scale < 1:
        rows = _area_weights(images.shape[-2], height, scale).to(images)
        columns = _area_weights(images.shape[-1], width, scale).to(images)
        resized = torch.einsum("yh,bchw,xw->bcyx", rows, images, columns)
        return (resized + 0.5).floor()
    return _enlarge_whole_numbers(images, height, width, scale)


def _enlarge_whole_numbers(images: Tensor, height: int, width: int, scale: float) -> Tensor:
    """Do what OpenCV's `HResizeLinear` and `VResizeLinear` do for uint8: weights of 11 bits, rounded down."""
    levels = images.round().long()
    first, second, near, far = (each.to(images.device) for each in _taps(levels.shape[-1], width, scale))
    rows = (levels[..., first] * near + levels[..., second] * far) >> 4
    first, second, near, far = (each.to(images.device) for each in _taps(levels.shape[-2], height, scale))
    upper = (rows[..., first, :] * near[:, None]) >> 16
    lower = (rows[..., second, :] * far[:, None]) >> 16
    return ((upper + lower + 2) >> 2).to(images)


def _taps(side: int, larger: int, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return, for each of `larger` pixels, the two source pixels beside it and their weights."""
    at = ((torch.arange(larger, dtype=torch.float64) + 0.5) / scale - 0.5).float()
    first = at.floor()
    weights = (((1 - at + first) * 2**_BITS).round().long(), ((at - first) * 2**_BITS).round().long())
    return first.clamp(0, side - 1).long(), (first + 1).clamp(0, side - 1).long(), *weights


def _sides(images: Tensor, scale: float) -> list[int]:
    return [max(1, round(side * scale)) for side in images.shape[-2:]]


def _area_weights(side: int, smaller: int, scale: float) -> Tensor:
    """Return (smaller, side) float64 weights: of each source pixel the part that lies in each cell."""
    cells = torch.arange(smaller, dtype=torch.float64)[:, None] / scale
    pixels = torch.arange(side, dtype=torch.float64)
    parts = torch.minimum(cells + 1 / scale, pixels + 1) - torch.maximum(cells, pixels)
    parts = parts.where(parts > _LEAST_PART, 0)
    return parts / parts.sum(dim=1, keepdim=True)
