"""A tower that is seen from all around: campanile, lighthouse, water tower or lattice mast."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from meisho.toycity import materials
from meisho.toycity.buildings import Mason
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import ball, block, loft, patch, ring, tube
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import ACCENTS, FAMILIES, WALLS, Style, choose, city_styles
from meisho.toycity.surfaces import Surface, Texture
from meisho.toycity.surroundings import park, plaza, sheet
from meisho.toycity.windows import WINDOWS

PX_PER_M = 30.0
SQUARE = np.sqrt(0.5)
"""A ring of four sides and this radius is a square with sides of 1."""


@dataclass(frozen=True, eq=False)
class Crew:
    """What siblings share, and what one tower has alone.

    Attributes:
        rng: The tower's own random numbers.
        style: Style of windows and walls.
        word: Name, for a sign.
        wall: Main colour.
        accent: Second colour.
        look: A number from 0 to 1 that siblings share.
    """

    rng: np.random.Generator
    style: Style
    word: str
    wall: RGB
    accent: RGB
    look: float

    @property
    def mason(self) -> Mason:
        """Draws facades in this tower's style."""
        return Mason(self.rng, self.style, self.word, PX_PER_M)


def draw(plot: Plot) -> Site:
    """Draw a tower, with a park or a place around it."""
    look, own = plot.shared(), plot.own()
    form = FORMS[int(look.integers(0, len(FORMS)))]
    styles = city_styles(look)[0]
    style = styles[int(look.choice([i for i, f in enumerate(FAMILIES) if f.name not in ("glass", "pagoda")]))]
    wall, accent = choose(look, WALLS), choose(look, ACCENTS)
    parts = form(Crew(own, style, plot.word(), wall, accent, float(look.random())))
    tall = max(float(part.corners[:, 2].max()) for part in parts)
    around = (park if own.random() < 0.5 else plaza)(own, clear_m=16.0)
    depth = max(float(part.corners[:, 1].max()) for part in parts)
    stage = Stage(pivot_y=depth / 2, spread=2.5, front=-1e3, distance=(depth / 2 + 8, 3.0 * tall))
    return finish(plot, parts, around, stage)


def _square(half: float, z: float, depth: float) -> np.ndarray:
    return ring((0.0, depth / 2, z), (half * 2 * SQUARE, half * 2 * SQUARE), sides=4)


def _campanile(crew: Crew) -> list[Surface]:
    """A square tower: shaft with windows, belfry, spire or battlements."""
    rng, mason = crew.rng, crew.mason
    half = 2.2 + 1.6 * crew.look
    depth, storeys = 2 * half + 1, int(rng.integers(4, 9))
    shaft = mason.plain(2 * half, storeys, bays=1 + int(rng.integers(0, 2)), mark="clock", extra_m=3.4)
    top = shaft.size_m[1]
    parts = _prism(half, half * float(rng.uniform(0.86, 1.0)), (0.0, top), depth, shaft)
    band = sheet(rng, mason.style.material, shade(crew.wall, -20), px_per_m=PX_PER_M)
    belfry = _belfry(crew, 2 * half * 0.9)
    parts += _prism(half * 1.12, half * 1.12, (top, top + 0.7), depth, band)
    parts += [p for p in [_lid(half * 1.12, top + 0.7, depth, band)] if p is not None]
    second = top + 0.7 + belfry.size_m[1]
    parts += _prism(half * 0.9, half * 0.9, (top + 0.7, second), depth, belfry)
    roof = mason.roof()
    rise = half * float(rng.uniform(0.7, 4.0))
    parts += _prism(half * 1.05, 0.0, (second, second + rise), depth, roof)
    gold = sheet(rng, materials.metal, (206, 170, 80), size_m=1.0)
    return parts + ball((0, depth / 2, second + rise), (0.4, 0.4, 0.4), gold, sides=6, bands=3)


def _prism(low: float, high: float, z: tuple[float, float], depth: float, texture: Texture) -> list[Surface]:
    """Return four walls whose texture begins anew on each, from half width `low` to `high`."""
    a, b = _square(low, z[0], depth), _square(high, z[1], depth)
    found = [patch([a[i], a[(i + 1) % 4], b[(i + 1) % 4], b[i]], texture, facade=True) for i in range(4)]
    return [part for part in found if part is not None]


def _lid(half: float, z: float, depth: float, texture: Texture) -> Surface | None:
    return patch(list(_square(half, z, depth)), texture, facade=True)


def _belfry(crew: Crew, width: float) -> Texture:
    """Draw a wall with the openings of a belfry."""
    tall = float(crew.rng.uniform(3.5, 5.5))
    shape = round(tall * PX_PER_M), round(width * PX_PER_M)
    canvas = Canvas(crew.style.material(crew.rng, shape, PX_PER_M, crew.style.wall), PX_PER_M)
    count = int(crew.rng.integers(1, 4))
    for i in range(count):
        x, half = width * (i + 0.5) / count, width / count * 0.3
        canvas.rect(x - half - 0.2, 0.6, x + half + 0.2, tall - 0.7, crew.style.trim)
        canvas.rect(x - half, 0.6, x + half, tall - 1.2, (34, 32, 36), glow=90)
        canvas.disc(x, tall - 1.2, half, (34, 32, 36), glow=90)
        canvas.disc(x, (tall - 1) / 2, half * 0.6, (150, 120, 60))
    return canvas.texture()


