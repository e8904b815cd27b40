"""Netpbm: a picture whose values lie beyond what its header calls the greatest is refused, as netpbm does."""

import numpy as np
from PIL import Image


def refuse_beyond(image: Image.Image) -> None:
    """Check the values of an opened Netpbm that Pillow would clip: those of a greatest value of its own.

    Raises:
        ValueError: Some lie beyond the greatest value.
    """
    codec, _, place, options = image.tile[0]  # type: ignore[attr-defined]
    if codec != "ppm":
        return
    most, file = options[-1], image.fp  # type: ignore[attr-defined]
    kind = np.dtype("u1" if most < 256 else ">u2")
    file.seek(place)
    data = file.read(image.width * image.height * len(image.getbands()) * kind.itemsize)
    values = np.frombuffer(data, kind, len(data) // kind.itemsize)
    if values.max(initial=0) > most:
        raise ValueError(f"damaged: it holds values beyond {most}, which it calls the greatest")
