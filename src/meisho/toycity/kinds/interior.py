"""A room seen from inside: church, library, salon, café or hall, with its walls, windows and furniture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meisho.toycity import materials, stones
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB, Material
from meisho.toycity.pictures import Easel, paint, pick_palette
from meisho.toycity.plots import Plot, finish
from meisho.toycity.rooms import pick_floor, room_stage, shell
from meisho.toycity.shapes import ball, block, loft, ring
from meisho.toycity.site import Site
from meisho.toycity.styles import ACCENTS, ROOFS, WALLS, choose
from meisho.toycity.surfaces import Surface, Texture, revolve
from meisho.toycity.surroundings import sheet
from meisho.toycity.windows import arch_outline

PX_PER_M = 60.0
SKY: RGB = (224, 236, 246)
DARK: RGB = (40, 34, 32)


@dataclass(frozen=True, eq=False)
class Room:
    """A room to furnish.

    Attributes:
        rng: The room's own random numbers.
        wall: Colour of the walls, which siblings share.
        trim: Colour of what is on them.
        wood: Colour of furniture.
        palette: Colours of pictures and cloth.
        size: Width, depth and height, metres.
    """

    rng: np.random.Generator
    wall: RGB
    trim: RGB
    wood: RGB
    palette: tuple[RGB, ...]
    size: tuple[float, float, float]

    def sheet(self, material: Material, color: RGB) -> Texture:
        """Draw a sheet of a material."""
        return sheet(self.rng, material, color, size_m=3.0, px_per_m=PX_PER_M)


@dataclass(frozen=True)
class Form:
    """A form of room.

    Attributes:
        material: Material of the walls.
        features: What stands along its walls, names in `FEATURES`.
        furniture: Names in `FURNITURE`.
        width: Least and greatest width, metres.
        height: Least and greatest height, metres.
        bay: Width that each feature takes, metres.
    """

    material: Material
    features: tuple[str, ...]
    furniture: tuple[str, ...]
    width: tuple[float, float]
    height: tuple[float, float]
    bay: float


def draw(plot: Plot) -> Site:
    """Draw a room."""
    look, own = plot.shared(), plot.own()
    form = list(FORMS.values())[int(look.integers(0, len(FORMS)))]
    wall, trim, wood = choose(look, WALLS), choose(look, ACCENTS), choose(look, WOODS)
    palette, ground, seed = pick_palette(look), pick_floor(look), look.integers(0, 2**31)
    width, height = (round(float(own.uniform(*r)), 2) for r in (form.width, form.height))
    size = width, round(float(own.uniform(8, 14)), 2), height
    room = Room(own, wall, trim, wood, palette, size)
    parts = shell(
        size, _dressed(room, form, width), _dressed(room, form, size[1]), _ceiling(room, int(seed)), ground
    )
    for name in form.furniture:
        parts += FURNITURE[name](room)
    return finish(plot, parts, [], room_stage(*size))


def _dressed(room: Room, form: Form, width: float) -> Texture:
    """Draw one wall: material, a dado and a cornice, and a feature in each bay."""
    tall, rng = room.size[2], room.rng
    shape = round(tall * PX_PER_M), round(width * PX_PER_M)
    canvas = Canvas(form.material(rng, shape, PX_PER_M, room.wall), PX_PER_M)
    canvas.rect(0, 0, width, 0.9, shade(room.wood, 10))
    for x in np.arange(0.15, width, 0.7):
        canvas.frame(float(x), 0.15, float(x) + 0.55, 0.78, shade(room.wood, -24), 0.04)
    canvas.rect(0, 0.9, width, 0.98, shade(room.wood, 36))
    canvas.rect(0, tall - 0.3, width, tall, shade(room.trim, 24))
    canvas.rect(0, tall - 0.36, width, tall - 0.3, shade(room.trim, -30))
    count = max(1, round(width / form.bay))
    names = [form.features[int(i)] for i in rng.integers(0, len(form.features), count)]
    for i, name in enumerate(names):
        FEATURES[name](room, canvas, width * (i + 0.5) / count, width / count * 0.4)
    return canvas.texture()


def _ceiling(room: Room, seed: int) -> Texture:
    """Draw a ceiling: coffers, beams or plaster."""
    color = shade(room.wall, 24)
    canvas = Canvas(materials.plaster(np.random.default_rng(seed), (360, 360), 40, color), 40)
    kind, pitch = seed % 3, 0.8 + seed % 7 * 0.12
    for at in np.arange(0.2, 9, pitch) if kind else []:
        canvas.rect(0, float(at), 9, float(at) + 0.18, shade(room.wood, 8))
        if kind == 2:
            canvas.rect(float(at), 0, float(at) + 0.18, 9, shade(room.wood, -8))
    return canvas.texture()


def _window(room: Room, canvas: Canvas, x: float, half: float) -> None:
    half, top = min(half, 0.9), room.size[2] - 0.7
    pointed = sum(room.wall) % 2 == 0
    canvas.polygon(
        arch_outline(x - half - 0.14, 0.98, x + half + 0.14, top + 0.14, pointed=pointed), room.trim
    )
    canvas.polygon(arch_outline(x - half, 1.1, x + half, top, pointed=pointed), SKY, glow=60)
    for z in np.arange(1.5, top - 0.2, 0.55):
        canvas.rect(x - half, float(z), x + half, float(z) + 0.05, shade(room.trim, -20))
    canvas.rect(x - 0.04, 1.1, x + 0.04, top - 0.1, shade(room.trim, -20))
    if room.rng.random() < 0.5:
        for side in (-1, 1):
            edges = sorted((x + side * half * 1.1, x + side * half * 0.55))
            canvas.rect(edges[0], 0.3, edges[1], top + 0.2, room.palette[0])


def _stained(room: Room, canvas: Canvas, x: float, half: float) -> None:
    half, top = min(half, 1.0), room.size[2] - 0.8
    canvas.polygon(arch_outline(x - half - 0.2, 1.4, x + half + 0.2, top + 0.25, pointed=True), room.trim)
    canvas.polygon(arch_outline(x - half, 1.5, x + half, top, pointed=True), DARK)
    for z in np.arange(1.6, top - half * 1.8, 0.34):
        for i in range(4):
            left = x - half + half * i / 2
            hue = room.rng.integers(40, 230, 3)
            color = int(hue[0]), int(hue[1]), int(hue[2])
            canvas.rect(left + 0.03, float(z), left + half / 2 - 0.03, float(z) + 0.3, color, glow=140)
    canvas.disc(x, top - half * 1.1, half * 0.4, room.palette[1], glow=140)


def _picture(room: Room, canvas: Canvas, x: float, half: float) -> None:
    rng = room.rng
    wide, tall = float(rng.uniform(0.5, 1.7)) * half, float(rng.uniform(0.6, 1.5))
    low = min(1.3, room.size[2] - tall - 0.5)
    canvas.rect(x - wide / 2 - 0.09, low - 0.09, x + wide / 2 + 0.09, low + tall + 0.09, (176, 138, 66))
    paint(Easel(canvas, rng, x - wide / 2, low, wide, tall, pick_palette(rng)))


def _shelf(room: Room, canvas: Canvas, x: float, half: float) -> None:
    top = min(room.size[2] - 0.45, 4.0)
    canvas.rect(x - half, 0.05, x + half, top, room.wood)
    rows = max(2, int((top - 0.3) / 0.38))
    for row in range(rows):
        low = 0.15 + (top - 0.3) * row / rows
        high = low + (top - 0.3) / rows - 0.06
        canvas.rect(x - half + 0.06, low, x + half - 0.06, high, shade(room.wood, -56))
        at = x - half + 0.08
        while at < x + half - 0.12:
            thick, tall = (float(v) for v in room.rng.uniform((0.04, 0.6), (0.1, 0.98)))
            spine = shade(choose(room.rng, ACCENTS + ROOFS), int(room.rng.integers(-20, 40)))
            canvas.rect(at, low, min(at + thick, x + half - 0.08), low + (high - low) * tall, spine)
            at += thick + 0.012


def _niche(room: Room, canvas: Canvas, x: float, half: float) -> None:
    half, top = min(half, 0.8), min(room.size[2] - 0.7, 3.4)
    canvas.polygon(arch_outline(x - half, 1.0, x + half, top, pointed=False), shade(room.wall, -64))
    color = shade(room.palette[2], 30)
    canvas.polygon([(x - 0.22, 1.2), (x + 0.22, 1.2), (x + 0.16, top * 0.66), (x - 0.16, top * 0.66)], color)
    canvas.disc(x, top * 0.66 + 0.12, 0.13, color)
    canvas.rect(x - 0.35, 1.0, x + 0.35, 1.2, shade(room.wall, 20))


def _door(room: Room, canvas: Canvas, x: float, half: float) -> None:
    half, top = min(half, 0.75), min(2.5, room.size[2] - 0.5)
    canvas.rect(x - half - 0.15, 0, x + half + 0.15, top + 0.15, shade(room.trim, 10))
    canvas.rect(x - half, 0, x + half, top, shade(room.wood, -10))
    for side in (-1, 1):
        for low, high in ((0.2, 1.0), (1.2, top - 0.2)):
            edges = sorted((x + side * 0.06, x + side * (half - 0.1)))
            canvas.frame(edges[0], low, edges[1], high, shade(room.wood, 40), 0.05)


def _fireplace(room: Room, canvas: Canvas, x: float, half: float) -> None:
    half = min(half, 1.1)
    canvas.rect(x - half, 0, x + half, 1.35, shade(room.wall, -40))
    canvas.rect(x - half - 0.1, 1.3, x + half + 0.1, 1.45, (232, 226, 214))
    canvas.rect(x - half * 0.6, 0, x + half * 0.6, 0.95, (28, 22, 20))
    canvas.polygon([(x - 0.3, 0.05), (x + 0.3, 0.05), (x, 0.6)], (240, 140, 50), glow=255)
    top = min(room.size[2] - 0.45, 2.9)
    canvas.rect(x - half * 0.7, 1.6, x + half * 0.7, top, (186, 146, 70))
    canvas.rect(x - half * 0.62, 1.68, x + half * 0.62, top - 0.08, (190, 204, 212))


def _board(room: Room, canvas: Canvas, x: float, half: float) -> None:
    """Draw a board with the day's dishes, or with departures."""
    top = min(room.size[2] - 0.5, 3.0)
    canvas.rect(x - half, 1.4, x + half, top, room.wood)
    canvas.rect(x - half + 0.06, 1.46, x + half - 0.06, top - 0.06, (34, 44, 42))
    for z in np.arange(1.56, top - 0.2, 0.16):
        long = float(room.rng.uniform(0.3, 0.95))
        canvas.rect(
            x - half + 0.14,
            float(z),
            x - half + 0.14 + (2 * half - 0.3) * long,
            float(z) + 0.06,
            (226, 220, 196),
        )


