"""What stands around a landmark of any kind: ground, trees, houses, far roofs and hills."""

from dataclasses import replace

import numpy as np

from meisho.toycity import clutter, materials
from meisho.toycity.buildings import build
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB, Material
from meisho.toycity.site import standing
from meisho.toycity.styles import choose, city_styles, quiet_style
from meisho.toycity.surfaces import Point, Surface, Texture, floor, wall

SLABS: tuple[RGB, ...] = (
    (168, 160, 148),
    (140, 138, 138),
    (198, 178, 140),
    (164, 104, 84),
    (126, 138, 150),
    (208, 204, 196),
)
GREENS: tuple[RGB, ...] = ((98, 128, 66), (116, 136, 70), (84, 112, 58), (150, 146, 88))
WATERS: tuple[RGB, ...] = ((74, 104, 118), (88, 112, 96), (62, 86, 112), (110, 122, 116))
FAR_M = 150.0
"""The ground reaches so far each way."""
HOUSE_PX_PER_M = 14.0


def tile(rng: np.random.Generator, material: Material, color: RGB) -> Texture:
    """Draw a sheet of ground, about 13 m each way."""
    return Canvas(material(rng, (320, 320), 24, color), 24).texture()


def sheet(
    rng: np.random.Generator, material: Material, color: RGB, *, size_m: float = 5.0, px_per_m: float = 48.0
) -> Texture:
    """Draw a square sheet of a material."""
    side = round(size_m * px_per_m)
    return Canvas(material(rng, (side, side), px_per_m, color), px_per_m).texture()


def skyline(rng: np.random.Generator) -> list[Surface]:
    """Return distant roofs behind and beside a site."""
    far = clutter.skyline(rng, (150, 148, 150))
    views = [wall((x, 95.0), (x + 120, 95.0), 0, 26, far) for x in (-180, -60, 60)]
    for x in (-130, 130):
        views += [wall((x, y), (x, y + 120), 0, 26, far) for y in (-120, 0)]
    return [replace(v, two_sided=True) for v in views]


def lawn(rng: np.random.Generator, z: float = 0.0) -> list[Surface]:
    """Return grass as far as one sees."""
    grass = tile(rng, materials.grass, choose(rng, GREENS))
    return [replace(floor((-FAR_M, FAR_M), (-FAR_M, FAR_M), z, grass), grows=True)]


def pavement(rng: np.random.Generator) -> list[Surface]:
    """Return slabs as far as one sees."""
    material = (materials.paving, materials.ashlar, materials.rubble)[int(rng.integers(0, 3))]
    return [floor((-FAR_M, FAR_M), (-FAR_M, FAR_M), 0.0, tile(rng, material, choose(rng, SLABS)))]


def trees(
    rng: np.random.Generator, count: int, radii: Point, *, center: Point = (0.0, 0.0), gap_rad: float = 0.0
) -> list[Surface]:
    """Return trees around a point, facing it; none within `gap_rad` of the direction -y."""
    leaf = choose(rng, clutter.LEAVES)
    leafy = [clutter.tree(rng, float(rng.uniform(5, 10)), leaf) for _ in range(3)]
    parts = []
    for angle in rng.uniform(gap_rad, 2 * np.pi - gap_rad, count) - np.pi / 2:
        radius, cos, sin = float(rng.uniform(*radii)), float(np.cos(angle)), float(np.sin(angle))
        at = round(center[0] + radius * cos, 3), round(center[1] + radius * sin, 3)
        texture = leafy[int(rng.integers(0, len(leafy)))]
        tree = standing(texture, *at, along=(round(-sin, 6), round(cos, 6)))
        parts.append(replace(tree, grows=True))
    return parts


def hills(rng: np.random.Generator, color: RGB) -> Texture:
    """Draw a range of hills in front of each other, 240 m wide and 40 m tall."""
    canvas = Canvas(np.full((160, 960, 3), color, dtype=np.uint8), 4.0)
    x = np.linspace(0, 240, 49)
    for ridge in range(3):
        phase, pitch = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.015, 0.09, 3)
        tall = (26 - 7 * ridge) * (0.6 + 0.13 * sum(np.sin(pitch[i] * x + phase[i]) for i in range(3)))
        outline = [(0.0, 0.0), *zip(x.tolist(), tall.tolist(), strict=True), (240.0, 0.0)]
        canvas.polygon(outline, shade(color, -22 * ridge), glow=255)
    return canvas.texture(cutout=True)


def horizon(rng: np.random.Generator, *, town: bool) -> list[Surface]:
    """Return far roofs or hills on all four sides."""
    if town:
        far = clutter.skyline(rng, (150, 148, 150))
    else:
        far = hills(rng, choose(rng, ((118, 132, 120), (128, 138, 150), (134, 128, 104))))
    width, tall = far.size_m
    edge = 128.0
    parts = []
    for left in np.arange(-edge, edge, width):
        right = min(left + width, edge)
        parts += [
            wall((left, edge), (right, edge), 0, tall, far),
            wall((-edge, left), (-edge, right), 0, tall, far),
        ]
        parts += [
            wall((right, -edge), (left, -edge), 0, tall, far),
            wall((edge, right), (edge, left), 0, tall, far),
        ]
    return [replace(part, two_sided=True) for part in parts]


def houses(rng: np.random.Generator, y: float, reach: Point) -> list[Surface]:
    """Return a row of quiet houses along the line `y`, over the range `reach` of x."""
    styles = city_styles(rng)[0]
    surfaces: list[Surface] = []
    edge = reach[0]
    while edge < reach[1]:
        house = build(rng, quiet_style(styles, rng), "", HOUSE_PX_PER_M)
        surfaces += house.moved(round(edge + house.width / 2, 3), y)
        edge += house.width + (0.05 if rng.random() < 0.6 else float(rng.uniform(2, 6)))
    return [replace(s, facade=False) for s in surfaces]


def park(rng: np.random.Generator, *, clear_m: float = 12.0) -> list[Surface]:
    """Return a park: grass, trees from `clear_m` on around the middle, and hills or roofs far away."""
    return (
        lawn(rng)
        + trees(rng, int(rng.integers(7, 15)), (clear_m, clear_m + 25))
        + horizon(rng, town=bool(rng.random() < 0.5))
    )


def plaza(rng: np.random.Generator, *, clear_m: float = 12.0) -> list[Surface]:
    """Return a paved place: houses at `clear_m` behind, some trees, roofs far away."""
    row = houses(rng, clear_m, (-26.0, 26.0))
    leafy = trees(rng, int(rng.integers(0, 8)), (clear_m * 0.8, clear_m + 14), gap_rad=0.9)
    return pavement(rng) + row + leafy + horizon(rng, town=True)
