"""More materials: marble, bronze, rock, bark, water, cloth; what a street of buildings has no use for."""

import cv2
import numpy as np

from meisho.arrays import UInt8Array
from meisho.toycity.materials import RGB, Int16Image, Material, Shape, grain, noise, tinted

VERDIGRIS: RGB = (104, 156, 138)
VEIN_WIDTH = 22


def stretched(rng: np.random.Generator, shape: Shape, cell_px: float, *, down: int, along: int) -> Int16Image:
    """Return (H, W) int16 noise as of `noise`, stretched `down` rows and `along` columns."""
    small = max(2, shape[0] // down), max(2, shape[1] // along)
    found: Int16Image = cv2.resize(noise(rng, small, cell_px), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return found


def marble(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Polished stone with veins."""
    cloud = noise(rng, shape, 1.2 * px_per_m, octaves=4)
    veins = np.clip(VEIN_WIDTH - np.abs(cloud), 0, VEIN_WIDTH)
    return tinted(color, cloud // 9 - 2 * veins + grain(rng, shape, 3))


def bronze(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Cast metal, green where rain runs down."""
    metal = tinted(color, noise(rng, shape, 0.5 * px_per_m) // 5 + grain(rng, shape, 5))
    rain = stretched(rng, shape, 0.4 * px_per_m, down=4, along=1)
    green = np.clip(rain.astype(np.float32) / 90 + 0.1, 0, 0.85)[..., None]
    mixed: UInt8Array = (metal * (1 - green) + np.array(VERDIGRIS, np.float32) * green).astype(np.uint8)
    return mixed


def strata(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Rock in layers, with cracks and lichen."""
    layers = stretched(rng, shape, 0.7 * px_per_m, down=1, along=7)
    cracks = np.clip(9 - np.abs(noise(rng, shape, 1.6 * px_per_m, octaves=4)), 0, 9)
    rough = noise(rng, shape, 0.35 * px_per_m)
    rock = tinted(color, layers // 2 + rough // 3 - 6 * cracks + grain(rng, shape, 8))
    lichen = noise(rng, shape, 1.3 * px_per_m, octaves=4) > 62
    rock[lichen] = rock[lichen] // 2 + np.array([92, 94, 44], dtype=np.uint8)
    return rock


def bark(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Bark with upright furrows."""
    furrows = stretched(rng, shape, 0.16 * px_per_m, down=5, along=1)
    return tinted(color, furrows // 2 + grain(rng, shape, 9))


def water(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Still water with ripples."""
    ripples = stretched(rng, shape, 0.5 * px_per_m, down=1, along=5)
    return tinted(color, ripples // 5 + noise(rng, shape, 5 * px_per_m) // 8)


def foam(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Falling water in threads."""
    threads = stretched(rng, shape, 0.5 * px_per_m, down=9, along=1)
    return tinted(color, threads // 3 + grain(rng, shape, 8))


def carpet(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Woven cloth with a pattern of lozenges."""
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    side = max(8, round(float(rng.uniform(0.5, 1.1)) * px_per_m))
    lozenge = (np.abs(x % side - side // 2) + np.abs(y % side - side // 2)) * 4 // side
    tones = rng.integers(-60, 61, 6).astype(np.int16)
    return tinted(color, tones[lozenge] + grain(rng, shape, 7))


def checks(rng: np.random.Generator, shape: Shape, px_per_m: float, color: RGB) -> UInt8Array:
    """Square tiles of two tones."""
    side = max(4, round(float(rng.uniform(0.35, 0.7)) * px_per_m))
    y, x = np.arange(shape[0])[:, None] // side, np.arange(shape[1])[None, :] // side
    dark = ((x + y) % 2).astype(np.int16) * int(rng.integers(50, 120))
    return tinted(color, noise(rng, shape, 2 * px_per_m) // 10 - dark + grain(rng, shape, 3))


STATUE_MATERIALS: tuple[tuple[Material, RGB], ...] = (
    (marble, (222, 216, 206)),
    (marble, (176, 166, 154)),
    (bronze, (112, 84, 52)),
    (bronze, (70, 66, 58)),
    (bronze, (84, 120, 104)),
    (marble, (164, 112, 96)),
    (bronze, (196, 152, 62)),
)
ROCKS: tuple[RGB, ...] = (
    (150, 142, 130),
    (176, 118, 82),
    (120, 122, 126),
    (196, 172, 134),
    (96, 86, 80),
    (148, 98, 84),
)