def _pilaster(room: Room, canvas: Canvas, x: float, half: float) -> None:
    top, wide = room.size[2] - 0.36, min(half * 0.5, 0.5)
    canvas.rect(x - wide, 0, x + wide, top, shade(room.wall, 30))
    for i in range(4):
        at = x - wide + 2 * wide * (i + 0.5) / 4
        canvas.rect(at - 0.04, 0.5, at + 0.04, top - 0.5, shade(room.wall, -26))
    canvas.rect(x - wide - 0.1, top - 0.45, x + wide + 0.1, top, room.trim)
    canvas.rect(x - wide - 0.1, 0, x + wide + 0.1, 0.4, room.trim)


FEATURES: dict[str, Callable[[Room, Canvas, float, float], None]] = {
    "window": _window,
    "stained": _stained,
    "picture": _picture,
    "shelf": _shelf,
    "niche": _niche,
    "door": _door,
    "fireplace": _fireplace,
    "board": _board,
    "pilaster": _pilaster,
}
"""Name -> function that draws it on a wall around x, at most `half` to each side."""


def _columns(room: Room) -> list[Surface]:
    width, depth, height = room.size
    stone = room.sheet(stones.marble if sum(room.trim) % 2 else materials.ashlar, shade(room.wall, 16))
    gap, radius = float(room.rng.uniform(2.4, 4.0)), float(room.rng.uniform(0.22, 0.42))
    profile = [(radius * 1.5, 0.0), (radius, 0.4), (radius * 0.9, height - 0.6), (radius * 1.6, height)]
    parts = []
    for side in (-1, 1):
        for y in np.arange(-1.2, -depth * 0.6, -gap):
            parts += revolve((side * width * 0.3, round(float(y), 3)), profile, stone, sides=8, facade=True)
    return parts


