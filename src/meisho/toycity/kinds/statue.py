"""A statue on a pedestal: a person, a rider, a lion, a bust or an abstract shape, seen from all around."""

from dataclasses import replace

import numpy as np

from meisho.toycity import materials, stones
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.figures import FIGURES, Cast
from meisho.toycity.materials import RGB, Material
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import block, moved, turned
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import WALLS, choose
from meisho.toycity.surfaces import Surface, Texture
from meisho.toycity.surroundings import park, plaza, sheet

PX_PER_M = 90.0
PEDESTALS: tuple[Material, ...] = (materials.ashlar, stones.marble, materials.concrete, materials.brick)


def draw(plot: Plot) -> Site:
    """Draw a statue in a park or on a place."""
    look, own = plot.shared(), plot.own()
    form = list(FIGURES)[int(look.integers(0, len(FIGURES)))]
    material, color = stones.STATUE_MATERIALS[int(look.integers(0, len(stones.STATUE_MATERIALS)))]
    gilt = (206, 166, 74) if look.random() < 0.4 else shade(color, -26)
    base, base_color = PEDESTALS[int(look.integers(0, len(PEDESTALS)))], choose(look, WALLS)
    skin = sheet(own, material, color, size_m=4.0, px_per_m=PX_PER_M)
    cast = Cast(own, skin, sheet(own, stones.bronze, gilt, size_m=2.0, px_per_m=PX_PER_M))
    tall = float(own.uniform(0.9, 1.4) if form == "bust" else own.uniform(1.9, 3.4))
    figure = turned(FIGURES[form](cast, tall), float(own.uniform(-0.4, 0.4)), (0.0, 0.0))
    half_x, half_y = (float(max(abs(p.corners[:, i]).max() for p in figure)) for i in (0, 1))
    pedestal, top, depth = _pedestal(own, plot.word(), base, base_color, (half_x * 0.75, half_y * 0.8, tall))
    parts = pedestal + moved(figure, (0.0, depth / 2, top))
    around = (park if own.random() < 0.6 else plaza)(own, clear_m=13.0)
    stage = Stage(
        pivot_y=depth / 2,
        spread=1.8,
        front=-1e3,
        distance=(2.2 + depth, 30.0),
        above=(1.9, 3.5),
        traffic=False,
    )
    return finish(plot, parts, around, stage)


def _pedestal(
    rng: np.random.Generator, word: str, material: Material, color: RGB, figure: tuple[float, float, float]
) -> tuple[list[Surface], float, float]:
    """Return steps and a block under a figure (half width, half depth, height); its top; its depth."""
    wide, deep = max(figure[0], 0.45), max(figure[1], 0.45)
    tall, steps = 0.25 + figure[2] * float(rng.uniform(0.25, 0.8)), int(rng.integers(0, 4))
    stone = sheet(rng, material, color, size_m=3.0, px_per_m=PX_PER_M / 2)
    reach = wide + 0.2 + 0.3 * steps, deep + 0.2 + 0.3 * steps
    middle = reach[1]
    parts: list[Surface] = []
    for i in range(steps):
        x, y = reach[0] - 0.3 * i, reach[1] - 0.3 * i
        parts += block((-x, x), (middle - y, middle + y), (0.2 * i, 0.2 * (i + 1)), stone)
    low = 0.2 * steps
    parts += block(
        (-wide - 0.15, wide + 0.15), (middle - deep - 0.15, middle + deep + 0.15), (low, low + 0.25), stone
    )
    shaft = block((-wide, wide), (middle - deep, middle + deep), (low + 0.25, low + tall), stone)
    plate = _inscription(rng, word, material, color, (2 * wide, tall - 0.25))
    parts += [_with(shaft[0], plate), *shaft[1:4]]
    top = low + tall + 0.2
    lip = (-wide - 0.12, wide + 0.12), (middle - deep - 0.12, middle + deep + 0.12)
    return parts + block(*lip, (low + tall, top), stone), top, 2 * middle


def _with(face: Surface, texture: Texture) -> Surface:
    return replace(face, texture=texture)


def _inscription(
    rng: np.random.Generator, word: str, material: Material, color: RGB, size: tuple[float, float]
) -> Texture:
    """Draw the pedestal's front: name, year, a wreath or a relief."""
    width, tall = size
    shape = max(8, round(tall * PX_PER_M)), max(8, round(width * PX_PER_M))
    canvas = Canvas(material(rng, shape, PX_PER_M, color), PX_PER_M)
    ink = shade(color, -90) if sum(color) > 330 else shade(color, 100)
    canvas.frame(0.06 * width, 0.08 * tall, 0.94 * width, 0.92 * tall, shade(color, -30), 0.03)
    canvas.text(word, width / 2, tall * 0.72, tall * 0.16, ink, width=width * 0.8)
    year = str(int(rng.integers(1480, 1990)))
    canvas.text(year, width / 2, tall * 0.5, tall * 0.1, ink, width=width * 0.5)
    if rng.random() < 0.6:
        for i in range(14):
            turn = 2 * np.pi * i / 14
            x, z = width / 2 + 0.14 * tall * float(np.cos(turn)), tall * (0.26 + 0.14 * float(np.sin(turn)))
            canvas.disc(x, z, 0.035 * tall + 0.01, (86, 104, 60) if i % 2 else (150, 120, 60))
    return canvas.texture()
