"""The shell of a room that is seen from inside, and its light."""

from dataclasses import replace

import numpy as np

from meisho.toycity import materials, stones
from meisho.toycity.light import Sky
from meisho.toycity.materials import RGB, Material
from meisho.toycity.site import Stage
from meisho.toycity.styles import WALLS, choose
from meisho.toycity.surfaces import Surface, Texture, floor, slope, wall
from meisho.toycity.surroundings import tile

BLACK = (20.0, 18.0, 16.0)
NO_SUN = (0.0, 0.0, 0.0)
INDOORS: tuple[Sky, ...] = (
    Sky("daylight", 4, (0.86, 0.86, 0.86), NO_SUN, BLACK, BLACK, 0.0, BLACK),
    Sky("lamplight", 3, (0.92, 0.80, 0.62), NO_SUN, BLACK, BLACK, 0.0, BLACK),
    Sky("shade", 2, (0.62, 0.66, 0.74), NO_SUN, BLACK, BLACK, 0.0, BLACK),
    Sky("evening", 1, (0.42, 0.34, 0.28), NO_SUN, BLACK, BLACK, 0.0, BLACK, 0.0, 0.7),
    Sky("neon", 0.6, (0.74, 0.84, 0.80), NO_SUN, BLACK, BLACK, 0.0, BLACK),
)
"""Lights of a room; the first three are fair."""
FLOORS: tuple[Material, ...] = (
    materials.planks,
    stones.checks,
    stones.carpet,
    stones.marble,
    materials.paving,
)
FLOOR_COLORS: tuple[RGB, ...] = (
    (150, 106, 70),
    (206, 196, 178),
    (122, 50, 46),
    (112, 84, 62),
    (180, 178, 172),
    (70, 86, 100),
)


def room_stage(
    width: float, depth: float, height: float, *, nearest: float = 2.5, spread: float = 0.7
) -> Stage:
    """Return where a room of this size is photographed from: between its walls."""
    inside = (-width / 2 + 0.5, width / 2 - 0.5), (-depth + 0.4, -nearest)
    return Stage(
        spread=spread,
        distance=(nearest, depth),
        front=nearest,
        above=(1.1, min(2.6, height - 0.5)),
        room=inside,
        people_x=(-width / 2 + 0.6, width / 2 - 0.6),
        people_y=(-depth * 0.6, -0.8),
        traffic=False,
        indoors=True,
        skies=INDOORS,
    )


def shell(
    size: tuple[float, float, float], back: Texture, side: Texture, ceiling: Texture, ground: Texture
) -> list[Surface]:
    """Return the inner faces of a room: its back wall on y = 0, the rest at y < 0.

    Args:
        size: Width, depth and height, metres.
        back: The back wall, and the one behind the camera.
        side: The walls on both sides.
        ceiling: The ceiling.
        ground: The floor.
    """
    width, depth, height = size
    x, near = width / 2, -depth
    upside = [(-x, 0.0, height), (x, 0.0, height), (x, near, height), (-x, near, height)]
    parts = [
        wall((-x, 0.0), (x, 0.0), 0, height, back, facade=True),
        wall((-x, near), (-x, 0.0), 0, height, side, facade=True),
        wall((x, 0.0), (x, near), 0, height, side, facade=True),
        wall((x, near), (-x, near), 0, height, back),
        slope(upside, ceiling),
        floor((-x, x), (near, 0.0), 0.0, ground),
    ]
    return parts[:3] + [replace(part, facade=True) for part in parts[3:]]


def pick_floor(rng: np.random.Generator) -> Texture:
    """Draw a floor: boards, tiles, carpet or stone."""
    return tile(rng, FLOORS[int(rng.integers(0, len(FLOORS)))], choose(rng, FLOOR_COLORS))


def pick_plain(rng: np.random.Generator) -> Texture:
    """Draw plain paint for a wall or a ceiling."""
    return tile(rng, materials.plaster, choose(rng, WALLS))