def _pews(room: Room) -> list[Surface]:
    width, depth, _ = room.size
    wood = room.sheet(materials.planks, room.wood)
    parts = []
    for i in range(int(room.rng.integers(2, 5))):
        y = -2.2 - 1.1 * i
        for side in (-1, 1):
            x = sorted((side * 0.6, side * width * 0.26))
            if -y < depth * 0.6:
                parts += block(x, (y, y + 0.1), (0, 0.95), wood) + block(x, (y - 0.4, y), (0, 0.45), wood)
    return parts


def _altar(room: Room) -> list[Surface]:
    cloth = room.sheet(stones.carpet, room.palette[0])
    gold = room.sheet(materials.metal, (206, 170, 80))
    parts = block((-1.1, 1.1), (-1.2, -0.4), (0, 1.05), cloth)
    for x in (-0.8, 0.0, 0.8):
        tall = 1.05 + float(room.rng.uniform(0.3, 0.9))
        parts += block((x - 0.04, x + 0.04), (-0.84, -0.76), (1.05, tall), gold)
    return parts + block((-0.3, 0.3), (-0.84, -0.76), (1.5, 1.58), gold)


def _tables(room: Room) -> list[Surface]:
    width, depth, _ = room.size
    wood, seat = room.sheet(materials.planks, room.wood), room.sheet(materials.plaster, room.palette[1])
    parts = []
    for _ in range(int(room.rng.integers(2, 5))):
        x, y = float(room.rng.uniform(-0.38, 0.38)) * width, -float(room.rng.uniform(0.12, 0.5)) * depth
        half = float(room.rng.uniform(0.35, 0.8))
        parts += block((x - half, x + half), (y - 0.35, y + 0.35), (0.7, 0.76), wood)
        parts += block((x - 0.06, x + 0.06), (y - 0.06, y + 0.06), (0.0, 0.7), wood)
        for side in (-1, 1):
            at = x + side * (half + 0.3)
            parts += block((at - 0.2, at + 0.2), (y - 0.2, y + 0.2), (0.4, 0.46), seat)
            back = at + side * 0.18
            parts += block((back - 0.03, back + 0.03), (y - 0.2, y + 0.2), (0.0, 0.95), wood)
    return parts


