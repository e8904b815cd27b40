"""An old tree that stands alone: branches and crown are solid, so that it is one tree from every side."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from meisho.toycity import clutter, stones
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import ball, block, loft, ring, tube
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import choose
from meisho.toycity.surfaces import Surface, Texture
from meisho.toycity.surroundings import park, plaza, sheet

BARKS: tuple[RGB, ...] = ((84, 66, 52), (112, 100, 88), (140, 128, 116), (70, 52, 44), (122, 84, 58))


@dataclass(frozen=True, eq=False)
class Growth:
    """What a tree grows from.

    Attributes:
        rng: The tree's own random numbers.
        bark: Its bark.
        leaves: Its leaves.
        tall: Its height, metres.
    """

    rng: np.random.Generator
    bark: Texture
    leaves: Texture
    tall: float

    def crown(self, center: tuple[float, float, float], radii: tuple[float, float, float]) -> list[Surface]:
        """Return a clump of leaves."""
        found = ball(center, radii, self.leaves, sides=8, bands=4)
        return [replace(part, grows=True) for part in found]


def draw(plot: Plot) -> Site:
    """Draw a tree in a park or on a place."""
    look, own = plot.shared(), plot.own()
    form = FORMS[int(look.integers(0, len(FORMS)))]
    bark, leaf = choose(look, BARKS), choose(look, clutter.LEAVES)
    growth = Growth(
        own, sheet(own, stones.bark, bark, size_m=4.0), _leafage(own, leaf), float(own.uniform(6, 12))
    )
    parts = form(growth)
    if own.random() < 0.3:  # a bench around it
        wood = sheet(own, stones.bark, shade(bark, 40), size_m=2.0)
        parts += block((-1.4, 1.4), (-1.4, -0.9), (0.35, 0.45), wood) + block(
            (-1.3, 1.3), (-1.3, -1.0), (0.0, 0.35), wood
        )
    around = (park if own.random() < 0.75 else plaza)(own, clear_m=15.0)
    stage = Stage(spread=1.6, front=-1e3, distance=(6.5, 45.0), traffic=False)
    return finish(plot, parts, around, stage)


def _leafage(rng: np.random.Generator, leaf: RGB) -> Texture:
    """Draw a sheet of leaves."""
    canvas = Canvas(np.full((330, 330, 3), shade(leaf, -44), dtype=np.uint8), 55)
    for x, z, size in rng.random((900, 3)):
        tone = shade(leaf, int(70 * size - 34))
        canvas.disc(6 * float(x), 6 * float(z), 0.06 + 0.13 * float(size * (1 - size) * 3), tone)
    return canvas.texture()


def _branches(
    growth: Growth, count: int, start: float
) -> tuple[list[Surface], list[tuple[float, float, float]]]:
    """Return a bent trunk with branches, and where they end."""
    rng, tall = growth.rng, growth.tall
    lean = rng.uniform(-0.12, 0.12, 2) * tall
    thick = tall * float(rng.uniform(0.035, 0.07))
    fork = (float(lean[0]) * 0.6, float(lean[1]) * 0.6, tall * start)
    trunk = [(0.0, 0.0, 0.0), (float(lean[0]) * 0.1, float(lean[1]) * 0.1, tall * start * 0.4), fork]
    parts = tube(trunk, [thick * 1.6, thick, thick * 0.75], growth.bark, sides=8)
    ends = []
    for i in range(count):
        turn = 2 * np.pi * i / count + float(rng.uniform(-0.5, 0.5))
        reach, rise = float(rng.uniform(0.16, 0.4)) * tall, float(rng.uniform(0.1, 0.42)) * tall
        end = (fork[0] + reach * float(np.cos(turn)), fork[1] + reach * float(np.sin(turn)), fork[2] + rise)
        bend = tuple(
            (a + b) / 2 + float(rng.uniform(-0.05, 0.05)) * tall for a, b in zip(fork, end, strict=True)
        )
        path = [(fork[0], fork[1], fork[2] - 0.1 * tall), (bend[0], bend[1], bend[2]), end]
        parts += tube(path, [thick * 0.6, thick * 0.4, thick * 0.15], growth.bark, sides=5)
        ends.append(end)
    return parts, ends


def _broad(growth: Growth) -> list[Surface]:
    """A crown of clumps at the ends of the branches."""
    rng = growth.rng
    parts, ends = _branches(growth, int(rng.integers(3, 6)), float(rng.uniform(0.3, 0.5)))
    for end in ends:
        size = growth.tall * float(rng.uniform(0.13, 0.22))
        parts += growth.crown(end, (size * 1.2, size * 1.2, size))
    return parts


def _bare(growth: Growth) -> list[Surface]:
    """A dead tree."""
    parts, ends = _branches(growth, int(growth.rng.integers(4, 8)), float(growth.rng.uniform(0.25, 0.5)))
    for end in ends:
        for _ in range(2):
            tip = tuple(
                float(v)
                for v in np.array(end) + growth.rng.uniform((-1, -1, 0.1), (1, 1, 1.6)) * growth.tall * 0.14
            )
            parts += tube([end, (tip[0], tip[1], tip[2])], [growth.tall * 0.012, 0.0], growth.bark, sides=4)
    return parts


def _conifer(growth: Growth) -> list[Surface]:
    """Skirts of needles above each other."""
    rng, tall = growth.rng, growth.tall * 1.3
    parts = tube([(0, 0, 0), (0, 0, tall * 0.4)], [tall * 0.03, tall * 0.02], growth.bark, sides=7)
    skirts, wide = int(rng.integers(3, 8)), tall * float(rng.uniform(0.16, 0.3))
    for i in range(skirts):
        low = tall * (0.12 + 0.8 * i / skirts)
        radius = wide * (1 - i / skirts) * float(rng.uniform(0.85, 1.1)) + 0.25
        rings = [
            ring((0, 0, low), (radius, radius), sides=9),
            ring((0, 0, low + tall * 1.25 / skirts), (0.0, 0.0), sides=9),
        ]
        under = [ring((0, 0, low + 0.1), (0.0, 0.0), sides=9), rings[0]]
        parts += [replace(p, grows=True) for p in loft(rings, growth.leaves) + loft(under, growth.leaves)]
    return parts


def _palm(growth: Growth) -> list[Surface]:
    """A tall stem and a tuft of fronds."""
    rng, tall = growth.rng, growth.tall
    lean = float(rng.uniform(-0.25, 0.25)) * tall
    stem = [(0.0, 0.0, 0.0), (lean * 0.3, 0.0, tall * 0.5), (lean, 0.0, tall)]
    parts = tube(stem, [0.34, 0.22, 0.18], growth.bark, sides=7)
    for i in range(int(rng.integers(8, 13))):
        turn, long = 2 * np.pi * i / 10 + float(rng.uniform(-0.2, 0.2)), float(rng.uniform(1.6, 2.8))
        cos, sin, drop = float(np.cos(turn)), float(np.sin(turn)), float(rng.uniform(0.2, 1.6))
        path = [
            (lean, 0.0, tall),
            (lean + cos * long * 0.5, sin * long * 0.5, tall + 0.5),
            (lean + cos * long, sin * long, tall + 0.5 - drop),
        ]
        parts += [replace(p, grows=True) for p in tube(path, [0.1, 0.3, 0.03], growth.leaves, sides=4)]
    return parts


def _topiary(growth: Growth) -> list[Surface]:
    """Clipped balls and cones above each other."""
    rng, z = growth.rng, 0.7
    parts = tube([(0, 0, 0), (0, 0, growth.tall * 0.7)], [0.2, 0.12], growth.bark, sides=6)
    for _ in range(int(rng.integers(2, 5))):
        size = float(rng.uniform(0.7, 1.6))
        if rng.random() < 0.6:
            parts += growth.crown((0.0, 0.0, z + size), (size, size, size))
        else:
            rings = [
                ring((0, 0, h), (r, r), sides=9)
                for r, h in ((0.0, z), (size, z + 0.1), (size * 0.3, z + 2 * size))
            ]
            parts += [replace(p, grows=True) for p in loft(rings, growth.leaves)]
        z += 2 * size + 0.1
    return parts


FORMS: tuple[Callable[[Growth], list[Surface]], ...] = (_broad, _bare, _conifer, _palm, _topiary, _broad)
