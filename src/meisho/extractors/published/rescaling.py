"""Rescaling: how an image is brought to another scale by the authors' own code.

Each takes (B, 3, H, W) float32 grey levels from 0 to 255 and a factor, and returns (B, 3, H', W'), at least
one pixel wide and high. OpenCV's arithmetic is in whole numbers for 8-bit images: what stands for it here is
equal to one grey level.
"""

import torch
from torch import Tensor
from torch.nn import functional

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
    else:
        resized = torch.ops.aten.upsample_bilinear2d(images, [height, width], False, scale, scale)
    return resized.round().clamp(0, 255)


def _sides(images: Tensor, scale: float) -> list[int]:
    return [max(1, round(side * scale)) for side in images.shape[-2:]]


def _area_weights(side: int, smaller: int, scale: float) -> Tensor:
    """Return (smaller, side) float64 weights: of each source pixel the part that lies in each cell."""
    cells = torch.arange(smaller, dtype=torch.float64)[:, None] / scale
    pixels = torch.arange(side, dtype=torch.float64)
    parts = torch.minimum(cells + 1 / scale, pixels + 1) - torch.maximum(cells, pixels)
    parts = parts.where(parts > _LEAST_PART, 0)
    return parts / parts.sum(dim=1, keepdim=True)
