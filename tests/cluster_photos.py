"""Photos drawn for the tests of a cluster: many, small, each unlike the others."""

import numpy as np
from PIL import Image


def draw_photos(folder, number):
    """Draw 0000.jpg, 0001.jpg, …, of 160 × 120 px or upright."""
    folder.mkdir()
    for photo in range(number):
        rng = np.random.default_rng(photo)
        width, height = (160, 120) if photo % 3 else (120, 160)
        blocks = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"{photo:04}.jpg", quality=85)