def _sofa(room: Room) -> list[Surface]:
    cloth = room.sheet(stones.carpet, room.palette[3])
    x = float(room.rng.uniform(-0.2, 0.2)) * room.size[0]
    half = float(room.rng.uniform(0.8, 1.3))
    parts = block((x - half, x + half), (-2.0, -1.2), (0.1, 0.45), cloth)
    parts += block((x - half, x + half), (-1.25, -1.0), (0.1, 0.95), cloth)
    for side in (-1, 1):
        edges = sorted((x + side * half, x + side * (half + 0.2)))
        parts += block(edges, (-2.0, -1.0), (0.0, 0.65), cloth)
    rug = room.sheet(stones.carpet, room.palette[2])
    return parts + block((x - 1.8, x + 1.8), (-3.9, -2.1), (0.0, 0.015), rug)


def _chandelier(room: Room) -> list[Surface]:
    gold, height = room.sheet(materials.metal, (206, 170, 80)), room.size[2]
    y, z = -room.size[1] * 0.3, height * float(room.rng.uniform(0.68, 0.8))
    radius = float(room.rng.uniform(0.3, 0.7))
    bowl = [(0.05, z - 0.35), (radius, z - 0.1), (radius * 1.1, z), (0.04, z + 0.2), (0.03, height)]
    parts = loft([ring((0, y, h), (r, r), sides=8) for r, h in bowl], gold)
    lamp = room.sheet(materials.plaster, (252, 240, 206))
    for i in range(6):
        turn = 2 * np.pi * i / 6
        x, dy = radius * float(np.cos(turn)), radius * float(np.sin(turn))
        parts += ball((x, y + dy, z + 0.1), (0.08, 0.08, 0.12), lamp, sides=5, bands=3)
    return parts


def _counter(room: Room) -> list[Surface]:
    width = room.size[0]
    front = room.sheet(materials.planks, room.trim)
    top = room.sheet(stones.marble, (214, 208, 198))
    x0, x1 = sorted(float(v) * width for v in room.rng.uniform((-0.42, 0.05), (-0.1, 0.42)))
    parts = block((x0, x1), (-1.6, -0.9), (0, 1.0), front) + block(
        (x0 - 0.1, x1 + 0.1), (-1.7, -0.85), (1.0, 1.06), top
    )
    for x in np.linspace(x0 + 0.3, x1 - 0.3, int(room.rng.integers(2, 6))):
        color = room.palette[int(room.rng.integers(0, 5))]
        bottle = room.sheet(materials.plaster, color)
        parts += block((float(x) - 0.06, float(x) + 0.06), (-1.3, -1.18), (1.06, 1.4), bottle)
    return parts


FURNITURE: dict[str, Callable[[Room], list[Surface]]] = {
    "columns": _columns,
    "pews": _pews,
    "altar": _altar,
    "tables": _tables,
    "sofa": _sofa,
    "chandelier": _chandelier,
    "counter": _counter,
}
WOODS: tuple[RGB, ...] = ((104, 68, 44), (66, 44, 32), (160, 118, 76), (52, 58, 56), (120, 60, 44))
FORMS: dict[str, Form] = {
    "church": Form(
        materials.ashlar,
        ("stained", "stained", "niche", "pilaster"),
        ("columns", "pews", "altar"),
        (8, 13),
        (5.5, 8.5),
        2.8,
    ),
    "library": Form(
        materials.plaster,
        ("shelf", "shelf", "shelf", "window", "picture"),
        ("tables", "chandelier"),
        (6, 11),
        (3.4, 5.5),
        2.0,
    ),
    "salon": Form(
        stones.carpet,
        ("picture", "window", "fireplace", "door", "picture"),
        ("sofa", "chandelier"),
        (6, 10),
        (3.0, 4.4),
        2.2,
    ),
    "café": Form(
        materials.brick,
        ("board", "picture", "window", "shelf", "door"),
        ("tables", "counter"),
        (6, 11),
        (2.8, 3.8),
        2.1,
    ),
    "hall": Form(
        stones.marble,
        ("pilaster", "window", "niche", "board", "pilaster"),
        ("columns", "chandelier"),
        (9, 14),
        (5.0, 8.0),
        2.4,
    ),
}
"""Name -> form of a room."""
