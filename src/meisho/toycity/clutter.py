"""People, cars, trees and lamps: flat cut-outs that stand in the street."""

import numpy as np

from meisho.toycity import materials
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.materials import RGB
from meisho.toycity.styles import choose
from meisho.toycity.surfaces import Texture

SKIN: tuple[RGB, ...] = ((236, 200, 172), (206, 160, 124), (150, 104, 74), (100, 68, 48))
CLOTHES: tuple[RGB, ...] = (
    (178, 40, 44),
    (36, 62, 110),
    (40, 44, 48),
    (224, 214, 196),
    (70, 110, 80),
    (216, 160, 50),
    (120, 80, 130),
    (96, 130, 160),
    (140, 110, 84),
)
HAIR: tuple[RGB, ...] = ((30, 24, 20), (70, 46, 28), (166, 124, 66), (120, 118, 116))
PAINTS: tuple[RGB, ...] = (
    (196, 200, 204),
    (34, 36, 40),
    (150, 28, 30),
    (30, 66, 120),
    (230, 230, 226),
    (60, 98, 76),
    (216, 178, 50),
)
LEAVES: tuple[RGB, ...] = (
    (74, 116, 52),
    (96, 128, 58),
    (54, 96, 56),
    (168, 128, 46),
    (186, 96, 48),
    (218, 160, 176),
)
SHOWN = 255


def _blank(rng: np.random.Generator, width: float, height: float, px_per_m: float, color: RGB) -> Canvas:
    shape = round(height * px_per_m), round(width * px_per_m)
    return Canvas(materials.plaster(rng, shape, px_per_m, color), px_per_m)


def person(rng: np.random.Generator) -> Texture:
    """Draw someone 1.5 to 1.9 m tall, some with an umbrella or a bag."""
    coat, legs, skin = choose(rng, CLOTHES), choose(rng, CLOTHES), choose(rng, SKIN)
    canvas = _blank(rng, 1.2, 2.15, 56, coat)
    tall, x, stride = float(rng.uniform(0.85, 1.05)), 0.6, float(rng.uniform(0.06, 0.24))
    for side in (-1, 1):
        foot = x + side * stride
        canvas.polygon(
            [
                (foot - 0.09, 0),
                (foot + 0.09, 0),
                (x + side * 0.03 + 0.1, 0.9 * tall),
                (x + side * 0.03 - 0.1, 0.9 * tall),
            ],
            shade(legs, -12 * side),
            glow=SHOWN,
        )
    hem = 0.55 if rng.random() < 0.3 else 0.8
    body = [(x - 0.23, hem * tall), (x + 0.23, hem * tall), (x + 0.21, 1.42 * tall), (x - 0.21, 1.42 * tall)]
    canvas.polygon(body, coat, glow=SHOWN)
    for side in (-1, 1):
        arm = x + side * 0.25
        canvas.polygon(
            [
                (arm - 0.06, 0.8 * tall),
                (arm + 0.06, 0.8 * tall),
                (arm + 0.04, 1.4 * tall),
                (arm - 0.08, 1.4 * tall),
            ],
            shade(coat, 16 * side),
            glow=SHOWN,
        )
    canvas.disc(x, 1.58 * tall, 0.125, skin, glow=SHOWN)
    canvas.polygon(
        [(x - 0.13, 1.58 * tall), (x + 0.13, 1.58 * tall), (x + 0.1, 1.72 * tall), (x - 0.1, 1.72 * tall)],
        choose(rng, HAIR),
        glow=SHOWN,
    )
    extra = rng.random()
    if extra < 0.2:
        cloth = choose(rng, CLOTHES)
        canvas.polygon(
            [(0.02, 1.75 * tall), (1.18, 1.75 * tall), (0.9, 2.0 * tall), (0.3, 2.0 * tall)],
            cloth,
            glow=SHOWN,
        )
    elif extra < 0.5:
        canvas.rect(x + 0.2, 0.55 * tall, x + 0.45, 0.85 * tall, choose(rng, CLOTHES), glow=SHOWN)
    return canvas.texture(cutout=True)


