"""Colours: a decoded picture of any mode -> one that can be averaged -> RGB."""

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from meisho.arrays import Float32Array

_BAND_ROWS = 256
_SPARKS = 1000
_BEYOND = 16


def to_resizable(image: Image.Image) -> Image.Image:
    """Return the image in a mode whose pixels can be averaged: L, LA, RGB, RGBA or CMYK."""
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return drop_empty_alpha(image.convert("RGBA"))  # one colour is marked as transparent
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode.startswith(("1", "I", "F")):
        grey = image.convert("L") if image.mode == "1" else _scale_to_8_bits(image)
        clear = image.info.get("transparency")
        return grey if clear is None else drop_empty_alpha(_hide(grey, image, clear))
    return drop_empty_alpha(image.convert("RGBA")) if image.has_transparency_data else image.convert("RGB")


def drop_empty_alpha(image: Image.Image) -> Image.Image:
    """Return LA or RGBA without its alpha where that is 0 everywhere: it hides all and so means nothing."""
    if image.mode in ("LA", "RGBA") and image.getextrema()[-1] == (0, 0):
        return image.convert(image.mode[:-1])
    return image


def find_white(parts: Iterable[np.ndarray], usual: float, num_values: int) -> float:
    """Return the value of white in a picture of deep values: the usual one, or the brightest beyond it.

    Where a thousandth of the values, or one, is more than 16 times as bright as all others, these would be
    black: then white is the brightest of the others.

    Args:
        parts: The values, part after part, of any shape; what is not finite does not count.
        usual: White where nothing is brighter.
        num_values: How many values all parts have.
    """
    num_sparks = max(1, num_values // _SPARKS)
    brightest = np.empty(0)
    for values in parts:
        beyond = values[np.isfinite(values) & (values > usual)].astype(np.float64)
        brightest = np.concatenate([brightest, beyond])
        if len(brightest) > num_sparks + 1:
            brightest = np.partition(brightest, -num_sparks - 1)[-num_sparks - 1 :]
    if not len(brightest):
        return usual
    others = float(brightest.min()) if len(brightest) > num_sparks else usual
    most = float(brightest.max())
    return others if most > _BEYOND * others else most


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale deep greys: white is 65535 for integers and 1 for floats, or what `find_white` finds beyond."""
    white = 1.0 if image.mode.startswith("F") else 65535.0
    if not image.mode.startswith("I;16"):  # those cannot lie beyond
        white = find_white((values for _, values in _bands(image)), white, image.width * image.height)
    grey = np.empty((image.height, image.width), np.uint8)
    for top, values in _bands(image):
        grey[top : top + len(values)] = np.clip(values, 0, white) * (255 / white) + 0.5
    return Image.fromarray(grey)


def _hide(grey: Image.Image, deep: Image.Image, clear: float) -> Image.Image:
    """Return LA, the grey with what has the value `clear` in the deep picture made transparent."""
    alpha = np.empty((deep.height, deep.width), np.uint8)
    for top, values in _bands(deep):
        alpha[top : top + len(values)] = 255 * (values != clear)
    return Image.merge("LA", (grey, Image.fromarray(alpha)))


def _bands(image: Image.Image) -> Iterator[tuple[int, Float32Array]]:
    """Yield the first row and the values, (h, W) float32, of one part after the other: memory stays small."""
    for top in range(0, image.height, _BAND_ROWS):
        part = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        yield top, np.nan_to_num(np.asarray(part, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB, transparent pixels laid on white."""
    if image.mode not in ("LA", "RGBA"):
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
