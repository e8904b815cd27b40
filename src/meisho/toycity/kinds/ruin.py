"""A ruin on grass: broken walls with empty windows, columns of unequal height, fallen blocks."""

from dataclasses import dataclass, replace

import numpy as np

from meisho.toycity import clutter, materials
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB, Material
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import block, loft, moved, ring, turned
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import WALLS, choose
from meisho.toycity.surfaces import Surface, Texture, revolve, wall
from meisho.toycity.surroundings import park, sheet
from meisho.toycity.windows import arch_outline

PX_PER_M = 30.0
THICK_M = 0.7
STONES: tuple[Material, ...] = (materials.rubble, materials.ashlar, materials.brick)


@dataclass(frozen=True, eq=False)
class Remains:
    """What is left of a building.

    Attributes:
        rng: The ruin's own random numbers.
        material: Its stone.
        color: Colour of the stone.
        pointed: Whether its windows are pointed.
        ivy: Colour of what grows on it.
    """

    rng: np.random.Generator
    material: Material
    color: RGB
    pointed: bool
    ivy: RGB

    def sheet(self) -> Texture:
        """Draw a sheet of its stone."""
        return sheet(self.rng, self.material, self.color, px_per_m=PX_PER_M)


def draw(plot: Plot) -> Site:
    """Draw a ruin in the country."""
    look, own = plot.shared(), plot.own()
    form = FORMS[int(look.integers(0, len(FORMS)))]
    remains = Remains(
        own,
        STONES[int(look.integers(0, 3))],
        choose(look, WALLS),
        bool(look.random() < 0.5),
        choose(look, clutter.LEAVES),
    )
    parts = form(remains) + _fallen(remains)
    low = min(float(p.corners[:, 1].min()) for p in parts)
    parts = moved(parts, (0.0, -low, 0.0))
    depth = max(float(p.corners[:, 1].max()) for p in parts)
    stage = Stage(pivot_y=depth / 2, spread=1.5, front=-1e3, distance=(depth / 2 + 6, 60.0), traffic=False)
    return finish(plot, parts, park(own, clear_m=18.0), stage)


def _jagged(remains: Remains, width: float, tall: float, windows: int) -> Texture:
    """Draw a wall whose top has fallen, with empty windows and ivy."""
    rng = remains.rng
    shape = round(tall * PX_PER_M), round(width * PX_PER_M)
    canvas = Canvas(remains.material(rng, shape, PX_PER_M, remains.color), PX_PER_M)
    top = np.clip(tall * (0.55 + 0.42 * np.cumsum(rng.uniform(-0.5, 0.5, 13))), tall * 0.3, tall * 0.98)
    xs = np.linspace(0, width, 13)
    steps = [(0.0, 0.0)]
    for i in range(12):
        steps += [(float(xs[i]), float(top[i])), (float(xs[i + 1]), float(top[i]))]
    shown = Canvas(canvas.texture().image[..., :3], PX_PER_M)
    shown.polygon([*steps, (width, 0.0)], remains.color, glow=255)
    for i in range(windows):
        x, half = width * (i + 0.5) / windows, width / windows * 0.26
        high = min(float(top[int(12 * (i + 0.5) / windows)]) * 0.86, tall * 0.75)
        canvas.polygon(
            arch_outline(x - half - 0.25, 1.0, x + half + 0.25, high + 0.3, pointed=remains.pointed),
            shade(remains.color, 22),
        )
        shown.polygon(
            arch_outline(x - half, 1.3, x + half, high, pointed=remains.pointed), remains.color, glow=0
        )
    root = float(rng.uniform(0, width))
    for x, z, size in rng.random((90, 3)):
        canvas.disc(
            root + (x - 0.5) * width * 0.5,
            z**1.4 * tall,
            0.15 + 0.25 * float(size),
            shade(remains.ivy, int(60 * size - 30)),
        )
    image = np.dstack([canvas.texture().image[..., :3], shown.texture().image[..., 3]])
    return Texture(image, PX_PER_M, True)


def _standing(texture: Texture, y: float = 0.0) -> list[Surface]:
    """Return a wall of some thickness with this texture on both sides."""
    wide, tall = texture.size_m
    back = Texture(texture.image[:, ::-1].copy(), texture.px_per_m, True)
    return [
        wall((-wide / 2, y), (wide / 2, y), 0, tall, texture, facade=True),
        wall((wide / 2, y + THICK_M), (-wide / 2, y + THICK_M), 0, tall, back, facade=True),
    ]


