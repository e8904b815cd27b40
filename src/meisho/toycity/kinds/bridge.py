"""A bridge over a river, seen from its bank: stone arches, a truss, a suspension bridge or a covered one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from meisho.arrays import Float64Array, UInt8Array
from meisho.toycity import materials, stones
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB, Material
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import block, patch
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import ACCENTS, WALLS, choose
from meisho.toycity.surfaces import Point, Surface, Texture, floor, wall
from meisho.toycity.surroundings import (
    FAR_M,
    SLABS,
    WATERS,
    horizon,
    houses,
    sheet,
    tile,
    trees,
)

PX_PER_M = 24.0
STONES: tuple[Material, ...] = (materials.ashlar, materials.brick, materials.rubble)
WATER_Z = -1.4


@dataclass(frozen=True, eq=False)
class Span:
    """One bridge to build.

    Attributes:
        rng: The bridge's own random numbers.
        stone: Material of its piers.
        wall: Colour of stone.
        iron: Colour of iron and paint.
        look: Two numbers from 0 to 1 that siblings share.
        length: Length along x, metres.
        depth: Width of the road, along y, metres.
        deck: Height of the road, metres.
    """

    rng: np.random.Generator
    stone: Material
    wall: RGB
    iron: RGB
    look: Point
    length: float
    depth: float
    deck: float

    def sheet(self) -> Texture:
        """Draw a sheet of its stone."""
        return sheet(self.rng, self.stone, self.wall, px_per_m=PX_PER_M)

    def blank(self, tall: float, color: RGB) -> Canvas:
        """Return a see-through side of the bridge to draw on, `tall` metres high."""
        shape = round(tall * PX_PER_M), round(self.length * PX_PER_M)
        return Canvas(np.full((*shape, 3), color, dtype=np.uint8), PX_PER_M)

    def sides(self, texture: Texture, z: float) -> list[Surface]:
        """Return both sides of the bridge, their lower edge at height z."""
        half, top = self.length / 2, z + texture.size_m[1]
        near = wall((-half, 0.0), (half, 0.0), z, top, texture, facade=True)
        far = wall((half, self.depth), (-half, self.depth), z, top, texture, facade=True)
        return [replace(side, two_sided=texture.cutout) for side in (near, far)]


def draw(plot: Plot) -> Site:
    """Draw a bridge and its river."""
    look, own = plot.shared(), plot.own()
    form = FORMS[int(look.integers(0, len(FORMS)))]
    stone, color = STONES[int(look.integers(0, len(STONES)))], choose(look, WALLS)
    iron, shared = choose(look, ACCENTS), (float(look.random()), float(look.random()))
    length, depth, deck = (float(own.uniform(*r)) for r in ((22, 44), (4, 8), (4.0, 7.0)))
    parts = form(Span(own, stone, color, iron, shared, round(length, 2), round(depth, 2), round(deck, 2)))
    stage = Stage(front=9.0, distance=(12.0, 90.0), people_y=(-16.0, -8.5), traffic=False)
    return finish(plot, parts, _river(own, length, deck), stage)


def _river(rng: np.random.Generator, length: float, deck: float) -> list[Surface]:
    """Return water below, a quay in front, banks at both ends, and a far shore."""
    sea = tile(rng, stones.water, choose(rng, WATERS))
    quay, bank = tile(rng, materials.paving, choose(rng, SLABS)), tile(rng, materials.grass, (98, 128, 66))
    stone = sheet(rng, materials.ashlar, choose(rng, WALLS), px_per_m=PX_PER_M)
    half = length / 2 + 0.2
    parts = [
        floor((-FAR_M, FAR_M), (-FAR_M, FAR_M), WATER_Z, sea),
        floor((-FAR_M, FAR_M), (-FAR_M, -7.5), 0.0, quay),
    ]
    for low, high, edge in ((-FAR_M, -half, -half), (half, FAR_M, half)):
        parts.append(replace(floor((low, high), (-7.0, FAR_M), deck - 0.6, bank), grows=True))
        parts.append(wall((low, -7.0), (high, -7.0), WATER_Z, deck - 0.6, stone))
        ends = ((edge, -7.0), (edge, FAR_M)) if edge < 0 else ((edge, FAR_M), (edge, -7.0))
        parts.append(wall(*ends, WATER_Z, deck - 0.6, stone))
    town = bool(rng.random() < 0.5)
    parts += houses(rng, 62.0, (-34.0, 34.0)) if town else trees(rng, 14, (48.0, 80.0))
    return parts + horizon(rng, town=town)


def _arches(span: Span) -> list[Surface]:
    """Stone arches between piers, with a parapet."""
    rng = span.rng
    count, top = 1 + int(rng.integers(0, 5)), span.deck + 1.0
    tall = top - WATER_Z
    pitch, foot = span.length / count, WATER_Z
    pier = 0.9 + 1.2 * span.look[1]
    curves = [
        _curve(i * pitch + pier / 2, (i + 1) * pitch - pier / 2, tall, span.look[0]) for i in range(count)
    ]
    face = _opened(_masonry(span, tall), curves, span)
    parts = span.sides(face, foot)
    soffit = span.sheet()
    for curve in curves:
        parts += _vault(span, [(x - span.length / 2, z + foot) for x, z in curve], soffit)
    road = sheet(rng, materials.asphalt, (120, 118, 116), px_per_m=PX_PER_M)
    return [*parts, floor((-span.length / 2, span.length / 2), (0.0, span.depth), span.deck, road)]


def _masonry(span: Span, tall: float) -> UInt8Array:
    shape = round(tall * PX_PER_M), round(span.length * PX_PER_M)
    return span.stone(span.rng, shape, PX_PER_M, span.wall)


def _curve(x0: float, x1: float, tall: float, look: float) -> list[Point]:
    """Return an arch from foot to foot: round, flat or pointed."""
    t = np.linspace(0, np.pi, 11)
    middle, half = (x0 + x1) / 2, (x1 - x0) / 2
    spring = (0.12, 0.45, 0.3)[int(look * 3)] * tall
    crown = tall - 1.9
    power = (1.0, 0.8, 1.5)[int(look * 3)]
    x = middle - half * np.cos(t)
    z = spring + (crown - spring) * np.sin(t) ** power
    return [(x0, 0.0), *zip(x.tolist(), z.tolist(), strict=True), (x1, 0.0)]


def _opened(image: UInt8Array, curves: list[list[Point]], span: Span) -> Texture:
    """Return the masonry with rings of voussoirs, a parapet and a keystone, open below the arches."""
    paint = Canvas(image, PX_PER_M)
    tall = paint.height
    trim = shade(span.wall, 26 if sum(span.wall) < 480 else -40)
    paint.rect(0, tall - 1.15, span.length, tall - 0.95, trim)
    if span.look[1] < 0.5:
        for x in np.arange(0.4, span.length, 1.1):
            paint.rect(float(x), tall - 0.8, float(x) + 0.5, tall - 0.2, shade(span.wall, -60))
    for curve in curves:
        middle = (curve[0][0] + curve[-1][0]) / 2
        outer = [(middle + (x - middle) * 1.07, z * 1.05 + 0.25) for x, z in curve]
        paint.polygon(outer, trim)
        paint.rect(
            middle - 0.35, curve[len(curve) // 2][1], middle + 0.35, curve[len(curve) // 2][1] + 0.9, trim
        )
    for left, right in pairwise(curves):
        x = (left[-1][0] + right[0][0]) / 2
        paint.disc(x, tall * float(span.rng.uniform(0.55, 0.68)), 0.5, shade(span.wall, -50))
    drawn = paint.texture().image
    hole = Canvas(drawn[..., :3], PX_PER_M)
    hole.rect(0, 0, span.length, tall, span.wall, glow=255)
    for curve in curves:
        hole.polygon(curve, span.wall, glow=0)
    opacity = hole.texture().image[..., 3]
    return Texture(np.dstack([drawn[..., :3], opacity]), PX_PER_M, True)


def _vault(span: Span, curve: list[Point], texture: Texture) -> list[Surface]:
    """Return the underside of one arch."""
    parts = []
    for (x0, z0), (x1, z1) in pairwise(curve):
        corners = [(x1, 0.0, z1), (x0, 0.0, z0), (x0, span.depth, z0), (x1, span.depth, z1)]
        part = patch([np.array(c) for c in corners], texture)
        parts += [] if part is None else [replace(part, two_sided=True)]
    return parts


def _slab(span: Span, thick: float, texture: Texture) -> list[Surface]:
    half = span.length / 2
    under = [(half, 0.0, 0), (-half, 0.0, 0), (-half, span.depth, 0), (half, span.depth, 0)]
    corners: list[Float64Array] = [np.array([x, y, span.deck - thick]) for x, y, _ in under]
    lower = patch(corners, texture)
    return block((-half, half), (0.0, span.depth), (span.deck - thick, span.deck), texture) + (
        [] if lower is None else [lower]
    )


def _piers(span: Span, count: int, top: float) -> list[Surface]:
    stone, wide = span.sheet(), 0.7 + 0.8 * span.look[1]
    parts = []
    for i in range(count):
        x = span.length * ((i + 1) / (count + 1) - 0.5)
        parts += block((x - wide, x + wide), (0.1, span.depth - 0.1), (WATER_Z, top), stone)
        parts += block((x - wide - 0.4, x + wide + 0.4), (-0.5, span.depth + 0.5), (WATER_Z, 0.4), stone)
    return parts


def _truss(span: Span) -> list[Surface]:
    """Iron lattices on both sides of the road, straight or bowed."""
    rng = span.rng
    cells, tall = int(rng.integers(6, 15)), float(rng.uniform(3.5, 6.0))
    canvas = span.blank(tall + 0.4, span.iron)
    x = np.linspace(0.2, span.length - 0.2, cells + 1)
    bow = (0.0, 0.6, 1.0)[int(span.look[0] * 3)]
    humps = 1 + int(rng.integers(0, 3))
    z = tall * (1 - bow + bow * np.abs(np.sin(np.pi * humps * x / span.length)))
    thick = 0.3
    for i in range(cells):
        ends = [
            (float(x[i]), 0.2),
            (float(x[i + 1]), 0.2),
            (float(x[i + 1]), float(z[i + 1])),
            (float(x[i]), float(z[i])),
        ]
        canvas.bar(ends[0], ends[1], thick * 1.3, shade(span.iron, -14), glow=255)
        canvas.bar(ends[3], ends[2], thick * 1.3, shade(span.iron, 12), glow=255)
        canvas.bar(ends[0], ends[3], thick * 0.8, span.iron, glow=255)
        if span.look[1] < 0.6 or i % 2:
            canvas.bar(ends[0], ends[2], thick * 0.7, shade(span.iron, -8), glow=255)
        if span.look[1] < 0.3 or i % 2 == 0:
            canvas.bar(ends[1], ends[3], thick * 0.7, shade(span.iron, 8), glow=255)
    parts = span.sides(canvas.texture(cutout=True), span.deck - 0.5)
    parts += _slab(span, 0.7, sheet(rng, materials.metal, shade(span.iron, -30), px_per_m=PX_PER_M))
    return parts + _piers(span, humps, span.deck - 0.7)


def _suspension(span: Span) -> list[Surface]:
    """Two towers that carry cables: hanging in a curve, or straight to the road."""
    rng = span.rng
    tall, at = float(rng.uniform(8, 15)), float(rng.uniform(0.2, 0.3))
    canvas = span.blank(tall, span.iron)
    straight, hangers = span.look[0] < 0.4, int(rng.integers(12, 30))
    towers = [span.length * at, span.length * (1 - at)]
    color = shade(span.iron, 20)
    if straight:
        for tower in towers:
            for i in range(1, hangers // 2):
                for side in (-1, 1):
                    foot = tower + side * span.length * at * i / (hangers // 2) * (1.0 if side < 0 else 1.05)
                    head = tower, tall * (0.55 + 0.44 * i / (hangers // 2))
                    canvas.bar((foot, 0.1), head, 0.14, color, glow=255)
    else:
        _hang(canvas, span, towers, tall, hangers)
    canvas.rect(0, 0, span.length, 0.25, shade(span.iron, -20), glow=255)
    parts = span.sides(canvas.texture(cutout=True), span.deck)
    paint = sheet(rng, materials.metal, shade(span.iron, -10), px_per_m=PX_PER_M)
    parts += _slab(span, 0.9, paint)
    pillar = span.sheet() if span.look[1] < 0.6 else paint
    for tower in towers:
        x = tower - span.length / 2
        for y in (-0.6, span.depth - 0.6):
            parts += block((x - 0.7, x + 0.7), (y, y + 1.2), (WATER_Z, span.deck + tall + 0.4), pillar)
        for z in (0.96, float(rng.uniform(0.5, 0.7))):
            parts += block(
                (x - 0.6, x + 0.6),
                (0.6, span.depth - 0.6),
                (span.deck + tall * z - 0.9, span.deck + tall * z),
                pillar,
            )
    return parts


def _hang(canvas: Canvas, span: Span, towers: list[float], tall: float, hangers: int) -> None:
    sag = float(span.rng.uniform(0.75, 0.93)) * tall

    def height(x: float) -> float:
        low, high = towers
        if low <= x <= high:
            t = (2 * x - low - high) / (high - low)
            return tall - sag * (1 - t * t) - 0.2
        t = x / low if x < low else (span.length - x) / (span.length - high)
        return (tall - 0.2) * t * t + 0.3 * (1 - t)

    xs = np.linspace(0.1, span.length - 0.1, 41)
    for a, b in pairwise(xs.tolist()):
        canvas.bar((a, height(a)), (b, height(b)), 0.3, shade(span.iron, 20), glow=255)
    for x in np.linspace(1.0, span.length - 1.0, hangers):
        canvas.bar((float(x), 0.1), (float(x), height(float(x))), 0.1, shade(span.iron, 30), glow=255)


def _covered(span: Span) -> list[Surface]:
    """A wooden house on piers, with a roof over the road."""
    rng = span.rng
    tall = float(rng.uniform(3.0, 4.2))
    shape = round((tall + 0.6) * PX_PER_M), round(span.length * PX_PER_M)
    canvas = Canvas(materials.planks(rng, shape, PX_PER_M, span.iron), PX_PER_M)
    windows, color = int(rng.integers(4, 13)), shade(span.wall, 20)
    for i in range(windows):
        x, half = span.length * (i + 0.5) / windows, span.length / windows * 0.28
        canvas.rect(x - half - 0.15, 1.2, x + half + 0.15, tall - 0.4, color)
        canvas.rect(x - half, 1.35, x + half, tall - 0.55, (40, 36, 34), glow=140)
        if span.look[1] < 0.5:
            canvas.bar((x - half, 1.35), (x + half, tall - 0.55), 0.12, color)
            canvas.bar((x + half, 1.35), (x - half, tall - 0.55), 0.12, color)
    parts = span.sides(canvas.texture(), span.deck - 0.6)
    roof = sheet(rng, materials.tiles, shade(span.wall, -40), px_per_m=PX_PER_M)
    half, eave, rise = span.length / 2 + 0.5, span.deck + tall, span.depth * float(rng.uniform(0.3, 0.6))
    ridge = [np.array([-half, span.depth / 2, eave + rise]), np.array([half, span.depth / 2, eave + rise])]
    for y, order in ((-0.6, 1), (span.depth + 0.6, -1)):
        low = [np.array([-half, y, eave - 0.3]), np.array([half, y, eave - 0.3])][::order]
        part = patch([*low, *ridge[::-order]], roof, facade=True)
        parts += [] if part is None else [part]
    return parts + _slab(span, 0.6, span.sheet()) + _piers(span, 1 + int(rng.integers(0, 4)), span.deck - 0.6)


FORMS: tuple[Callable[[Span], list[Surface]], ...] = (_arches, _truss, _suspension, _covered, _arches)
