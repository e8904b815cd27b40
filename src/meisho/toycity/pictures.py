"""Pictures by nobody: landscapes, seas, portraits, still lifes, patterns, drawn on a wall or a canvas."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meisho.toycity.canvas import Canvas, mixed, shade
from meisho.toycity.materials import RGB
from meisho.toycity.styles import ACCENTS, WALLS, choose

SKINS: tuple[RGB, ...] = ((228, 190, 160), (196, 148, 112), (140, 96, 70))
FRUITS: tuple[RGB, ...] = ((190, 50, 40), (214, 160, 50), (120, 140, 60), (92, 44, 88), (226, 190, 120))
SUNS: tuple[RGB, ...] = ((250, 226, 150), (240, 150, 90), (244, 240, 226))


@dataclass(frozen=True, eq=False)
class Easel:
    """A rectangle to paint in.

    Attributes:
        canvas: What it is painted on.
        rng: Random numbers of the picture.
        left: Left edge, metres from that of the canvas.
        low: Lower edge, metres above that of the canvas.
        width: Width, metres.
        height: Height, metres.
        palette: Its colours.
    """

    canvas: Canvas
    rng: np.random.Generator
    left: float
    low: float
    width: float
    height: float
    palette: tuple[RGB, ...]

    def polygon(self, points: list[tuple[float, float]], color: RGB) -> None:
        """Fill a polygon given as shares of width and height, cut at the edges."""
        inside = [(min(max(x, 0.0), 1.0), min(max(z, 0.0), 1.0)) for x, z in points]
        self.canvas.polygon(
            [(self.left + x * self.width, self.low + z * self.height) for x, z in inside], color
        )

    def disc(self, x: float, z: float, radius: float, color: RGB, *, tall: float = 1.0) -> None:
        """Fill an ellipse whose radius is a share of the smaller side."""
        r = radius * min(self.width, self.height)
        turns = 2 * np.pi * np.arange(20) / 20
        spots = zip(np.cos(turns).tolist(), np.sin(turns).tolist(), strict=True)
        self.polygon([(x + r * c / self.width, z + tall * r * s / self.height) for c, s in spots], color)

    def color(self, light: int = 0) -> RGB:
        """Return one of the palette's colours, lighter or darker by up to `light`."""
        return shade(choose(self.rng, self.palette), int(self.rng.integers(-light, light + 1)))


def pick_palette(rng: np.random.Generator, count: int = 5) -> tuple[RGB, ...]:
    """Return colours that a painter keeps to."""
    pool = ACCENTS + WALLS
    return tuple(pool[i] for i in rng.permutation(len(pool))[:count])


def _sky(easel: Easel, horizon: float) -> None:
    top, low = easel.color(20), mixed(easel.color(), (236, 226, 206))
    for i in range(8):
        share = i / 8
        r, g, b = (round(a * share + c * (1 - share)) for a, c in zip(top, low, strict=True))
        z = horizon + (1 - horizon) * share
        easel.polygon([(0, z), (1, z), (1, 1), (0, 1)], (r, g, b))
    x, z = easel.rng.uniform(0.1, 0.9), easel.rng.uniform(horizon + 0.1, 0.92)
    easel.disc(float(x), float(z), float(easel.rng.uniform(0.04, 0.12)), choose(easel.rng, SUNS))


def landscape(easel: Easel) -> None:
    """Hills, trees, a house and a path."""
    rng, horizon = easel.rng, float(easel.rng.uniform(0.35, 0.6))
    _sky(easel, horizon)
    x = np.linspace(0, 1, 15)
    for ridge in range(int(rng.integers(2, 5))):
        base = horizon * (1 - 0.25 * ridge)
        z = base + 0.12 * np.sin(x * rng.uniform(3, 14) + rng.uniform(0, 6)) * rng.uniform(0.3, 1.2)
        outline = [(0.0, 0.0), *zip(x.tolist(), z.tolist(), strict=True), (1.0, 0.0)]
        easel.polygon(outline, shade(easel.color(), -14 * ridge))
    for _ in range(int(rng.integers(2, 9))):
        at, foot, size = (float(v) for v in rng.uniform((0, 0.05, 0.03), (1, horizon, 0.11)))
        easel.polygon([(at - 0.008, foot), (at + 0.008, foot), (at, foot + size)], (66, 48, 38))
        easel.disc(at, foot + size * 1.5, size, easel.color(24), tall=1.4)
    if rng.random() < 0.7:
        _house(easel, float(rng.uniform(0.1, 0.75)), float(rng.uniform(0.1, horizon - 0.1)))


