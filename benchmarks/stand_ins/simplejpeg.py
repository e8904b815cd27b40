"""Pillow in place of `simplejpeg`, for a bare machine that measures and cannot install.

Both are libjpeg-turbo and give the same pixels. Pillow does not say where a photo is damaged, so nothing but
a benchmark that draws its photos itself may put this folder on the path (`gpu.py` does where it must).
"""

import io

import numpy as np
from PIL import Image

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def decode_jpeg(
    data: bytes,
    colorspace: str,
    fastdct: bool,
    fastupsample: bool,
    *,
    min_height: int,
    min_width: int,
    min_factor: float,
    strict: bool,
) -> np.ndarray:
    """Return the pixels of a whole JPEG, decoded at the least scale that is large enough."""
    image = Image.open(io.BytesIO(data))
    image.draft(_MODES[colorspace], (min_width, min_height))
    return np.asarray(image)
