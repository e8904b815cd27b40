"""Faults of real cameras: of the lens, of the hand, of the sensor and of the file."""

from collections.abc import Callable

import cv2
import numpy as np

from meisho.arrays import Float32Array, UInt8Array

MOST_FAULTS = 3
FRINGE = 0.006
"""Largest difference in size between the red, green and blue pictures, as a share."""


def spoil(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Return a photo (H, W, 3) with one to three faults, in the order in which a camera makes them."""
    count = int(rng.integers(1, MOST_FAULTS + 1))
    chosen = sorted(int(i) for i in rng.permutation(len(FAULTS))[:count])
    for i in chosen:
        pixels = FAULTS[list(FAULTS)[i]](rng, pixels)
    return pixels


def defocus(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Blur with the disc of an open lens."""
    radius = float(rng.uniform(1.0, 3.6))
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return _filtered(pixels, kernel)


def shake(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Blur along a line in any direction: a hand that moved."""
    long, turn = float(rng.uniform(3, 15)), float(rng.uniform(0, np.pi))
    reach = int(np.ceil(long / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for step in np.linspace(-long / 2, long / 2, 48):
        kernel[round(reach + step * np.sin(turn)), round(reach + step * np.cos(turn))] += 1
    return _filtered(pixels, kernel)


def _filtered(pixels: UInt8Array, kernel: np.ndarray) -> UInt8Array:
    even = (kernel / kernel.sum()).astype(np.float32)
    blurred: UInt8Array = cv2.filter2D(pixels, -1, even, borderType=cv2.BORDER_REFLECT)
    return blurred


def fringe(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Draw red a little larger and blue a little smaller than green, or the other way round."""
    height, width = pixels.shape[:2]
    grow = float(rng.uniform(0.3, 1.0)) * FRINGE * float(rng.choice([-1.0, 1.0]))
    planes = list(cv2.split(pixels))
    for plane, sign in ((0, 1), (2, -1)):
        scale = 1 + sign * grow
        shift = np.array([[scale, 0, (1 - scale) * width / 2], [0, scale, (1 - scale) * height / 2]])
        planes[plane] = cv2.warpAffine(planes[plane], shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
    fringed: UInt8Array = cv2.merge(planes)
    return fringed


def vignette(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Darken the corners, as cos^4 of the angle does."""
    height, width = pixels.shape[:2]
    reach = float(rng.uniform(0.5, 1.1))
    y = ((np.arange(height, dtype=np.float32) - height / 2) / (width / 2)) ** 2
    x = ((np.arange(width, dtype=np.float32) - width / 2) / (width / 2)) ** 2
    fall: Float32Array = (1 / (1 + reach * (y[:, None] + x[None, :])) ** 2).astype(np.float32)
    return _clipped(pixels * fall[..., None])


def overexpose(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Burn out what is light, or drown what is dark."""
    stops = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.5, 1.2))
    table = np.clip(np.arange(256) * 2.0**stops, 0, 255).astype(np.uint8)
    exposed: UInt8Array = cv2.LUT(pixels, table)
    return exposed


def cast(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Tint everything: the wrong white balance."""
    warm, green = float(rng.uniform(-0.28, 0.28)), float(rng.uniform(-0.08, 0.08))
    gains = np.array([1 + warm, 1 + green, 1 - warm], dtype=np.float32)
    return _clipped(pixels * gains)


def sensor(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Add noise that grows with the light, and blotches of colour, as of a small sensor at night."""
    height, width = pixels.shape[:2]
    strength = float(rng.uniform(2, 9))
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    blotches = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    color = cv2.resize(blotches, (width, height), interpolation=cv2.INTER_LINEAR)
    spread = strength * (0.5 + np.sqrt(pixels.astype(np.float32) / 255))
    return _clipped(pixels + spread * (grain + 0.8 * color))


def sharpen(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Sharpen too much, with light seams along edges."""
    soft = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.8, 1.8)))
    amount = float(rng.uniform(0.8, 2.0))
    sharp: UInt8Array = cv2.addWeighted(pixels, 1 + amount, soft, -amount, 0)
    return sharp


def shrink(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Make it small and large again: a thumbnail that was blown up."""
    height, width = pixels.shape[:2]
    share = float(rng.uniform(0.3, 0.6))
    small = cv2.resize(pixels, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    large: UInt8Array = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def squeeze(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Save it as JPEG once or twice in low quality, its blocks shifted."""
    for _ in range(int(rng.integers(1, 3))):
        top, left = (int(v) for v in rng.integers(0, 8, 2))
        rolled = np.roll(pixels, (top, left), axis=(0, 1))
        quality = int(rng.integers(12, 40))
        done, data = cv2.imencode(".jpg", rolled, [cv2.IMWRITE_JPEG_QUALITY, quality])
        saved = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
        assert saved is not None
        pixels = np.roll(saved.astype(np.uint8), (-top, -left), axis=(0, 1))
    return pixels


def _clipped(light: np.ndarray) -> UInt8Array:
    clipped: UInt8Array = np.clip(light, 0, 255).astype(np.uint8)
    return clipped


FAULTS: dict[str, Callable[[np.random.Generator, UInt8Array], UInt8Array]] = {
    "defocus": defocus,
    "shake": shake,
    "fringe": fringe,
    "vignette": vignette,
    "overexpose": overexpose,
    "cast": cast,
    "sensor": sensor,
    "sharpen": sharpen,
    "shrink": shrink,
    "squeeze": squeeze,
}
"""Name -> function of random numbers and a photo (H, W, 3), in the order of a camera."""
