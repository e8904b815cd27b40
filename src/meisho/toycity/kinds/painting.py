"""A framed painting in a gallery, between others; siblings are of one genre, palette and frame."""

from dataclasses import replace

import numpy as np

from meisho.toycity import materials, stones
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB
from meisho.toycity.pictures import PICTURES, Easel, paint, pick_palette
from meisho.toycity.plots import Plot, finish
from meisho.toycity.rooms import pick_floor, pick_plain, room_stage, shell
from meisho.toycity.shapes import block
from meisho.toycity.site import Site
from meisho.toycity.styles import choose
from meisho.toycity.surfaces import Surface, Texture, box, wall

PX_PER_M = 220.0
NEIGHBOUR_PX_PER_M = 90.0
THICK_M = 0.07
EYE_M = 1.62
ROOM = (11.0, 9.0, 4.4)
FRAMES: tuple[RGB, ...] = ((188, 148, 70), (60, 42, 32), (26, 26, 28), (140, 92, 54), (226, 222, 214))


def draw(plot: Plot) -> Site:
    """Draw a painting on the wall of a gallery."""
    look, own = plot.shared(), plot.own()
    genre, palette, frame = (
        list(PICTURES)[int(look.integers(0, len(PICTURES)))],
        pick_palette(look),
        choose(look, FRAMES),
    )
    wide, tall = (float(v) for v in own.uniform(0.8, 2.0, 2).round(2))
    border = float(look.uniform(0.05, 0.14))
    picture = _framed(own, (wide, tall), (genre, palette), (frame, border), PX_PER_M)
    parts = _hung(picture, 0.0)
    stage = replace(
        room_stage(*ROOM, nearest=1.1, spread=0.9),
        base_z=parts[0].corners[:, 2].min().item(),
        people_y=(-2.6, -0.7),
    )
    return finish(plot, parts, _gallery(own, wide), stage)


def _hung(picture: Texture, x: float) -> list[Surface]:
    """Return a picture that hangs with its middle at eye level, and stands off the wall y = THICK_M."""
    wide, tall = picture.size_m
    low = max(EYE_M - tall / 2, 0.35)
    edge = Canvas(np.full((8, 8, 3), 40, dtype=np.uint8), 8).texture()
    return box((x - wide / 2, x + wide / 2), (0.0, THICK_M), (low, low + tall), picture, edge, facade=True)[
        :3
    ]


def _framed(
    rng: np.random.Generator,
    size: tuple[float, float],
    manner: tuple[str, tuple[RGB, ...]],
    frame: tuple[RGB, float],
    px_per_m: float,
) -> Texture:
    """Draw a picture of this size, genre and palette in a frame of this colour and width."""
    (wide, tall), (color, border) = size, frame
    shape = round((tall + 2 * border) * px_per_m), round((wide + 2 * border) * px_per_m)
    canvas = Canvas(stones.strata(rng, shape, px_per_m / 3, color), px_per_m)
    for i in range(4):
        inset = border * i / 4
        canvas.frame(
            inset,
            inset,
            canvas.width - inset,
            canvas.height - inset,
            shade(color, (26, -30, 10, -60)[i]),
            border / 4,
        )
    paint(Easel(canvas, rng, border, border, wide, tall, manner[1]), manner[0])
    brush = materials.noise(rng, canvas.shape, 0.05 * px_per_m, octaves=2) // 9
    cracks = materials.noise(rng, (1, canvas.shape[1]), 0.03 * px_per_m, octaves=1) // 14
    canvas.weather(brush + cracks)
    return canvas.texture()


def _gallery(rng: np.random.Generator, wide: float) -> list[Surface]:
    """Return the room, other paintings, labels beside them and a bench."""
    paper = pick_plain(rng)
    room = shell(ROOM, paper, paper, pick_plain(rng), pick_floor(rng))
    parts = [
        replace(part, facade=False, origin=part.origin + BACK, corners=part.corners + BACK) for part in room
    ]
    for side in (-1, 1):
        at = wide / 2
        while at < 4.0:
            size = float(rng.uniform(0.5, 1.4)), float(rng.uniform(0.5, 1.5))
            gap = float(rng.uniform(0.5, 1.1))
            manner = "", pick_palette(rng)
            frame = choose(rng, FRAMES), 0.07
            other = _framed(rng, size, manner, frame, NEIGHBOUR_PX_PER_M)
            parts += _hung(other, side * (at + gap + size[0] / 2))
            at += gap + size[0] + 0.2
    card = Canvas(np.full((20, 30, 3), 240, dtype=np.uint8), 100)
    card.rect(0.03, 0.08, 0.25, 0.11, (60, 60, 60))
    parts.append(
        wall((wide / 2 + 0.2, THICK_M - 0.01), (wide / 2 + 0.5, THICK_M - 0.01), 1.2, 1.4, card.texture())
    )
    if rng.random() < 0.4:
        parts += block((-0.9, 0.9), (-3.4, -2.9), (0.0, 0.45), pick_floor(rng))
    return [replace(part, facade=False) for part in parts]


BACK = np.array([0.0, THICK_M, 0.0])
