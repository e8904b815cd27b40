"""A square: houses on three sides, a monument in the middle, a pattern on the ground."""

from dataclasses import replace

import numpy as np

from meisho.toycity import clutter, materials, stones
from meisho.toycity.buildings import build
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.figures import FIGURES, Cast
from meisho.toycity.materials import RGB, Material
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import block, moved, turned
from meisho.toycity.site import Site, Stage, standing
from meisho.toycity.styles import ROW_FAMILIES, Style, choose, city_styles, names, sibling_style
from meisho.toycity.surfaces import Surface, Texture, floor, frustum, revolve
from meisho.toycity.surroundings import FAR_M, SLABS, horizon, sheet, tile

HOUSE_PX_PER_M = 20.0
HALF_M = 15.0
DEEP_M = 22.0


def draw(plot: Plot) -> Site:
    """Draw a square; siblings have houses of one style, and houses of another that is their own."""
    look, own = plot.shared(), plot.own()
    styles = [s for s in city_styles(look)[0] if s.name in ROW_FAMILIES]
    shared = int(look.integers(0, len(styles)))
    chosen = [styles[shared], styles[(shared + int(own.integers(1, len(styles)))) % len(styles)]]
    slab, stone = choose(look, SLABS), choose(look, SLABS)
    figure = list(FIGURES)[int(look.integers(0, len(FIGURES)))]
    parts = moved(_monument(own, stone, figure), (float(own.uniform(-4, 4)), -float(own.uniform(9, 12)), 0.0))
    parts += _row(own, chosen, 2 * HALF_M)
    for side in (-1, 1):
        row = turned(_row(own, chosen, DEEP_M), -side * np.pi / 2, (0.0, 0.0))
        parts += moved(row, (side * HALF_M, -DEEP_M / 2, 0.0))
    stage = Stage(
        spread=0.7,
        front=13.0,
        distance=(15.0, 60.0),
        above=(3.0, 9.0),
        room=((-HALF_M + 2, HALF_M - 2), (-60.0, -13.0)),
        people_x=(-HALF_M + 1, HALF_M - 1),
        people_y=(-DEEP_M, -2.0),
        traffic=False,
    )
    lamps = tuple((x, y, 4.0) for x in (-HALF_M + 3, HALF_M - 3) for y in (-4.0, -14.0))
    return finish(plot, parts, _ground(own, slab, lamps), stage, lamps=lamps)


def _row(rng: np.random.Generator, styles: list[Style], length: float) -> list[Surface]:
    """Return houses along x, their fronts on y = 0, from -length / 2 to length / 2 or a little further."""
    parts: list[Surface] = []
    edge = -length / 2
    signs = names(rng, 8)
    while edge < length / 2 - 3:
        style = replace(
            sibling_style(styles[int(rng.integers(0, len(styles)))], rng), storeys=(2, 4), bays=(3, 5)
        )
        word = signs[len(parts) % 8] if rng.random() < 0.5 else ""
        house = build(rng, style, word, HOUSE_PX_PER_M)
        parts += house.moved(round(edge + house.width / 2, 3), 0.0)
        edge += house.width + 0.05
    return parts


def _monument(rng: np.random.Generator, color: RGB, figure: str) -> list[Surface]:
    """Return a column with a figure, a fountain or an obelisk, around x = y = 0."""
    stone = sheet(rng, materials.ashlar, shade(color, 20), size_m=4.0, px_per_m=40)
    kind = rng.random()
    steps: list[Surface] = []
    for i in range(int(rng.integers(1, 4))):
        half = 2.4 - 0.35 * i
        steps += block((-half, half), (-half, half), (0.22 * i, 0.22 * (i + 1)), stone)
    low = max(float(p.corners[:, 2].max()) for p in steps)
    if kind < 0.4:
        tall = float(rng.uniform(1.5, 8.0))
        skin = sheet(rng, stones.bronze, (96, 86, 66), size_m=3.0, px_per_m=60)
        cast = Cast(rng, skin, skin)
        shaft = [(0.9, low), (0.65, low + 0.6), (0.5, low + tall), (0.85, low + tall + 0.4)]
        column = revolve((0.0, 0.0), shaft, stone, sides=10, facade=True)
        return steps + column + moved(FIGURES[figure](cast, 2.4), (0.0, 0.0, low + tall + 0.4))
    if kind < 0.7:
        reach, tall = float(rng.uniform(2.0, 3.4)), float(rng.uniform(2.0, 4.5))
        bowl = [
            (reach, 0.0),
            (reach, 0.8),
            (reach - 0.3, 0.8),
            (reach - 0.3, 0.5),
            (0.5, 0.5),
            (0.3, tall * 0.5),
        ]
        bowl += [(reach * 0.5, tall * 0.6), (0.25, tall * 0.66), (0.18, tall), (0.0, tall + 0.3)]
        return revolve((0.0, 0.0), bowl, stone, sides=10, facade=True)
    tall, half = float(rng.uniform(6, 12)), float(rng.uniform(0.6, 1.0))
    needle = frustum(
        (-half, half), (-half, half), (low, tall), (-half / 2, half / 2), (-half / 2, half / 2), stone
    )
    tip = frustum((-half / 2, half / 2), (-half / 2, half / 2), (tall, tall + 0.8), (0, 0), (0, 0), stone)
    return steps + [replace(p, facade=True) for p in needle + tip]


def _ground(
    rng: np.random.Generator, slab: RGB, lamps: tuple[tuple[float, float, float], ...]
) -> list[Surface]:
    far = tile(rng, materials.paving, shade(slab, -16))
    parts = [floor((-FAR_M, FAR_M), (-FAR_M, FAR_M), -0.02, far)]
    parts.append(floor((-HALF_M, HALF_M), (-DEEP_M, 0.0), 0.0, _pattern(rng, slab)))
    lamp = clutter.lamp(rng)
    parts += [standing(lamp, x, y) for x, y, _ in lamps]
    return parts + horizon(rng, town=True)


def _pattern(rng: np.random.Generator, slab: RGB) -> Texture:
    """Draw the pavement: rings, rays or a chequer in a second colour."""
    px, kind = 20.0, int(rng.integers(0, 3))
    material: Material = materials.rubble if kind else materials.paving
    canvas = Canvas(material(rng, (round(DEEP_M * px), round(2 * HALF_M * px)), px, slab), px)
    other = shade(slab, -50 if sum(slab) > 400 else 50)
    x, z = canvas.width / 2, canvas.height / 2
    if kind == 0:
        for i in range(5, 0, -1):
            canvas.disc(x, z, 2.0 * i, other if i % 2 else slab)
    elif kind == 1:
        for i in range(8):
            turn = 2 * np.pi * i / 8
            canvas.bar((x, z), (x + 14 * float(np.cos(turn)), z + 14 * float(np.sin(turn))), 0.8, other)
    else:
        for i in range(6):
            for j in range(4):
                if (i + j) % 2:
                    canvas.rect(5.0 * i, 5.5 * j, 5.0 * (i + 1), 5.5 * (j + 1), other)
    canvas.weather(materials.noise(rng, canvas.shape, 4 * px) // 8)
    return canvas.texture()
