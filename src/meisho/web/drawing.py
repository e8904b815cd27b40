"""Drawings: two photos side by side, with lines between the places that agree."""

import colorsys
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from meisho.arrays import Float32Array, Float64Array
from meisho.files import replacing
from meisho.images import make_thumbnail
from meisho.photo_pair import PhotoPair
from meisho.photos import Photo

HEIGHT_PX = 640
GAP_PX = 12
OUTLIER = (150, 150, 150)
QUALITY = 85
"""Of a JPEG; PNG knows none."""


def draw_matches(pair: PhotoPair, path: Path, *, outliers: bool = False) -> None:
    """Draw both photos with a line for each inlier, coloured by its height in the query.

    Args:
        pair: The photos that were compared.
        path: The picture, PNG, JPEG or another format by its ending.
        outliers: Draw the other matches too, thin and grey, below the inliers.

    Raises:
        ImageError: A photo cannot be read.
    """
    left, right = _read(pair.query), _read(pair.database)
    canvas = Image.new("RGB", (left.width + GAP_PX + right.width, HEIGHT_PX), "white")
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width + GAP_PX, 0))
    starts = _on_picture(pair.query_features.keypoints[pair.matches.rows[:, 0]], pair.query_features.size_px)
    ends = _on_picture(
        pair.database_features.keypoints[pair.matches.rows[:, 1]], pair.database_features.size_px
    )
    ends += np.array([left.width + GAP_PX, 0])
    pen = ImageDraw.Draw(canvas)
    inliers = pair.verification.inliers
    if outliers:
        for start, end in zip(starts[~inliers], ends[~inliers], strict=True):
            pen.line([*start, *end], fill=OUTLIER, width=1)
    for start, end in zip(starts[inliers], ends[inliers], strict=True):
        _draw_inlier(pen, start, end)
    with replacing(path) as part:
        canvas.save(part, quality=QUALITY)


def _read(photo: Photo) -> Image.Image:
    """Return the upright photo, its box outlined, at the height of the drawing."""
    picture = Image.open(io.BytesIO(make_thumbnail(photo, max_side_px=2 * HEIGHT_PX)))
    width = max(1, round(picture.width * HEIGHT_PX / picture.height))
    return picture.convert("RGB").resize((width, HEIGHT_PX), Image.Resampling.LANCZOS)


def _on_picture(keypoints: Float32Array, size_px: tuple[int, int]) -> Float64Array:
    """Carry keypoints (M, 2) of a photo over to px of the drawing of that photo."""
    scale = HEIGHT_PX / max(size_px[1], 1)  # a photo without features may have no size
    placed: Float64Array = (keypoints.astype(np.float64) + 0.5) * scale - 0.5
    return placed


def _draw_inlier(pen: ImageDraw.ImageDraw, start: Float64Array, end: Float64Array) -> None:
    red, green, blue = colorsys.hsv_to_rgb(0.85 * start[1] / HEIGHT_PX, 0.9, 0.95)
    color = (round(255 * red), round(255 * green), round(255 * blue))
    pen.line([*start, *end], fill=color, width=2)
    for x, y in (start, end):
        pen.ellipse([x - 3, y - 3, x + 3, y + 3], outline="white", fill=color)