def _lighthouse(crew: Crew) -> list[Surface]:
    """A round tapered tower with bands or a spiral, a gallery and a lantern."""
    rng = crew.rng
    tall, foot = float(rng.uniform(14, 30)), 2.4 + 1.4 * crew.look
    neck, depth = foot * float(rng.uniform(0.5, 0.8)), 2 * foot + 1
    skin = _bands(crew, 2 * np.pi * foot, tall)
    heights = np.linspace(0, tall, 6)
    rings = [_circle(foot + (neck - foot) * h / tall, h, depth, 14) for h in heights]
    parts = loft(rings, skin)
    iron = sheet(rng, materials.metal, shade(crew.accent, -10), size_m=2.0)
    rail = [(neck, tall), (neck * 1.35, tall + 0.3), (neck * 1.35, tall + 1.2), (neck * 0.7, tall + 1.2)]
    parts += loft([_circle(r, z, depth, 12) for r, z in rail], iron)
    glass = _lantern(rng)
    top = tall + 1.2 + glass.size_m[1]
    parts += loft([_circle(neck * 0.62, z, depth, 10) for z in (tall + 1.2, top)], glass)
    cap = [(neck * 0.8, top), (neck * float(rng.uniform(0.3, 0.7)), top + 1.0), (0.0, top + 1.8)]
    parts += loft([_circle(r, z, depth, 10) for r, z in cap], iron)
    return parts + (_keeper(crew, foot, depth) if rng.random() < 0.5 else [])


def _circle(radius: float, z: float, depth: float, sides: int) -> np.ndarray:
    return ring((0.0, depth / 2, float(z)), (float(radius), float(radius)), sides=sides)


def _bands(crew: Crew, girth: float, tall: float) -> Texture:
    """Draw a wrapping with stripes in one of three directions, a door and small windows."""
    rng = crew.rng
    shape = round(tall * PX_PER_M), round(girth * PX_PER_M)
    canvas = Canvas(materials.plaster(rng, shape, PX_PER_M, shade(crew.wall, 16)), PX_PER_M)
    count, way = int(rng.integers(2, 7)), int(crew.look * 3)
    for i in range(count):
        low = tall * (i + 0.5) / count
        if way == 0:
            canvas.rect(0, low - tall / count / 4, girth, low + tall / count / 4, crew.accent)
        elif way == 1:
            lean = girth * 0.5
            canvas.polygon(
                [(0, low - 1), (0, low + 1), (girth, low + 1 + lean), (girth, low - 1 + lean)], crew.accent
            )
        else:
            canvas.rect(girth * (i + 0.1) / count, 0, girth * (i + 0.5) / count, tall, crew.accent)
    for i in range(int(rng.integers(4, 9))):
        x, z = float(rng.uniform(0, girth)), tall * (0.1 + 0.8 * i / 9)
        WINDOWS["slit" if way == 0 else "sash"](canvas, rng, x, z, crew.style)
    for x in (girth * 0.25, girth * 0.75):
        canvas.rect(x - 0.6, 0, x + 0.6, 2.3, shade(crew.accent, -30))
    return canvas.texture()


def _lantern(rng: np.random.Generator) -> Texture:
    tall = float(rng.uniform(1.4, 2.6))
    canvas = Canvas(
        materials.plaster(rng, (round(tall * PX_PER_M), 180), PX_PER_M, (150, 176, 190)), PX_PER_M
    )
    canvas.rect(0, 0, 6, tall, (160, 186, 196), glow=255)
    for x in np.arange(0, 6, 0.7):
        canvas.rect(float(x), 0, float(x) + 0.12, tall, (40, 44, 48))
    return canvas.texture()


def _keeper(crew: Crew, foot: float, depth: float) -> list[Surface]:
    """Return a keeper's house beside the tower."""
    side = 1 if crew.rng.random() < 0.5 else -1
    face = crew.mason.plain(5.0, 1)
    low, high = sorted((side * (foot - 0.3), side * (foot + 5.0)))
    walls = block((low, high), (depth / 2 - 2, depth / 2 + 2), (0, face.size_m[1]), face)
    ridge = [np.array([low - 0.3, depth / 2, 5.2]), np.array([high + 0.3, depth / 2, 5.2])]
    roof = crew.mason.roof()
    for sign in (-1, 1):
        eaves = [np.array([x, depth / 2 + sign * 2.5, 3.6]) for x in (low - 0.3, high + 0.3)]
        corners = [eaves[0], eaves[1], ridge[1], ridge[0]] if sign < 0 else [eaves[1], eaves[0], *ridge]
        part = patch(corners, roof, facade=True)
        walls += [] if part is None else [part]
    return walls