def _house(easel: Easel, x: float, z: float) -> None:
    wide, tall = (float(v) for v in easel.rng.uniform((0.1, 0.08), (0.24, 0.2)))
    wall, roof = easel.color(30), easel.color(30)
    easel.polygon([(x, z), (x + wide, z), (x + wide, z + tall), (x, z + tall)], wall)
    easel.polygon([(x - 0.02, z + tall), (x + wide + 0.02, z + tall), (x + wide / 2, z + tall * 1.8)], roof)
    for i in range(3):
        left = x + wide * (0.12 + 0.3 * i)
        easel.polygon(
            [
                (left, z + tall * 0.4),
                (left + wide * 0.15, z + tall * 0.4),
                (left + wide * 0.15, z + tall * 0.7),
                (left, z + tall * 0.7),
            ],
            shade(wall, -90),
        )


def seascape(easel: Easel) -> None:
    """Waves, boats and a sky."""
    rng, horizon = easel.rng, float(easel.rng.uniform(0.3, 0.55))
    _sky(easel, horizon)
    sea, x = easel.color(), np.linspace(0, 1, 21)
    for i in range(7):
        level = horizon * (1 - i / 7)
        z = level + 0.018 * (i + 1) / 3 * np.sin(x * rng.uniform(9, 30) + rng.uniform(0, 6))
        outline = [(0.0, 0.0), *zip(x.tolist(), z.tolist(), strict=True), (1.0, 0.0)]
        easel.polygon(outline, shade(sea, 18 * (i % 2) - 6 * i))
    for _ in range(int(rng.integers(1, 5))):
        at, size = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.08, 0.26))
        foot, hull, sail = horizon * float(rng.uniform(0.3, 0.95)), easel.color(30), easel.color(40)
        easel.polygon(
            [
                (at - size / 2, foot + size * 0.15),
                (at + size / 2, foot + size * 0.15),
                (at + size * 0.35, foot),
                (at - size * 0.35, foot),
            ],
            hull,
        )
        easel.polygon(
            [(at, foot + size * 0.2), (at, foot + size * 1.4), (at + size * 0.5, foot + size * 0.3)], sail
        )
        easel.polygon(
            [
                (at - 0.01, foot + size * 0.2),
                (at - 0.01, foot + size * 1.2),
                (at - size * 0.4, foot + size * 0.3),
            ],
            shade(sail, -24),
        )


def portrait(easel: Easel) -> None:
    """Head, shoulders and hat of somebody who never was."""
    rng = easel.rng
    easel.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], shade(easel.color(), -40))
    easel.polygon([(0, 0), (1, 0), (1, 0.5), (0, 0.8)], shade(easel.color(), -60))
    x, skin, hair = float(rng.uniform(0.42, 0.58)), choose(rng, SKINS), easel.color(20)
    coat, wide = easel.color(20), float(rng.uniform(0.26, 0.4))
    easel.disc(x, 0.64, 0.26, hair, tall=float(rng.uniform(0.9, 1.6)))
    easel.polygon(
        [
            (x - wide, 0),
            (x + wide, 0),
            (x + wide * 0.8, 0.3),
            (x + 0.08, 0.42),
            (x - 0.08, 0.42),
            (x - wide * 0.8, 0.3),
        ],
        coat,
    )
    easel.polygon([(x - 0.06, 0.36), (x + 0.06, 0.36), (x + 0.05, 0.5), (x - 0.05, 0.5)], shade(skin, -24))
    easel.disc(x, 0.61, 0.19, skin, tall=1.25)
    for side in (-1, 1):
        easel.disc(x + side * 0.07, 0.64, 0.025, (40, 30, 28))
        easel.disc(x + side * 0.07, 0.69, 0.03, hair, tall=0.3)
    easel.polygon([(x, 0.64), (x + 0.025, 0.57), (x - 0.015, 0.57)], shade(skin, -40))
    easel.disc(x, 0.52, 0.05, (160, 70, 64), tall=0.35)
    if rng.random() < 0.5:
        brim, hat = float(rng.uniform(0.24, 0.36)), easel.color(20)
        easel.polygon(
            [
                (x - brim, 0.76),
                (x + brim, 0.76),
                (x + 0.16, 0.8),
                (x + 0.14, 0.94),
                (x - 0.14, 0.94),
                (x - 0.16, 0.8),
            ],
            hat,
        )
    for i in range(int(rng.integers(0, 6))):
        easel.disc(x, 0.05 + 0.06 * i, 0.018, (220, 186, 90))