def _abbey(remains: Remains) -> list[Surface]:
    """Walls of a church at right angles, and stumps of its columns."""
    rng = remains.rng
    width, tall = float(rng.uniform(8, 13)), float(rng.uniform(7, 13))
    parts = _standing(_jagged(remains, width, tall, int(rng.integers(1, 4))), float(rng.uniform(6, 9)))
    side = float(rng.choice([-1, 1]))
    flank = _standing(_jagged(remains, float(rng.uniform(7, 11)), tall * 0.7, int(rng.integers(2, 5))))
    parts += moved(turned(flank, np.pi / 2, (0.0, 0.0)), (side * width / 2, 4.0, 0.0))
    return parts + _row(remains, int(rng.integers(2, 6)), 1.0, 0.42)


def _temple(remains: Remains) -> list[Surface]:
    """Two rows of columns on steps, a few with their beam."""
    rng, stone = remains.rng, remains.sheet()
    half, depth = float(rng.uniform(4, 7)), float(rng.uniform(5, 8))
    parts: list[Surface] = []
    for step in range(3):
        grow = 0.45 * (3 - step)
        z = 0.28 * step, 0.28 * (step + 1)
        parts += block((-half - grow, half + grow), (-grow, depth + grow), z, stone)
    count, radius = int(rng.integers(4, 7)), float(rng.uniform(0.35, 0.5))
    tall = 5.0 + 2.5 * float(rng.random())
    for y in (0.5, depth - 0.5):
        whole = rng.random(count) < 0.55
        xs = np.linspace(-half + 0.5, half - 0.5, count)
        for x, keeps in zip(xs.tolist(), whole.tolist(), strict=True):
            high = tall if keeps else tall * float(rng.uniform(0.12, 0.8))
            profile = [
                (radius * 1.1, 0.84),
                (radius * 0.85, high),
                (radius * (1.5 if keeps else 0.8), high + 0.3),
            ]
            parts += revolve((x, y), profile, stone, sides=7, facade=True)
        for i in range(count - 1):
            if whole[i] and whole[i + 1]:
                parts += block(
                    (xs[i] - 0.5, xs[i + 1] + 0.5), (y - 0.5, y + 0.5), (tall + 0.3, tall + 1.2), stone
                )
    return parts


def _keep(remains: Remains) -> list[Surface]:
    """A round tower with a broken top, and a wall that runs from it."""
    rng = remains.rng
    radius, tall, sides = float(rng.uniform(2.4, 4.0)), float(rng.uniform(7, 13)), 12
    skin = sheet(rng, remains.material, remains.color, size_m=2 * np.pi * radius, px_per_m=PX_PER_M)
    top = ring((0.0, radius, tall), (radius * 0.94, radius * 0.94), sides=sides)
    top[:, 2] = tall * (0.45 + 0.5 * np.abs(np.sin(np.arange(sides) * np.pi / sides + rng.uniform(0, 3))))
    top[:, 2] += rng.uniform(-0.7, 0.7, sides)
    rings = [
        ring((0.0, radius, z), (radius * r, radius * r), sides=sides) for r, z in ((1.12, 0.0), (1.0, 1.2))
    ]
    shell = loft([*rings, top], skin)
    parts = [replace(part, two_sided=True) for part in shell]
    side = float(rng.choice([-1, 1]))
    long = float(rng.uniform(7, 12))
    broken = _standing(_jagged(remains, long, tall * 0.6, int(rng.integers(1, 4))), radius)
    return parts + moved(broken, (side * (radius * 0.9 + long / 2), 0.0, 0.0))


def _row(remains: Remains, count: int, y: float, radius: float) -> list[Surface]:
    """Return a row of broken columns along x."""
    stone, parts = remains.sheet(), []
    for i in range(count):
        tall = float(remains.rng.uniform(0.6, 4.5))
        x = (i - (count - 1) / 2) * 2.4
        parts += revolve(
            (x, y), [(radius * 1.3, 0.0), (radius, 0.35), (radius * 0.92, tall)], stone, sides=7, facade=True
        )
    return parts


def _fallen(remains: Remains) -> list[Surface]:
    """Return blocks that lie about."""
    rng, stone, parts = remains.rng, remains.sheet(), []
    for _ in range(int(rng.integers(3, 8))):
        x, y, long, tall = (float(v) for v in rng.uniform((-7, -2.5, 0.3, 0.25), (7, 3, 1.0, 0.7)))
        piece = block((x - long, x + long), (y - 0.35, y + 0.35), (0.0, tall), stone)
        parts += turned(piece, float(rng.uniform(0, 3)), (x, y))
    return parts


FORMS = (_abbey, _temple, _keep)
