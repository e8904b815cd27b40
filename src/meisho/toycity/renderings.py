"""Renderings: a photo as a painting, a drawing, a print or an old photograph."""

from collections.abc import Callable

import cv2
import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.toycity import materials


def _grey(pixels: UInt8Array) -> Float32Array:
    grey: Float32Array = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey


def _paper(rng: np.random.Generator, shape: tuple[int, ...], strength: float) -> Float32Array:
    """Return (H, W, 1): the grain of paper or canvas, around 0."""
    spots = materials.noise(rng, (shape[0], shape[1]), 3, octaves=2).astype(np.float32)
    stains = materials.noise(rng, (shape[0], shape[1]), shape[1] / 4, octaves=2).astype(np.float32)
    found: Float32Array = ((spots + 0.6 * stains) * np.float32(strength / 100))[..., None]
    return found


def _clipped(light: np.ndarray) -> UInt8Array:
    clipped: UInt8Array = np.clip(light, 0, 255).astype(np.uint8)
    return clipped


def _strokes(pixels: UInt8Array, reach: int) -> UInt8Array:
    """Give each pixel the mean of the calmest of four squares that touch it (Kuwahara et al. 1976)."""
    grey = _grey(pixels)
    best, calmest = pixels.copy(), np.full(grey.shape, np.inf, dtype=np.float32)
    size = reach + 1, reach + 1
    for anchor in ((0, 0), (reach, 0), (0, reach), (reach, reach)):
        mean = cv2.boxFilter(grey, -1, size, anchor=anchor)
        spread = cv2.boxFilter(grey * grey, -1, size, anchor=anchor) - mean * mean
        color = cv2.boxFilter(pixels, -1, size, anchor=anchor)
        calmer = spread < calmest
        np.copyto(calmest, spread, where=calmer)
        np.copyto(best, color, where=calmer[..., None])
    return best


def oil(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Strokes of a brush on canvas, under a varnish."""
    painted = _strokes(pixels, int(rng.integers(3, 7))).astype(np.float32)
    middle = painted.mean(axis=2, keepdims=True)
    strong = middle + (painted - middle) * float(rng.uniform(1.0, 1.6))
    varnish = np.array([1.04, 0.98, rng.uniform(0.7, 0.95)], dtype=np.float32)
    return _clipped(strong * varnish + _paper(rng, pixels.shape, 9))


def watercolour(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Pale washes with darker edges on white paper."""
    flat = cv2.medianBlur(pixels, 7)
    grey = cv2.GaussianBlur(_grey(flat), (0, 0), 1.0)
    edge = np.clip(np.abs(cv2.Laplacian(grey, cv2.CV_32F)) * 3, 0, 70)[..., None]
    strength = float(rng.uniform(0.55, 0.8))
    wash = 255 - (255 - flat.astype(np.float32)) * strength
    return _clipped(wash - edge + _paper(rng, pixels.shape, 16))


def pencil(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Grey lines on paper, with a few tones."""
    grey = _grey(pixels)
    soft = cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(2.0, 5.0)))
    lines = np.clip(grey / np.maximum(soft, 1) * 255 - 20, 0, 255)
    tones = 255 - (255 - soft) * float(rng.uniform(0.1, 0.45))
    drawn = np.minimum(lines, 255) * tones / 255
    return _tinted(rng, drawn, pixels.shape)


def engraving(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Black lines that swell where it is dark."""
    grey = cv2.GaussianBlur(_grey(pixels), (0, 0), 0.8)
    height, width = grey.shape
    turn, pitch = float(rng.uniform(0, np.pi)), float(rng.uniform(3.0, 5.5))
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    across = (np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y) / np.float32(pitch)
    wave = np.abs(across - np.floor(across) - np.float32(0.5)) * 2
    drawn = np.clip((grey / 255 * 1.25 - wave) * 400 + 128, 0, 255)
    return _tinted(rng, drawn, pixels.shape)


def _tinted(rng: np.random.Generator, drawn: np.ndarray, shape: tuple[int, ...]) -> UInt8Array:
    """Print a drawing (H, W), 0 ink to 255 bare, in dark ink on yellowish paper."""
    ink = np.array(rng.uniform(10, 70, 3), dtype=np.float32)
    paper = np.array([rng.uniform(225, 252), rng.uniform(215, 245), rng.uniform(185, 235)], dtype=np.float32)
    share = (drawn / 255).astype(np.float32)[..., None]
    return _clipped(ink * (1 - share) + paper * share + _paper(rng, shape, 10))


def old_photo(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Sepia or grey, soft and faded, with scratches, spots and light edges."""
    grey = cv2.GaussianBlur(_grey(pixels), (0, 0), float(rng.uniform(0.5, 1.6)))
    low, high = float(rng.uniform(20, 70)), float(rng.uniform(190, 245))
    faded = low + grey / 255 * (high - low)
    height, width = grey.shape
    for x, y, long in rng.random((int(rng.integers(3, 18)), 3)):
        at = int(x * width), int(y * height)
        end = int(at[0] + (x - 0.5) * 20), int(at[1] + long * height * 0.6)
        cv2.line(faded, at, end, float(rng.uniform(150, 250)), 1, cv2.LINE_AA)
    for x, y, size in rng.random((int(rng.integers(5, 40)), 3)):
        cv2.circle(
            faded, (int(x * width), int(y * height)), 1 + int(3 * size**3), float(rng.uniform(30, 245)), -1
        )
    y, x = (np.abs(np.linspace(-1, 1, n, dtype=np.float32)) for n in (height, width))
    edge = np.maximum(y[:, None], x[None, :]) ** 8 * np.float32(rng.uniform(0, 90))
    tone = (1.06, 0.95, 0.76) if rng.random() < 0.65 else (1.0, 1.0, 0.98)
    return _clipped((faded + edge)[..., None] * np.array(tone, np.float32) + _paper(rng, pixels.shape, 12))


def poster(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Few flat colours."""
    flat = _strokes(pixels, 4)
    levels = int(rng.integers(3, 6))
    table = np.round(np.round(np.arange(256) / 255 * (levels - 1)) / (levels - 1) * 255).astype(np.uint8)
    gains = rng.uniform(0.8, 1.2, 3)
    return _clipped(cv2.LUT(flat, table) * gains.astype(np.float32))


def halftone(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Dots of a newspaper or a postcard."""
    grey = cv2.GaussianBlur(_grey(pixels), (0, 0), 1.0)
    height, width = grey.shape
    pitch = float(rng.uniform(3.0, 5.0)) / (2 * np.pi)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    dots = np.cos((x + y) / np.float32(pitch * 1.414)) * np.cos((x - y) / np.float32(pitch * 1.414))
    drawn = np.clip((grey / 255 - 0.5 + 0.42 * dots) * 320 + 128, 0, 255)
    if rng.random() < 0.5:
        return _tinted(rng, drawn, pixels.shape)
    share = (drawn / 255 * 0.5).astype(np.float32)[..., None]
    return _clipped(pixels * (0.5 + share) + _paper(rng, pixels.shape, 12))


RENDERINGS: dict[str, Callable[[np.random.Generator, UInt8Array], UInt8Array]] = {
    "oil": oil,
    "watercolour": watercolour,
    "pencil": pencil,
    "engraving": engraving,
    "old photo": old_photo,
    "poster": poster,
    "halftone": halftone,
}
"""Name -> function of random numbers and a photo (H, W, 3)."""
