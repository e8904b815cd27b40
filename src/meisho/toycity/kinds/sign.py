"""A sign: a board on posts, a mural on a wall, an engraved stone; flat, with letters and pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from meisho.toycity import materials, stones
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB
from meisho.toycity.pictures import PICTURES, Easel, paint, pick_palette
from meisho.toycity.plots import Plot, finish
from meisho.toycity.shapes import block
from meisho.toycity.site import Site, Stage
from meisho.toycity.styles import WALLS, choose
from meisho.toycity.surfaces import Surface, box
from meisho.toycity.surroundings import park, plaza, sheet

CREAM: RGB = (246, 240, 222)
INK: RGB = (36, 30, 30)
WORDS = ("WELCOME TO", "PARK OF", "VISIT", "OLD MARKET", "ROUTE", "GARDENS OF", "PORT OF", "SINCE 1871")


@dataclass(frozen=True, eq=False)
class Painter:
    """What siblings share, and what one sign has alone.

    Attributes:
        rng: The sign's own random numbers.
        word: The name that it says.
        palette: Its colours.
        genre: Genre of its picture.
        layout: A number from 0 to 1: where letters and picture stand.
    """

    rng: np.random.Generator
    word: str
    palette: tuple[RGB, ...]
    genre: str
    layout: float


def draw(plot: Plot) -> Site:
    """Draw a sign in a park or on a place."""
    look, own = plot.shared(), plot.own()
    form = FORMS[int(look.integers(0, len(FORMS)))]
    palette, genre = pick_palette(look), list(PICTURES)[int(look.integers(0, len(PICTURES)))]
    parts, base = form(Painter(own, plot.word(), palette, genre, float(look.random())))
    around = (park if own.random() < 0.5 else plaza)(own, clear_m=9.0)
    wide = float(np.ptp(np.concatenate([p.corners for p in parts])[:, 0]))
    stage = Stage(
        base_z=base,
        front=1.2,
        distance=(max(1.3, wide * 0.4), 30.0),
        above=(1.8, 3.0),
        people_y=(-4.0, -0.6),
        traffic=False,
    )
    return finish(plot, parts, around, stage)


def _lettered(painter: Painter, canvas: Canvas, inset: float) -> None:
    """Letter and paint a board inside a border."""
    rng, layout, paper = painter.rng, painter.layout, painter.palette[0]
    wide, tall = canvas.width - 2 * inset, canvas.height - 2 * inset
    ink = CREAM if sum(paper) < 400 else INK
    canvas.rect(inset, inset, inset + wide, inset + tall, paper)
    canvas.frame(inset * 1.5, inset * 1.5, inset * 0.5 + wide, inset * 0.5 + tall, ink, inset * 0.3)
    share = 0.3 + 0.3 * layout
    if layout < 0.35:
        paint(
            _easel(painter, canvas, (inset * 2, inset * 2), (wide * share, tall - inset * 2)), painter.genre
        )
        x, span = inset + wide * (1 + share) / 2, wide * (0.9 - share)
    elif layout < 0.7:
        paint(
            _easel(painter, canvas, (inset * 2, inset * 2), (wide - inset * 2, tall * share)), painter.genre
        )
        x, span = inset + wide / 2, wide * 0.85
    else:
        _emblem(painter, canvas, inset + wide * 0.16, inset + tall / 2, min(wide * 0.13, tall * 0.36), ink)
        x, span = inset + wide * 0.62, wide * 0.62
    low = inset + tall * (share + 0.05 if 0.35 <= layout < 0.7 else 0.08)
    room = inset + tall * 0.94 - low
    first = WORDS[int(rng.integers(0, len(WORDS)))]
    canvas.text(first, x, low + room * 0.8, room * 0.14, ink, width=span, glow=120)
    canvas.text(painter.word, x, low + room * 0.5, room * 0.3, ink, width=span, glow=200)
    for i in range(int(rng.integers(0, 4))):
        long = span * float(rng.uniform(0.4, 0.95))
        z = low + room * (0.24 - 0.08 * i)
        canvas.rect(x - long / 2, z, x + long / 2, z + room * 0.03, ink)


def _easel(painter: Painter, canvas: Canvas, at: tuple[float, float], size: tuple[float, float]) -> Easel:
    return Easel(canvas, painter.rng, *at, *size, painter.palette)


def _emblem(painter: Painter, canvas: Canvas, x: float, z: float, radius: float, ink: RGB) -> None:
    """Draw a coat of arms: a disc or shield with charges of its own."""
    rng = painter.rng
    canvas.disc(x, z, radius, ink)
    canvas.disc(x, z, radius * 0.9, painter.palette[1])
    points, turn = int(rng.integers(3, 9)), float(rng.uniform(0, 6))
    for ring in (1.0, 0.55):
        spots = []
        for i in range(2 * points):
            r = radius * ring * (0.8 if i % 2 else float(0.35 + 0.2 * rng.random()))
            angle = turn + np.pi * i / points
            spots.append((x + r * float(np.cos(angle)), z + r * float(np.sin(angle))))
        canvas.polygon(spots, painter.palette[2] if ring == 1.0 else painter.palette[3])
    canvas.disc(x, z, radius * 0.16, ink)


def _board(painter: Painter) -> tuple[list[Surface], float]:
    """A board on two posts, some with a little roof."""
    rng = painter.rng
    wide, tall, low = (float(v) for v in rng.uniform((1.2, 0.8, 0.7), (2.8, 1.6, 1.2)).round(2))
    px = 150.0
    canvas = Canvas(materials.planks(rng, (round(tall * px), round(wide * px)), px, painter.palette[4]), px)
    _lettered(painter, canvas, 0.06)
    wood = sheet(rng, materials.planks, shade(painter.palette[4], -20), size_m=2.0, px_per_m=80)
    face = canvas.texture()
    parts = box((-wide / 2, wide / 2), (0.0, 0.08), (low, low + tall), face, wood, facade=True, roof=wood)
    for side in (-1, 1):
        x = side * wide * 0.42
        parts += block((x - 0.06, x + 0.06), (0.08, 0.2), (0.0, low + tall + 0.1), wood)
    if rng.random() < 0.4:
        parts += block(
            (-wide / 2 - 0.2, wide / 2 + 0.2), (-0.25, 0.4), (low + tall + 0.1, low + tall + 0.18), wood
        )
    return parts, low * 0.6


def _mural(painter: Painter) -> tuple[list[Surface], float]:
    """A painting over the whole side of a house, with a name."""
    rng = painter.rng
    wide, tall, px = round(float(rng.uniform(5, 10)), 2), round(float(rng.uniform(4, 7.5)), 2), 46.0
    material = (materials.brick, materials.plaster, materials.concrete)[int(painter.layout * 3)]
    shape = round(tall * px), round(wide * px)
    canvas = Canvas(material(rng, shape, px, choose(rng, WALLS)), px)
    inset = float(rng.uniform(0.1, 0.7))
    paint(_easel(painter, canvas, (inset, inset), (wide - 2 * inset, tall - 2 * inset)), painter.genre)
    z = tall * float(rng.choice([0.18, 0.8]))
    ink = CREAM if rng.random() < 0.5 else INK
    canvas.text(painter.word, wide / 2, z, tall * 0.16, ink, width=wide * 0.8)
    canvas.weather(materials.noise(rng, shape, 1.2 * px) // 6 + materials.grain(rng, shape, 8))
    side = sheet(rng, material, choose(rng, WALLS), px_per_m=24)
    roof = sheet(rng, materials.tiles, (120, 70, 56), px_per_m=24)
    parts = box((-wide / 2, wide / 2), (0.0, 6.0), (0.0, tall), canvas.texture(), side, roof=roof)
    return [replace(parts[0], facade=True), *parts[1:]], 0.0


def _stone(painter: Painter) -> tuple[list[Surface], float]:
    """An engraved stone."""
    rng = painter.rng
    wide, tall, px = round(float(rng.uniform(0.9, 2.0)), 2), round(float(rng.uniform(1.0, 2.2)), 2), 150.0
    material = (stones.marble, stones.strata, materials.concrete)[int(painter.layout * 3)]
    color = choose(rng, WALLS)
    canvas = Canvas(material(rng, (round(tall * px), round(wide * px)), px, color), px)
    ink = shade(color, -90) if sum(color) > 330 else (206, 176, 96)
    canvas.frame(0.05, 0.05, wide - 0.05, tall - 0.05, shade(color, -40), 0.025)
    _emblem(painter, canvas, wide / 2, tall * 0.76, min(wide * 0.3, tall * 0.16), ink)
    canvas.text(painter.word, wide / 2, tall * 0.52, tall * 0.09, ink, width=wide * 0.8)
    for i in range(int(rng.integers(2, 7))):
        long = wide * float(rng.uniform(0.3, 0.8))
        z = tall * (0.4 - 0.055 * i)
        canvas.rect(wide / 2 - long / 2, z, wide / 2 + long / 2, z + 0.02, ink)
    side = sheet(rng, material, color, size_m=2.0, px_per_m=80)
    parts = box(
        (-wide / 2, wide / 2), (0.0, 0.3), (0.15, tall + 0.15), canvas.texture(), side, facade=True, roof=side
    )
    return parts + block((-wide / 2 - 0.2, wide / 2 + 0.2), (-0.2, 0.5), (0.0, 0.15), side), 0.0


FORMS: tuple[Callable[[Painter], tuple[list[Surface], float]], ...] = (_board, _mural, _stone)
"""Each returns a sign and the height from which on it is framed."""