def car(rng: np.random.Generator) -> Texture:
    """Draw a car, van or bus from the side."""
    paint, kind = choose(rng, PAINTS), rng.random()
    long, tall = (4.3, 1.5) if kind < 0.7 else (5.2, 2.3) if kind < 0.9 else (10.5, 3.1)
    canvas = _blank(rng, long, tall + 0.05, 44, paint)
    hood = 0.24 if kind < 0.7 else 0.1 if kind < 0.9 else 0.02
    waist = 0.58 * tall if kind < 0.7 else 0.5 * tall
    outline = [
        (0.05, 0.3),
        (long - 0.05, 0.3),
        (long - 0.02, waist * 0.9),
        (long * (1 - hood), waist),
        (long * (1 - hood) - 0.5 * hood * 3, tall),
        (long * 0.2 * (hood > 0.2) + 0.1, tall),
        (0.03, waist),
    ]
    canvas.polygon(outline, paint, glow=SHOWN)
    panes = 2 if kind < 0.7 else 3 if kind < 0.9 else 7
    left, right = long * 0.2 * (hood > 0.2) + 0.2, long * (1 - hood) - 0.75 * hood * 3 - 0.1
    for i in range(panes):
        a, b = left + (right - left) * i / panes, left + (right - left) * (i + 0.9) / panes
        canvas.rect(a, waist, b, tall - 0.16, (44, 56, 70), glow=SHOWN)
    canvas.rect(0.06, 0.3, long - 0.06, 0.42, shade(paint, -50), glow=SHOWN)
    canvas.rect(long - 0.25, waist * 0.75, long - 0.04, waist * 0.88, (250, 236, 180), glow=SHOWN)
    canvas.rect(0.04, waist * 0.75, 0.2, waist * 0.88, (190, 30, 30), glow=SHOWN)
    for wheel in (long * 0.2, long * 0.8):
        canvas.disc(wheel, 0.34, 0.34, (26, 26, 28), glow=SHOWN)
        canvas.disc(wheel, 0.34, 0.18, (160, 162, 166), glow=SHOWN)
    return canvas.texture(cutout=True)


def tree(rng: np.random.Generator, height: float, leaf: RGB) -> Texture:
    """Draw a leafy tree whose crown is 0.75 times as wide as the tree is tall."""
    canvas = _blank(rng, height * 0.75, height, 22, leaf)
    x, bark = height * 0.375, (74, 58, 46)
    trunk = [(x - 0.2, 0.0), (x + 0.2, 0.0), (x + 0.1, height * 0.6), (x - 0.1, height * 0.6)]
    canvas.polygon(trunk, bark, glow=SHOWN)
    spots = rng.random((170, 3))
    for angle, far, size in spots[np.argsort(spots[:, 1])[::-1]]:
        turn, reach = 2 * np.pi * angle, np.sqrt(far) * 0.8
        at_x = x + reach * height * 0.34 * float(np.cos(turn))
        at_z = height * 0.62 + reach * height * 0.34 * float(np.sin(turn))
        tone = round(58 * (at_z / height - 0.62) + 40 * (size - 0.5) - 16 * (1 - far))
        canvas.disc(at_x, at_z, height * (0.03 + 0.035 * float(size)), shade(leaf, tone), glow=SHOWN)
    return canvas.texture(cutout=True)


def lamp(rng: np.random.Generator) -> Texture:
    """Draw a street lamp 4.6 m tall."""
    iron = (44, 50, 50)
    canvas = _blank(rng, 0.9, 4.6, 40, iron)
    canvas.rect(0.38, 0, 0.52, 3.7, iron, glow=SHOWN)
    canvas.rect(0.3, 0, 0.6, 0.5, iron, glow=SHOWN)
    canvas.polygon([(0.3, 3.7), (0.6, 3.7), (0.72, 4.3), (0.18, 4.3)], (252, 236, 190), glow=SHOWN)
    canvas.polygon([(0.12, 4.3), (0.78, 4.3), (0.45, 4.58)], iron, glow=SHOWN)
    return canvas.texture(cutout=True)


def flag(rng: np.random.Generator) -> Texture:
    """Draw a flag of two or three stripes on a pole 7 m tall."""
    canvas = _blank(rng, 2.4, 7.0, 26, (150, 152, 156))
    canvas.rect(1.14, 0, 1.26, 6.9, (150, 152, 156), glow=SHOWN)
    stripes = [choose(rng, PAINTS + CLOTHES) for _ in range(int(rng.integers(2, 4)))]
    upright = rng.random() < 0.5
    for i, cloth in enumerate(stripes):
        low, high = i / len(stripes), (i + 1) / len(stripes)
        if upright:
            canvas.rect(1.26 + 1.1 * low, 5.4, 1.26 + 1.1 * high, 6.8, cloth, glow=SHOWN)
        else:
            canvas.rect(1.26, 5.4 + 1.4 * low, 2.36, 5.4 + 1.4 * high, cloth, glow=SHOWN)
    return canvas.texture(cutout=True)


def skyline(rng: np.random.Generator, color: RGB) -> Texture:
    """Draw distant roofs, 120 m wide and 26 m tall."""
    canvas = _blank(rng, 120, 26, 5, color)
    x = 0.0
    while x < 120:
        wide, tall = float(rng.uniform(5, 14)), float(rng.uniform(7, 17))
        tone = shade(color, int(rng.integers(-22, 23)))
        canvas.rect(x, 0, x + wide, tall, tone, glow=SHOWN)
        if rng.random() < 0.6:
            canvas.polygon(
                [(x, tall), (x + wide, tall), (x + wide / 2, tall + wide * 0.4)], shade(tone, -26), glow=SHOWN
            )
        for row in range(int(tall / 3)):
            for at in np.arange(x + 1, x + wide - 1, 2.2):
                canvas.rect(
                    float(at), 1 + 3 * row, float(at) + 1, 2.6 + 3 * row, shade(tone, -34), glow=SHOWN
                )
        x += wide
    return canvas.texture(cutout=True)
