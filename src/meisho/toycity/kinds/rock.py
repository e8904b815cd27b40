"""A rock that everybody knows: a boulder, a stack, needles or an arch, seen from all around."""

from collections.abc import Callable

import numpy as np

from meisho.arrays import Float64Array
from meisho.toycity import materials, stones
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import loft, tube
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import choose
from meisho.toycity.surfaces import Surface, Texture, floor
from meisho.toycity.surroundings import FAR_M, WATERS, horizon, park, sheet, tile

SIDES = 13


def draw(plot: Plot) -> Site:
    """Draw a rock on grass, sand or in the water."""
    look, own = plot.shared(), plot.own()
    form = FORMS[int(look.integers(0, len(FORMS)))]
    color, ground = choose(look, stones.ROCKS), float(look.random())
    skin = sheet(own, stones.strata, color, size_m=14.0, px_per_m=32)
    parts = form(own, skin)
    corners = np.concatenate([p.corners for p in parts])
    reach = float(np.abs(corners[:, :2]).max())
    stage = Stage(
        spread=1.6, front=-1e3, distance=(reach + 4, 75.0), people_y=(-reach - 6, -reach), traffic=False
    )
    return finish(plot, parts, _ground(own, ground, reach + 6), stage)


def _ground(rng: np.random.Generator, look: float, clear_m: float) -> list[Surface]:
    if look < 0.5:
        return park(rng, clear_m=clear_m)
    if look < 0.75:
        flat = tile(rng, stones.water, choose(rng, WATERS))
    else:
        flat = tile(rng, materials.asphalt, (206, 178, 134))
    return [floor((-FAR_M, FAR_M), (-FAR_M, FAR_M), 0.0, flat), *horizon(rng, town=False)]


def lumps(rng: np.random.Generator, profile: list[tuple[float, float]], rough: float) -> list[Float64Array]:
    """Return rings of a profile (radius, z), pushed in and out by smooth noise.

    Args:
        rng: Random numbers.
        profile: Radius and height of each ring, metres.
        rough: How far they are pushed, as a share of the radius.
    """
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    tops, phases = rng.uniform(0.3, 1.0, 4), rng.uniform(0, 2 * np.pi, (4, 2))
    stretch, turn = float(rng.uniform(0.65, 1.0)), float(rng.uniform(0, np.pi))
    rings = []
    for radius, z in profile:
        waves = sum(
            tops[k] / (k + 1) * np.sin((k + 1) * angles + phases[k, 0] + 0.35 * z * np.cos(phases[k, 1]))
            for k in range(4)
        )
        out = radius * (1 + rough * waves + 0.4 * rough * rng.uniform(-1, 1, SIDES))
        x, y = out * np.cos(angles), out * np.sin(angles) * stretch
        dz = 0.25 * rough * radius * rng.uniform(-1, 1, SIDES) * (z > 0.1)
        cos, sin = np.cos(turn), np.sin(turn)
        rings.append(np.column_stack([cos * x - sin * y, sin * x + cos * y, z + dz]))
    return rings


def _boulder(rng: np.random.Generator, skin: Texture) -> list[Surface]:
    wide, tall = float(rng.uniform(2.2, 5.0)), float(rng.uniform(2.5, 5.5))
    turns = np.linspace(-0.35, np.pi / 2, 8)
    profile = [(wide * float(np.cos(t)), tall * float((np.sin(t) + 0.343) / 1.343)) for t in turns]
    return loft(lumps(rng, profile, float(rng.uniform(0.14, 0.3))), skin)


def _stack(rng: np.random.Generator, skin: Texture) -> list[Surface]:
    tall, wide = float(rng.uniform(8, 17)), float(rng.uniform(2.0, 4.2))
    waist = np.concatenate([[1.35], rng.uniform(0.55, 1.2, 5), [rng.uniform(0.5, 1.1)], [0.0]])
    heights = np.concatenate([[0.0], np.sort(rng.uniform(0.1, 0.85, 5)), [0.95, 1.0]])
    profile = [(wide * float(r), tall * float(h)) for r, h in zip(waist, heights, strict=True)]
    return loft(lumps(rng, profile, 0.2), skin)


def _needles(rng: np.random.Generator, skin: Texture) -> list[Surface]:
    parts: list[Surface] = []
    for i in range(int(rng.integers(2, 4))):
        tall, wide = float(rng.uniform(4, 13)), float(rng.uniform(1.0, 2.2))
        profile = [
            (wide * r, tall * h) for r, h in ((1.4, 0.0), (1.0, 0.25), (0.8, 0.6), (0.45, 0.85), (0.0, 1.0))
        ]
        rings = lumps(rng, profile, 0.22)
        shift = np.array([(i - 1) * float(rng.uniform(2.4, 4.0)), float(rng.uniform(-1.5, 1.5)), 0.0])
        lean = np.array([rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12), 0.0])
        parts += loft([points + shift + lean * points[:, 2:].mean() for points in rings], skin)
    return parts


def _arch(rng: np.random.Generator, skin: Texture) -> list[Surface]:
    half, tall = float(rng.uniform(3.5, 6.5)), float(rng.uniform(4.5, 8.5))
    turns = np.linspace(0, np.pi, 11)
    path = [
        (
            half * float(np.cos(t)) + float(rng.uniform(-0.3, 0.3)),
            float(rng.uniform(-0.4, 0.4)),
            tall * float(np.sin(t)) ** 0.8,
        )
        for t in turns
    ]
    thick = [float(v) for v in rng.uniform(0.9, 1.5, 11) * (1 + 0.7 * np.abs(np.cos(turns)))]
    return tube(path, thick, skin, sides=9)


FORMS: tuple[Callable[[np.random.Generator, Texture], list[Surface]], ...] = (
    _boulder,
    _stack,
    _needles,
    _arch,
)
