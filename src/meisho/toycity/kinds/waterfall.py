"""A waterfall over a cliff, its pool and the boulders in it."""

import numpy as np

from meisho.arrays import Float64Array
from meisho.toycity import materials, stones
from meisho.toycity.kinds.rock import lumps
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import laid, loft, moved, patch
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import choose
from meisho.toycity.surfaces import Surface, Texture, floor
from meisho.toycity.surroundings import FAR_M, GREENS, WATERS, horizon, lawn, sheet, tile, trees

COLUMNS, ROWS = 17, 6
HALF_M = 15.0


def draw(plot: Plot) -> Site:
    """Draw a waterfall."""
    look, own = plot.shared(), plot.own()
    rock, falls, bend = (
        choose(look, stones.ROCKS),
        1 + int(look.integers(0, 3)),
        float(look.uniform(0.3, 2.2)),
    )
    skin = sheet(own, stones.strata, rock, size_m=16.0, px_per_m=26)
    cliff = _cliff(own, float(own.uniform(9, 18)), bend)
    cliff[..., 1] -= cliff[..., 1].min()
    parts = _faces(cliff, skin)
    foam = sheet(own, stones.foam, (222, 232, 238), size_m=6.0, px_per_m=40)
    parts = _falls(own, cliff, foam, falls) + parts
    parts += _boulders(own, skin)
    stage = Stage(front=8.0, distance=(9.0, 60.0), people_y=(-13.0, -8.5), traffic=False)
    return finish(plot, parts, _valley(own, cliff), stage)


def _cliff(rng: np.random.Generator, tall: float, bend: float) -> Float64Array:
    """Return the corners of a rough wall: (ROWS, COLUMNS, 3), metres."""
    x = np.linspace(-HALF_M, HALF_M, COLUMNS)
    ways = rng.uniform(0.2, 0.9, 3), rng.uniform(0, 6, 3)
    top = tall * (1 - 0.25 * np.abs(x / HALF_M) ** 2 + 0.1 * np.sin(x * ways[0][0] + ways[1][0]))
    grid = np.zeros((ROWS, COLUMNS, 3))
    for row in range(ROWS):
        share = row / (ROWS - 1)
        ledge = 1.4 * share + 1.1 * float(rng.uniform(0, 1)) * (0 < row < ROWS - 1)
        waves = bend * (np.sin(x * ways[0][1] + ways[1][1]) + 0.5 * np.sin(x * 2.3 * ways[0][2] + row))
        y = ledge + waves + 2.5 * (1 - np.abs(x / HALF_M)) + 0.5 * rng.uniform(-1, 1, COLUMNS)
        grid[row] = np.column_stack([x + 0.4 * rng.uniform(-1, 1, COLUMNS), y, top * share])
    return grid


def _faces(grid: Float64Array, skin: Texture) -> list[Surface]:
    parts = []
    for row in range(ROWS - 1):
        for i in range(COLUMNS - 1):
            corners = [grid[row, i], grid[row, i + 1], grid[row + 1, i + 1], grid[row + 1, i]]
            part = patch(corners, skin, facade=True)
            if part is not None:
                high = skin.size_m[1] - float(corners[0][2])
                parts.append(laid(part, float(corners[0][0]) + HALF_M, high))
    return parts


def _falls(rng: np.random.Generator, grid: Float64Array, foam: Texture, count: int) -> list[Surface]:
    """Return strips of water before the cliff, as wide as one of its columns or less."""
    parts = []
    out = np.array([0.0, -0.35, 0.0])
    for i in sorted({int(v) for v in rng.integers(3, COLUMNS - 4, count)}):
        inner, outer = sorted(float(v) for v in rng.uniform(0.0, 1.0, 2))
        outer = max(outer, inner + 0.35)
        for row in range(ROWS - 1):
            wide = 0.15 * (ROWS - 1 - row) / ROWS
            low, high = (
                grid[r, i] + (grid[r, i + 1] - grid[r, i]) * np.array([[inner], [outer]])
                for r in (row, row + 1)
            )
            side = np.array([wide, 0.0, 0.0])
            part = patch(
                [low[0] - side + out, low[1] + side + out, high[1] + out, high[0] + out], foam, facade=True
            )
            if part is not None:
                parts.append(laid(part, 1.5 * i, foam.size_m[1] - float(low[0][2]) % foam.size_m[1]))
    return parts


def _boulders(rng: np.random.Generator, skin: Texture) -> list[Surface]:
    parts: list[Surface] = []
    for _ in range(int(rng.integers(2, 4))):
        x, size = float(rng.uniform(-9, 9)), float(rng.uniform(0.6, 1.7))
        rings = lumps(
            rng, [(size, -0.3), (size * 0.9, size * 0.5), (size * 0.5, size * 0.9), (0.0, size)], 0.2
        )
        parts += moved(loft(rings, skin, facade=False), (x, -float(rng.uniform(1, 4)), 0.0))
    return parts


def _valley(rng: np.random.Generator, grid: Float64Array) -> list[Surface]:
    """Return the pool, its shore, the forest above and hills."""
    pool = tile(rng, stones.water, choose(rng, WATERS))
    shore = tile(rng, materials.grass, choose(rng, GREENS))
    back, top = float(grid[-1, :, 1].max()), float(grid[-1, :, 2].min()) * 0.9
    parts = [*lawn(rng, -0.4), floor((-30, 30), (-7.0, back + 6), -0.1, pool)]
    parts.append(floor((-FAR_M, FAR_M), (-FAR_M, -7.0), 0.0, shore))
    above = trees(rng, 12, (6.0, 22.0), center=(0.0, back + 14))
    parts += moved(above, (0.0, 0.0, top))
    flank = trees(rng, 8, (19.0, 30.0), gap_rad=1.0)
    return parts + flank + horizon(rng, town=False)