def still_life(easel: Easel) -> None:
    """Fruit, bowls and bottles on a table."""
    rng = easel.rng
    easel.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], shade(easel.color(), -30))
    edge = float(rng.uniform(0.25, 0.42))
    easel.polygon([(0, 0), (1, 0), (1, edge), (0, edge)], easel.color(20))
    for _ in range(int(rng.integers(1, 4))):
        x, tall, color = float(rng.uniform(0.12, 0.88)), float(rng.uniform(0.3, 0.55)), easel.color(30)
        outline = [
            (-0.08, 0.0),
            (0.08, 0.0),
            (0.08, 0.6),
            (0.025, 0.75),
            (0.025, 1.0),
            (-0.025, 1.0),
            (-0.025, 0.75),
            (-0.08, 0.6),
        ]
        easel.polygon([(x + dx, edge - 0.08 + tall * dz) for dx, dz in outline], color)
        easel.polygon(
            [(x + dx * 0.3 - 0.035, edge - 0.06 + tall * 0.55 * dz) for dx, dz in outline], shade(color, 50)
        )
    for _ in range(int(rng.integers(5, 15))):
        x, z, r = (float(v) for v in rng.uniform((0.08, 0.1, 0.04), (0.92, edge, 0.1)))
        color = choose(rng, FRUITS)
        easel.disc(x, z, r, shade(color, -40))
        easel.disc(x - 0.006, z + 0.008, r * 0.9, color)
        easel.disc(x - 0.02, z + 0.025, r * 0.25, shade(color, 70))


def blocks(easel: Easel) -> None:
    """Rectangles between black lines."""
    rng = easel.rng
    easel.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], (238, 234, 222))
    xs, zs = (np.sort(rng.uniform(0, 1, int(rng.integers(3, 7)))).tolist() for _ in range(2))
    edges = [0.0, *xs, 1.0], [0.0, *zs, 1.0]
    for a, b in zip(edges[0][:-1], edges[0][1:], strict=True):
        for c, d in zip(edges[1][:-1], edges[1][1:], strict=True):
            if rng.random() < 0.5:
                easel.polygon([(a, c), (b, c), (b, d), (a, d)], easel.color(16))
    for x in xs:
        easel.polygon([(x - 0.008, 0), (x + 0.008, 0), (x + 0.008, 1), (x - 0.008, 1)], (24, 22, 26))
    for z in zs:
        easel.polygon([(0, z - 0.01), (1, z - 0.01), (1, z + 0.01), (0, z + 0.01)], (24, 22, 26))


def circles(easel: Easel) -> None:
    """Circles and rays over each other."""
    rng = easel.rng
    easel.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], easel.color(30))
    for _ in range(int(rng.integers(8, 22))):
        x, z, r = (float(v) for v in rng.uniform((0, 0, 0.03), (1, 1, 0.26)))
        if rng.random() < 0.65:
            easel.disc(x, z, r, easel.color(40))
            easel.disc(x, z, r * float(rng.uniform(0.3, 0.8)), easel.color(40))
        else:
            turn = rng.uniform(0, 6, 3)
            spots = zip((x + 2 * r * np.cos(turn)).tolist(), (z + 2 * r * np.sin(turn)).tolist(), strict=True)
            easel.polygon(list(spots), easel.color(40))


PICTURES: dict[str, Callable[[Easel], None]] = {
    "landscape": landscape,
    "seascape": seascape,
    "portrait": portrait,
    "still life": still_life,
    "blocks": blocks,
    "circles": circles,
}
"""Genre -> function that paints on an easel."""


def paint(easel: Easel, genre: str = "") -> None:
    """Paint a picture of a genre, or of any."""
    genres = list(PICTURES)
    PICTURES[genre or genres[int(easel.rng.integers(0, len(genres)))]](easel)
