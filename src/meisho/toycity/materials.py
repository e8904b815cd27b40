"""Walls, roofs and ground: textures of brick, stone, plaster, tiles and so on, from noise; all uint8 RGB."""

from collections.abc import Callable

import cv2
import numpy as np

from meisho.arrays import UInt8Array

RGB = tuple[int, int, int]
Int16Image = np.ndarray[tuple[int, ...], np.dtype[np.int16]]
Shape = tuple[int, int]


def noise(rng: np.random.Generator, shape: Shape, cell_px: float, *, octaves: int = 3) -> Int16Image:
    """Return (H, W) int16 smooth noise around 0, within about ±100; the largest spots are `cell_px` wide."""
    total = np.zeros(shape, dtype=np.int16)
    for octave in range(octaves):
        cells = [max(2, round(side * 2**octave / cell_px) + 1) for side in shape]
        grid = rng.integers(0, 256, size=cells, dtype=np.uint8)
        spots = cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
        total += (spots.astype(np.int16) - 128) >> octave
    return total


def grain(rng: np.random.Generator, shape: Shape, strength: int) -> Int16Image:
    """Return (H, W) int16 noise, independent for each pixel, within ± `strength`."""
    return rng.integers(-strength, strength + 1, size=shape, dtype=np.int16)


def tinted(color: RGB, light: Int16Image) -> UInt8Array:
    """Return (H, W, 3): `color`, lighter or darker by `light` (H, W)."""
    mixed: UInt8Array = np.clip(np.array(color, dtype=np.int16) + light[..., None], 0, 255).astype(np.uint8)
    return mixed


def plaster(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Painted plaster with faint stains."""
    stains = noise(rng, shape, 3 * px_per_m) // 10 + noise(rng, shape, 0.5 * px_per_m) // 16
    return tinted(color, stains + grain(rng, shape, 4))


def _courses(
    rng: np.random.Generator, shape: Shape, size_px: Shape, spread: int
) -> tuple[Int16Image, Int16Image]:
    """Return the lightness of bricks in a bond, and a mask of the joints; both (H, W) int16."""
    height, width = size_px
    y, x = np.arange(shape[0]), np.arange(shape[1])
    row = y // height
    shifted = x[None, :] + (row[:, None] % 2) * (width // 2)
    column = shifted // width
    tones = rng.integers(-spread, spread + 1, size=(row[-1] + 1, int(column.max()) + 1), dtype=np.int16)
    joints = ((y % height == 0)[:, None] | (shifted % width == 0)).astype(np.int16)
    return tones[row[:, None], column], joints


def brick(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Bricks with pale joints."""
    size = max(3, round(0.12 * px_per_m)), max(6, round(0.34 * px_per_m))
    tones, joints = _courses(rng, shape, size, 24)
    light = tones + noise(rng, shape, 4 * px_per_m) // 8 + grain(rng, shape, 5) + joints * 30
    return tinted(color, light)


def ashlar(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Large cut stones with dark joints."""
    size = max(6, round(0.45 * px_per_m)), max(10, round(0.95 * px_per_m))
    tones, joints = _courses(rng, shape, size, 9)
    light = tones + noise(rng, shape, 2.5 * px_per_m) // 8 + grain(rng, shape, 5) - joints * 28
    return tinted(color, light)


def rubble(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Rough small stones."""
    size = max(4, round(0.26 * px_per_m)), max(7, round(0.48 * px_per_m))
    tones, joints = _courses(rng, shape, size, 26)
    light = tones + noise(rng, shape, 0.5 * px_per_m) // 5 + grain(rng, shape, 8) - joints * 22
    return tinted(color, light)


def concrete(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Cast panels with rain marks."""
    tones, joints = _courses(rng, shape, (round(1.6 * px_per_m), round(3.2 * px_per_m)), 6)
    marks = cv2.resize(
        rng.integers(0, 256, size=(4, shape[1] // 5 + 2), dtype=np.uint8),
        shape[::-1],
        interpolation=cv2.INTER_LINEAR_EXACT,
    )
    return tinted(color, tones - joints * 26 + (marks.astype(np.int16) - 128) // 12 + grain(rng, shape, 5))


def planks(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Horizontal boards."""
    tones, joints = _courses(rng, shape, (max(4, round(0.22 * px_per_m)), round(3.0 * px_per_m)), 10)
    return tinted(color, tones - joints * 34 + noise(rng, shape, 0.4 * px_per_m) // 12 + grain(rng, shape, 4))


def tiles(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Roof tiles in rows, each darker at its lower edge."""
    size = max(5, round(0.34 * px_per_m)), max(4, round(0.26 * px_per_m))
    tones, joints = _courses(rng, shape, size, 20)
    fall = (np.arange(shape[0]) % size[0] * 26 // size[0]).astype(np.int16)[:, None]
    return tinted(color, tones - fall + 10 - joints * 18 + noise(rng, shape, 3 * px_per_m) // 6)


def metal(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Sheets with upright seams, streaked by the weather."""
    seam = (np.arange(shape[1]) % max(6, round(0.6 * px_per_m)) < 2).astype(np.int16)[None, :]
    return tinted(color, noise(rng, shape, 2 * px_per_m) // 5 - seam * 24 + grain(rng, shape, 3))


def paving(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Slabs on the ground."""
    tones, joints = _courses(rng, shape, (round(0.9 * px_per_m), round(1.2 * px_per_m)), 11)
    return tinted(color, tones - joints * 24 + noise(rng, shape, 4 * px_per_m) // 7 + grain(rng, shape, 7))


def asphalt(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Road surface with patches."""
    return tinted(color, noise(rng, shape, 5 * px_per_m) // 9 + grain(rng, shape, 12))


def grass(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Lawn."""
    return tinted(color, noise(rng, shape, 0.6 * px_per_m) // 5 + noise(rng, shape, 6 * px_per_m) // 6)


Material = Callable[[np.random.Generator, Shape, float, RGB], UInt8Array]
