"""Figures of bronze and stone: people, riders, lions and shapes that mean nothing, from limbs and rings.

A figure stands on z = 0 around x = y = 0 and faces -y (an animal looks along x); its units are metres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meisho.toycity.shapes import ball, block, loft, moved, ring, tube, turned
from meisho.toycity.surfaces import Surface, Texture


@dataclass(frozen=True, eq=False)
class Cast:
    """What a figure is made of and from.

    Attributes:
        rng: The figure's own random numbers: pose, things in hand, proportions.
        skin: Its material.
        gilt: A second material for crowns, swords and manes.
    """

    rng: np.random.Generator
    skin: Texture
    gilt: Texture

    def between(self, low: float, high: float) -> float:
        """Return a random number in a range."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """Return True with the probability `share`."""
        return bool(self.rng.random() < share)


def person(cast: Cast, tall: float, *, rides: bool = False) -> list[Surface]:
    """Return a standing or sitting person, `tall` metres if standing."""
    s, hip = tall, 0.48
    parts = _legs(cast, s, rides=rides)
    chest = [
        (0.13, 0.1, hip),
        (0.11, 0.085, 0.6),
        (0.155, 0.1, 0.75),
        (0.12, 0.08, 0.82),
        (0.045, 0.045, 0.85),
    ]
    parts += loft([ring((0, 0, z * s), (x * s, y * s), sides=8) for x, y, z in chest], cast.skin)
    parts += ball((0, -0.01 * s, 0.915 * s), (0.058 * s, 0.066 * s, 0.08 * s), cast.skin, sides=7)
    for side in (-1, 1):
        parts += _arm(cast, s, side)
    return parts + _hat(cast, s) + _cape(cast, s)


def _legs(cast: Cast, s: float, *, rides: bool) -> list[Surface]:
    if rides:
        paths = [[(g * 0.1, 0, 0.5), (g * 0.24, -0.06, 0.36), (g * 0.22, 0.0, 0.12)] for g in (-1, 1)]
    elif cast.chance(0.4):
        robe = [(0.2, 0.16, 0.0), (0.17, 0.14, 0.2), (0.13, 0.1, 0.5)]
        return loft([ring((0, 0, z * s), (x * s, y * s), sides=8) for x, y, z in robe], cast.skin)
    else:
        stride = cast.between(-0.14, 0.14)
        paths = [
            [(g * 0.075, 0, 0.52), (g * 0.09, g * stride * 0.4 - 0.03, 0.27), (g * 0.1, g * stride, 0.0)]
            for g in (-1, 1)
        ]
    limbs = [[(x * s, y * s, z * s) for x, y, z in path[::-1]] for path in paths]
    return [p for limb in limbs for p in tube(limb, [0.045 * s, 0.06 * s, 0.08 * s], cast.skin, sides=6)]


def _arm(cast: Cast, s: float, side: int) -> list[Surface]:
    """Return an arm: hanging, on the hip, stretched forward or raised, often with something in its hand."""
    pose = int(cast.rng.integers(0, 4))
    elbow, hand = (
        ((0.2, 0.02, 0.6), (0.21, -0.06, 0.45)),
        ((0.27, 0.05, 0.63), (0.14, -0.08, 0.53)),
        ((0.21, -0.08, 0.64), (0.2, -0.3, 0.68)),
        ((0.28, -0.02, 0.88), (0.27, -0.06, 1.1)),
    )[pose]
    shake = cast.rng.uniform(-0.03, 0.03, 3)
    path = [(0.15, 0.0, 0.78), elbow, tuple(float(h + d) for h, d in zip(hand, shake, strict=True))]
    scaled = [(side * x * s, y * s, z * s) for x, y, z in path]
    parts = tube(scaled, [0.05 * s, 0.04 * s, 0.028 * s], cast.skin, sides=6)
    x, y, z = scaled[-1]
    thing = cast.rng.random()
    if thing < 0.25:  # a sword or a staff
        long = cast.between(0.5, 1.0) * s
        parts += tube(
            [(x, y, z - long * 0.5), (x, y, z + long * 0.5)], [0.018 * s, 0.012 * s], cast.gilt, sides=4
        )
    elif thing < 0.4:  # a globe or a torch
        parts += ball((x, y, z + 0.06 * s), (0.07 * s, 0.07 * s, 0.07 * s), cast.gilt, sides=6, bands=3)
    elif thing < 0.55:  # a book or a tablet
        parts += block((x - 0.09 * s, x + 0.09 * s), (y - 0.04 * s, y), (z - 0.02, z + 0.2 * s), cast.gilt)
    return parts


def _hat(cast: Cast, s: float) -> list[Surface]:
    kind, y = cast.rng.random(), -0.01 * s
    if kind < 0.25:
        brim = [(0.12, 0.955), (0.065, 0.96), (0.055, 1.05), (0.0, 1.06)]
        return loft([ring((0, y, z * s), (r * s, r * s), sides=8) for r, z in brim], cast.skin)
    if kind < 0.5:
        crown = [(0.06, 0.96), (0.085, 1.05)]
        return loft([ring((0, y, z * s), (r * s, r * s), sides=8) for r, z in crown], cast.gilt)
    if kind < 0.65:
        crest = [(0.0, 0.1, 0.92), (0.0, 0.03, 1.03), (0.0, -0.08, 0.99)]
        path = [(x * s, d * s, z * s) for x, d, z in crest]
        return tube(path, [0.02 * s, 0.04 * s, 0.02 * s], cast.gilt, sides=5)
    return []


def _cape(cast: Cast, s: float) -> list[Surface]:
    if not cast.chance(0.4):
        return []
    wide, low = cast.between(0.18, 0.32), cast.between(0.02, 0.3)
    arc = [(np.array([wide, 0.13, low]), np.array([0.16, 0.03, 0.8]))]
    rings = []
    for share in (0.0, 1.0):
        (bottom, top) = arc[0]
        x, y, z = bottom + (top - bottom) * share
        spots = [(x, 0.02, z), (x * 0.7, y, z), (0.0, y * 1.25, z), (-x * 0.7, y, z), (-x, 0.02, z)]
        rings.append(np.array(spots) * s)
    return loft(rings, cast.skin, closed=False)


def rider(cast: Cast, tall: float) -> list[Surface]:
    """Return a rider on a horse that walks along x."""
    s = tall / 2.6
    parts = _horse(cast, s)
    facing = turned(person(cast, 1.75 * s, rides=True), np.pi / 2, (0.0, 0.0))
    return parts + moved(facing, (-0.1 * s, 0.0, 0.86 * s))


def _horse(cast: Cast, s: float) -> list[Surface]:
    lift, rear = cast.between(0.0, 0.55), cast.between(-0.05, 0.25)
    trunk = [(-0.85, 1.2 - rear), (-0.5, 1.3 - rear / 2), (0.1, 1.22), (0.6, 1.3 + rear), (0.8, 1.3 + rear)]
    parts = tube(
        [(x * s, 0.0, z * s) for x, z in trunk],
        [0.1 * s, 0.32 * s, 0.3 * s, 0.33 * s, 0.15 * s],
        cast.skin,
        sides=8,
    )
    neck = [(0.6, 1.4 + rear), (0.95, 1.85 + rear), (1.05, 2.1 + rear), (1.4, 1.85 + rear - lift * 0.3)]
    parts += tube(
        [(x * s, 0.0, z * s) for x, z in neck], [0.26 * s, 0.17 * s, 0.15 * s, 0.09 * s], cast.skin, sides=6
    )
    for side in (-1, 1):
        raised = lift if side == 1 else 0.0
        fore = [
            (0.75 + raised * 0.8, 0.75 * raised),
            (0.75 + raised * 0.6, 0.6 + raised * 0.5),
            (0.6, 1.2 + rear),
        ]
        hind = [(-0.75 + side * 0.15, 0.0), (-0.85, 0.6), (-0.6, 1.2 - rear / 2)]
        for leg in (fore, hind):
            path = [(x * s, side * 0.2 * s, z * s) for x, z in leg]
            parts += tube(path, [0.06 * s, 0.09 * s, 0.17 * s], cast.skin, sides=5)
    tail = [(-1.15 * s, 0.0, 0.5 * s), (-1.1 * s, 0.0, 1.0 * s), (-0.85 * s, 0.0, 1.3 * s)]
    return parts + tube(tail, [0.04 * s, 0.1 * s, 0.05 * s], cast.skin, sides=5)


def lion(cast: Cast, tall: float) -> list[Surface]:
    """Return a lion, or another big beast, that walks, sits or lies along x."""
    s = tall / 1.6
    pose = int(cast.rng.integers(0, 3))
    back, front = ((0.85, 0.95), (0.35, 1.15), (0.35, 0.45))[pose]
    trunk = [(-0.95, back), (-0.6, back + 0.02), (0.1, (back + front) / 2), (0.6, front), (0.85, front + 0.1)]
    parts = tube(
        [(x * s, 0, z * s) for x, z in trunk],
        [0.08 * s, 0.3 * s, 0.27 * s, 0.36 * s, 0.15 * s],
        cast.skin,
        sides=8,
    )
    head, mane = (0.98 * s, 0.0, (front + 0.35) * s), cast.between(0.26, 0.42) * s
    parts += ball((0.8 * s, 0, (front + 0.27) * s), (mane * 0.8, mane, mane * 1.15), cast.gilt, sides=8)
    parts += ball(head, (0.27 * s, 0.2 * s, 0.22 * s), cast.skin, sides=7)
    for side in (-1, 1):
        paw = 1.2 if pose == 2 else 0.72
        for x, foot, top in ((0.6, paw, front), (-0.65, -0.45 if pose else -0.75, back)):
            path = [(foot * s, side * 0.24 * s, 0.05 * s), ((x + 0.05) * s, side * 0.24 * s, top * 0.45 * s)]
            path.append((x * s, side * 0.2 * s, top * s))
            parts += tube(path, [0.11 * s, 0.1 * s, 0.18 * s], cast.skin, sides=5)
    curl = cast.between(0.2, 0.9)
    tail = [(-0.9 * s, 0, back * s), (-1.3 * s, 0, (back * 0.6) * s), (-1.35 * s, 0, (back * 0.6 + curl) * s)]
    parts += tube(tail, [0.06 * s, 0.05 * s, 0.09 * s], cast.skin, sides=5)
    return parts + (_wings(cast, s, front) if cast.chance(0.35) else [])


def _wings(cast: Cast, s: float, z: float) -> list[Surface]:
    parts, spread = [], cast.between(0.6, 1.2)
    for side in (-1, 1):
        path = [(0.35, 0.25, z), (0.0, 0.45, z + spread * 0.6), (-0.5, 0.7, z + spread)]
        points = [(x * s, side * y * s, h * s) for x, y, h in path]
        parts += tube(points, [0.16 * s, 0.22 * s, 0.04 * s], cast.gilt, sides=5)
    return parts


def bust(cast: Cast, tall: float) -> list[Surface]:
    """Return the head and shoulders of a person."""
    s = tall / 0.62
    half = [(0.1, 0.09, 0.0), (0.24, 0.14, 0.12), (0.27, 0.14, 0.25), (0.1, 0.09, 0.31), (0.075, 0.075, 0.38)]
    parts = loft([ring((0, 0, z * s), (x * s, y * s), sides=10) for x, y, z in half], cast.skin)
    parts += ball((0, -0.02 * s, 0.48 * s), (0.105 * s, 0.125 * s, 0.145 * s), cast.skin, sides=10, bands=6)
    parts += tube(
        [(0, -0.14 * s, 0.5 * s), (0, -0.17 * s, 0.46 * s)], [0.012 * s, 0.03 * s], cast.skin, sides=4
    )
    if cast.chance(0.5):  # a beard
        parts += ball((0, -0.1 * s, 0.38 * s), (0.07 * s, 0.06 * s, 0.1 * s), cast.gilt, sides=6, bands=3)
    if cast.chance(0.6):  # hair or a wig
        puff = cast.between(0.1, 0.15)
        parts += ball((0, 0.04 * s, 0.54 * s), (puff * s, puff * s, 0.11 * s), cast.gilt, sides=8)
    return parts


def abstract(cast: Cast, tall: float) -> list[Surface]:
    """Return a twisted shape with lobes."""
    lobes, twist = int(cast.rng.integers(2, 6)), cast.between(-2.5, 2.5)
    waist, lean = cast.rng.uniform(0.25, 1.0, 4), cast.between(-0.25, 0.25)
    depth = cast.between(0.2, 0.55)
    angles = 2 * np.pi * (np.arange(14) + 0.5) / 14
    rings = []
    for i, t in enumerate(np.linspace(0, 1, 9)):
        wide = tall * 0.26 * float(np.interp(t, np.linspace(0, 1, 4), waist)) * (0.0 if i == 8 else 1.0)
        radius = wide * (1 + depth * np.cos(lobes * (angles + twist * t)))
        x = radius * np.cos(angles) + lean * tall * t * (1 - t) * 2
        rings.append(np.column_stack([x, radius * np.sin(angles), np.full(14, tall * t)]))
    parts = loft(rings, cast.skin)
    if cast.chance(0.4):
        gap = cast.between(0.5, 0.9) * tall
        parts += ball((cast.between(-0.4, 0.4), 0, gap + tall * 0.3), (0.3, 0.3, 0.3), cast.gilt, sides=8)
    return parts


FIGURES: dict[str, Callable[[Cast, float], list[Surface]]] = {
    "person": person,
    "rider": rider,
    "lion": lion,
    "bust": bust,
    "abstract": abstract,
}
"""Form -> function of a cast and a height in metres."""