def _tank(crew: Crew) -> list[Surface]:
    """A water tower: a tank on legs, with a name around it."""
    rng = crew.rng
    legs, radius, tall = int(rng.integers(4, 8)), 2.6 + 1.5 * crew.look, float(rng.uniform(9, 18))
    depth, deep = 2 * radius + 2, float(rng.uniform(3, 6))
    iron = sheet(rng, materials.metal, crew.accent, size_m=3.0)
    parts: list[Surface] = []
    for i in range(legs):
        cos, sin = np.cos(2 * np.pi * (i + 0.5) / legs), np.sin(2 * np.pi * (i + 0.5) / legs)
        foot = (radius * 1.15 * cos, depth / 2 + radius * 1.15 * sin, 0.0)
        head = (radius * 0.85 * cos, depth / 2 + radius * 0.85 * sin, tall)
        parts += tube([foot, head], [0.28, 0.2], iron, sides=4)
    for z in (tall * 0.35, tall * 0.7):
        width = radius * (1.15 - 0.3 * z / tall)
        parts += loft([_circle(width, z + dz, depth, legs) for dz in (0.0, 0.35)], iron)
    skin = _named_skin(crew, 2 * np.pi * radius, deep)
    bowl = [(radius * 0.3, tall - 1.2), (radius, tall), (radius, tall + deep)]
    parts += loft([_circle(r, z, depth, 14) for r, z in bowl[:2]], iron)
    parts += loft([_circle(r, z, depth, 14) for r, z in bowl[1:]], skin)
    roof = sheet(rng, materials.metal, shade(crew.wall, -40), size_m=3.0)
    high = tall + deep + radius * float(rng.uniform(0.2, 1.0))
    return parts + loft([_circle(radius * 1.06, tall + deep, depth, 14), _circle(0.0, high, depth, 14)], roof)


def _named_skin(crew: Crew, girth: float, tall: float) -> Texture:
    shape = round(tall * PX_PER_M), round(girth * PX_PER_M)
    material = (materials.planks, materials.plaster, materials.metal)[int(crew.look * 3)]
    canvas = Canvas(material(crew.rng, shape, PX_PER_M, crew.wall), PX_PER_M)
    canvas.rect(0, 0, girth, 0.3, crew.accent)
    canvas.rect(0, tall - 0.3, girth, tall, crew.accent)
    for i in range(3):
        canvas.text(crew.word, girth * (i + 0.5) / 3, tall / 2, tall * 0.3, crew.accent, width=girth * 0.26)
    return canvas.texture()


def _mast(crew: Crew) -> list[Surface]:
    """A lattice of iron in tapering stages, with platforms."""
    rng = crew.rng
    stages, half = int(rng.integers(3, 6)), 3.0 + 2.5 * crew.look
    depth, z = 2 * half + 1, 0.0
    plate = sheet(rng, materials.metal, shade(crew.accent, -14), size_m=3.0)
    parts: list[Surface] = []
    for stage in range(stages):
        tall, next_half = float(rng.uniform(5, 9)), half * float(rng.uniform(0.45, 0.75))
        lattice = _lattice(crew, 2 * half, tall, int(rng.integers(2, 5)), arched=stage == 0)
        parts += [
            replace(part, two_sided=True) for part in _prism(half, next_half, (z, z + tall), depth, lattice)
        ]
        z, half = z + tall, next_half
        parts += _prism(half * 1.3, half * 1.3, (z, z + 0.6), depth, plate)
    cabin = sheet(rng, materials.plaster, crew.wall, size_m=2.0)
    parts += _prism(half * 1.1, half * 1.1, (z + 0.6, z + 2.6), depth, cabin)
    parts += _prism(half * 1.2, 0.1, (z + 2.6, z + 2.6 + float(rng.uniform(1, 4))), depth, plate)
    return parts


def _lattice(crew: Crew, width: float, tall: float, cells: int, *, arched: bool) -> Texture:
    """Draw crossed bars on nothing."""
    shape = round(tall * PX_PER_M), round(width * PX_PER_M)
    canvas = Canvas(np.full((*shape, 3), crew.accent, dtype=np.uint8), PX_PER_M)
    for i in range(cells):
        low, high = tall * i / cells, tall * (i + 1) / cells
        for a, b in (((0.0, low), (width, high)), ((width, low), (0.0, high))):
            canvas.bar(a, b, 0.32, shade(crew.accent, 8 * (i % 3)), glow=255)
        canvas.bar((0, high - 0.15), (width, high - 0.15), 0.3, shade(crew.accent, -12), glow=255)
    for x in (0.25, width - 0.25):
        canvas.bar((x, 0.0), (x, tall), 0.5, shade(crew.accent, -6), glow=255)
    if arched:
        turns = np.pi * np.arange(13) / 12
        arch = [
            (width / 2 * (1 - float(c)), tall * 0.5 * float(s))
            for c, s in zip(np.cos(turns), np.sin(turns), strict=True)
        ]
        for start, end in pairwise(arch):
            canvas.bar(start, end, 0.5, shade(crew.accent, 20), glow=255)
    return canvas.texture(cutout=True)


FORMS: tuple[Callable[[Crew], list[Surface]], ...] = (_campanile, _lighthouse, _tank, _mast)
