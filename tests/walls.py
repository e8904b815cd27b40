"""Drawn walls, each unlike the others, and views of them whose local features agree."""

import numpy as np
from PIL import Image


def draw_wall(number):
    """Draw a wall."""
    blocks = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((500, 400), Image.Resampling.NEAREST)


def draw_view(wall, view, path):
    """Draw one of several views of a wall: other sides are cut off."""
    x, y = 40 * (view % 3), 30 * (view // 3)
    draw_wall(wall).crop((x, y, x + 380, y + 330)).save(path)
    return path
