"""Drawings: two photos side by side, with lines between the places that agree."""

import colorsys
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from meisho.arrays import Float32Array, Float64Array
from meisho.images import make_thumbnail
from meisho.marks import save_drawing
from meisho.outputs import DRAWING, check_output
from meisho.photo_pair import PhotoPair
from meisho.photos import Photo
from meisho.texts import count

HEIGHT_PX = 640
MOST_WIDTH_PX = 1280
"""A photo that would be wider at `HEIGHT_PX` is drawn lower."""
GAP_PX = 12
CAPTION_PX = 36
OUTLIER = (150, 150, 150)
INK = (34, 38, 43)


def draw_matches(pair: PhotoPair, path: Path, *, outliers: bool = False) -> None:
    """Draw both photos with a line for each inlier, coloured by its height in the query, and say the verdict.

    Args:
        pair: The photos that were compared.
        path: The picture, in the format that its ending says; see `meisho.marks.save_drawing`.
        outliers: Draw the other matches too, thin and grey, below the inliers.

    Raises:
        ImageError: A photo cannot be read.
        InputError: The file is there and is no drawing, or no drawing has such an ending.
    """
    check_output(path, DRAWING)
    left, right = _read(pair.query), _read(pair.database)
    canvas = Image.new("RGB", (left.width + GAP_PX + right.width, HEIGHT_PX + CAPTION_PX), "white")
    offset = left.width + GAP_PX
    canvas.paste(left, (0, 0))
    canvas.paste(right, (offset, 0))
    pen = ImageDraw.Draw(canvas)
    starts = _on_picture(
        pair.query_features.keypoints[pair.matches.rows[:, 0]], pair.query_features.size_px, left
    )
    ends = _on_picture(
        pair.database_features.keypoints[pair.matches.rows[:, 1]], pair.database_features.size_px, right
    )
    ends += np.array([offset, 0])
    inliers = pair.verification.inliers
    if outliers:
        for start, end in zip(starts[~inliers], ends[~inliers], strict=True):
            pen.line([*start, *end], fill=OUTLIER, width=1)
    for start, end in zip(starts[inliers], ends[inliers], strict=True):
        _draw_inlier(pen, start, end)
    _write_caption(pen, describe_pair(pair), canvas.width)
    save_drawing(canvas, path)


def describe_pair(pair: PhotoPair) -> str:
    """Say how many matches agree and what that means: "40 of 85 matches agree: same place"."""
    verdict = "same place" if pair.same_place else "too few to say the same place"
    return f"{pair.verification.num_inliers} of {count(len(pair.matches.rows), 'match')} agree: {verdict}"


def _read(photo: Photo) -> Image.Image:
    """Return the upright photo, its box outlined, as large as the drawing takes it."""
    picture = Image.open(io.BytesIO(make_thumbnail(photo, max_side_px=2 * HEIGHT_PX)))
    scale = min(HEIGHT_PX / picture.height, MOST_WIDTH_PX / picture.width)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _on_picture(keypoints: Float32Array, size_px: tuple[int, int], drawn: Image.Image) -> Float64Array:
    """Carry keypoints (M, 2) of a photo of `size_px` over to px of the photo as drawn."""
    scale = np.array(drawn.size) / np.maximum(size_px, 1)  # a photo without features may have no size
    placed: Float64Array = (keypoints.astype(np.float64) + 0.5) * scale - 0.5
    return placed


def _draw_inlier(pen: ImageDraw.ImageDraw, start: Float64Array, end: Float64Array) -> None:
    red, green, blue = colorsys.hsv_to_rgb(0.85 * start[1] / HEIGHT_PX, 0.9, 0.95)
    color = (round(255 * red), round(255 * green), round(255 * blue))
    pen.line([*start, *end], fill=color, width=2)
    for x, y in (start, end):
        pen.ellipse([x - 3, y - 3, x + 3, y + 3], outline="white", fill=color)


def _write_caption(pen: ImageDraw.ImageDraw, text: str, width: int) -> None:
    """Write below the photos, smaller where they are narrow."""
    font = ImageFont.load_default(20)
    font = ImageFont.load_default(max(6.0, min(20.0, 20 * (width - 16) / pen.textlength(text, font))))
    pen.text((8, HEIGHT_PX + CAPTION_PX / 2), text, fill=INK, font=font, anchor="lm")
