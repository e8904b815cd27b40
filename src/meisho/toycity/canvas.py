"""Drawing on a wall in metres: x from the left edge, z up from the lower edge."""

from collections.abc import Sequence

import cv2
import numpy as np

from meisho.arrays import UInt8Array
from meisho.toycity.materials import RGB, Int16Image
from meisho.toycity.surfaces import Point, Texture

SHIFT = 4
LETTERS = cv2.FONT_HERSHEY_DUPLEX


def shade(color: RGB, light: int) -> RGB:
    """Return `color` made lighter (or darker) by `light` of 255."""
    r, g, b = (min(max(c + light, 0), 255) for c in color)
    return r, g, b


def mixed(first: RGB, second: RGB) -> RGB:
    """Return the colour halfway between two."""
    r, g, b = ((x + y) // 2 for x, y in zip(first, second, strict=True))
    return r, g, b


class Canvas:
    """A wall to draw on.

    Args:
        image: (H, W, 3) uint8 RGB, the wall's material; copied.
        px_per_m: Pixels per metre.

    Attributes:
        width: Width of the wall, metres.
        height: Height of the wall, metres.
    """

    def __init__(self, image: UInt8Array, px_per_m: float) -> None:
        self._image = image.copy()
        self._glow = np.zeros(image.shape[:2], dtype=np.uint8)
        self._px_per_m = px_per_m
        self.height, self.width = image.shape[0] / px_per_m, image.shape[1] / px_per_m

    def polygon(self, points: Sequence[Point], color: RGB, *, glow: int = 0) -> None:
        """Fill a polygon given as (x, z); `glow`, 0 to 255, is its light at night."""
        pixels = np.array([[x, self.height - z] for x, z in points]) * self._px_per_m - 0.5
        fixed = [np.round(pixels * 2**SHIFT).astype(np.int32)]
        cv2.fillPoly(self._image, fixed, color, lineType=cv2.LINE_AA, shift=SHIFT)
        cv2.fillPoly(self._glow, fixed, glow, lineType=cv2.LINE_8, shift=SHIFT)

    def rect(self, x0: float, z0: float, x1: float, z1: float, color: RGB, *, glow: int = 0) -> None:
        """Fill a rectangle."""
        self.polygon([(x0, z0), (x1, z0), (x1, z1), (x0, z1)], color, glow=glow)

    def frame(self, x0: float, z0: float, x1: float, z1: float, color: RGB, thick: float) -> None:
        """Draw four bars just inside a rectangle."""
        self.rect(x0, z0, x1, z0 + thick, color)
        self.rect(x0, z1 - thick, x1, z1, color)
        self.rect(x0, z0, x0 + thick, z1, color)
        self.rect(x1 - thick, z0, x1, z1, color)

    def disc(self, x: float, z: float, radius: float, color: RGB, *, glow: int = 0) -> None:
        """Fill a circle."""
        turn = 2 * np.pi * np.arange(28) / 28
        points = zip(x + radius * np.cos(turn), z + radius * np.sin(turn), strict=True)
        self.polygon([(float(a), float(b)) for a, b in points], color, glow=glow)

    def bar(self, start: Point, end: Point, thick: float, color: RGB, *, glow: int = 0) -> None:
        """Draw a straight bar `thick` metres wide."""
        (x0, z0), (x1, z1) = start, end
        length = float(np.hypot(x1 - x0, z1 - z0)) or 1.0
        dx, dz = -(z1 - z0) / length * thick / 2, (x1 - x0) / length * thick / 2
        outline = [(x0 + dx, z0 + dz), (x1 + dx, z1 + dz), (x1 - dx, z1 - dz), (x0 - dx, z0 - dz)]
        self.polygon(outline, color, glow=glow)

    def text(
        self, words: str, x: float, z: float, height: float, color: RGB, *, width: float, glow: int = 0
    ) -> None:
        """Write `words` centred on (x, z), at most `width` metres long."""
        (wide, tall), _ = cv2.getTextSize(words, LETTERS, 1.0, 2)
        scale = min(height * self._px_per_m / tall, width * self._px_per_m / wide)
        thick = max(1, round(scale * 2.2))
        at = x * self._px_per_m - wide * scale / 2, (self.height - z) * self._px_per_m + tall * scale / 2
        corner = round(at[0]), round(at[1])
        cv2.putText(self._image, words, corner, LETTERS, scale, color, thick, cv2.LINE_AA)
        if glow:
            cv2.putText(self._glow, words, corner, LETTERS, scale, glow, thick, cv2.LINE_8)

    def shadow(self, x0: float, z0: float, x1: float, z1: float, per_cent: int) -> None:
        """Darken a rectangle by `per_cent`."""
        columns = slice(max(round(x0 * self._px_per_m), 0), max(round(x1 * self._px_per_m), 0))
        rows = [max(round((self.height - z) * self._px_per_m), 0) for z in (z1, z0)]
        part = self._image[rows[0] : rows[1], columns]
        part[...] = (part.astype(np.uint16) * (100 - per_cent) // 100).astype(np.uint8)

    def weather(self, light: Int16Image) -> None:
        """Add `light` (H, W) to every pixel."""
        self._image[...] = np.clip(self._image.astype(np.int16) + light[..., None], 0, 255).astype(np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        return self._image.shape[0], self._image.shape[1]

    def texture(self, *, cutout: bool = False) -> Texture:
        """Return the drawing; with `cutout`, everything that does not glow is transparent."""
        return Texture(np.dstack([self._image, self._glow]), self._px_per_m, cutout)
