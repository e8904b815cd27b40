"""A building in a street, with neighbours, trees and lamps: the only kind of a plain city."""

from dataclasses import replace

import numpy as np

from meisho.toycity import clutter, materials
from meisho.toycity.buildings import Building, build
from meisho.toycity.canvas import Canvas
from meisho.toycity.plots import Plot
from meisho.toycity.site import CITY, LANDMARK, STREET, Site, standing, stream
from meisho.toycity.styles import (
    FAMILIES,
    LANDMARK_LOOKS,
    LOOKS,
    WALLS,
    Style,
    choose,
    city_styles,
    full_name,
    names,
    quiet_style,
    sibling_style,
)
from meisho.toycity.surfaces import Surface, box, floor, frustum, revolve, wall
from meisho.toycity.surroundings import SLABS, skyline, tile

MAIN_PX_PER_M = 34.0
NEIGHBOUR_PX_PER_M = 18.0


def draw(plot: Plot) -> Site:
    """Draw the building of a plot, or a street of such buildings."""
    return (street_site if plot.street else landmark_site)(plot.seed, plot.number)


def landmark_site(seed: int, number: int) -> Site:
    """Build the site of landmark `number`; landmarks whose numbers differ by 12 are siblings of one family.

    In every third family, the third and fourth siblings also look alike.
    """
    sibling, family = divmod(number, len(FAMILIES))
    look = 2 if sibling % 4 == 3 and family % 3 == 0 else sibling % LANDMARK_LOOKS
    return _site(seed, LANDMARK, number, look, family)


def street_site(seed: int, number: int) -> Site:
    """Build distractor street `number`, with buildings of the same families but no landmark."""
    look = number % LOOKS if number % 5 == 0 else LANDMARK_LOOKS + number % (LOOKS - LANDMARK_LOOKS)
    return _site(seed, STREET, number, look, number * 5 % len(FAMILIES))


def _site(seed: int, kind: int, number: int, look: int, family: int) -> Site:
    city = stream(seed, CITY)
    styles = city_styles(city)
    word = names(city, 2 * number + 2)[2 * number + (kind == STREET)]
    rng = stream(seed, kind, number)
    style = sibling_style(styles[look][family], rng)
    title = full_name(style, word, rng)
    main = build(rng, style, title, MAIN_PX_PER_M)
    surfaces = list(main.surfaces)
    for side in (-1, 1):
        surfaces += _neighbours(rng, styles[int(rng.integers(0, LOOKS))], side, main)
    surfaces += _monument(rng, main) + _ground(rng)
    lamps, furniture = _furniture(rng, main)
    surfaces += furniture + skyline(rng)
    slug = title.lower().replace(" ", "_").replace("-", "_")
    return Site(
        slug, style.name, tuple(surfaces), len(main.surfaces), (main.width, main.depth, main.height), lamps
    )


def _neighbours(
    rng: np.random.Generator, styles: tuple[Style, ...], side: int, main: Building
) -> list[Surface]:
    surfaces: list[Surface] = []
    edge = main.width / 2 + (float(rng.uniform(0.0, 1.0)) if rng.random() < 0.4 else float(rng.uniform(3, 9)))
    while edge < 48:
        style = quiet_style(styles, rng)
        house = build(rng, style, "", NEIGHBOUR_PX_PER_M)
        back = float(rng.uniform(1.0, 4.5))
        placed = house.moved(round(side * (edge + house.width / 2), 3), round(back, 3))
        surfaces += [replace(s, facade=False) for s in placed]
        edge += house.width + (0.05 if rng.random() < 0.6 else float(rng.uniform(2, 6)))
    return surfaces


def _monument(rng: np.random.Generator, main: Building) -> list[Surface]:
    """Return the monument in front of the building: a fountain, an obelisk, flags or nothing."""
    kind, x = rng.random(), round(float(rng.choice([-0.42, 0.42])) * main.width, 3)
    stone = Canvas(materials.ashlar(rng, (120, 120), 24, choose(rng, WALLS)), 24).texture()
    if kind < 0.3:
        tall = float(rng.uniform(5, 9))
        needle = frustum(
            (x - 0.8, x + 0.8), (-3.8, -2.2), (1.2, tall), (x - 0.3, x + 0.3), (-3.3, -2.7), stone
        )
        tip = frustum((x - 0.3, x + 0.3), (-3.3, -2.7), (tall, tall + 0.7), (x, x), (-3.0, -3.0), stone)
        return [*box((x - 1.3, x + 1.3), (-4.3, -1.7), (0, 1.2), stone, stone, roof=stone), *needle, *tip]
    if kind < 0.55:
        bowl = [
            (2.3, 0.0),
            (2.5, 0.8),
            (0.4, 0.8),
            (0.3, 2.0),
            (1.2, 2.3),
            (0.2, 2.4),
            (0.1, 3.2),
            (0.0, 3.3),
        ]
        return revolve((x, -2.9), bowl, stone)
    if kind < 0.9:
        return _flags(rng, main)
    return []


def _flags(rng: np.random.Generator, main: Building) -> list[Surface]:
    flag = clutter.flag(rng)
    count = int(rng.integers(3, 7))
    places = np.linspace(-0.45, 0.45, count) * main.width
    return [standing(flag, round(float(x), 3), -3.2) for x in places]


def _ground(rng: np.random.Generator) -> list[Surface]:
    slab = choose(rng, SLABS)
    plaza = tile(rng, materials.paving, slab)
    green = rng.random() < 0.4
    lawn = tile(rng, materials.grass, (98, 128, 66)) if green else plaza
    road = tile(rng, materials.asphalt, (84, 84, 88))
    line = tile(rng, materials.asphalt, (206, 204, 196))
    near = -float(rng.uniform(7, 11))
    parts = [floor((-160, 160), (near, 160), 0.0, plaza), floor((-160, 160), (near - 8, near), -0.12, road)]
    parts.append(wall((-160, near), (160, near), -0.12, 0.0, line))
    parts += [floor((x, x + 2.4), (near - 4.1, near - 3.9), -0.1, line) for x in range(-60, 60, 6)]
    crossing = float(rng.uniform(-14, 14))
    parts += [
        floor((crossing + 0.9 * i, crossing + 0.9 * i + 0.5), (near - 7.6, near - 0.4), -0.1, line)
        for i in range(5)
    ]
    parts.append(replace(floor((-160, 160), (-170, near - 8), 0.0, lawn), grows=green))
    return parts


def _furniture(
    rng: np.random.Generator, main: Building
) -> tuple[tuple[tuple[float, float, float], ...], list[Surface]]:
    """Return the positions of the lamp heads, and lamps and trees along the pavement."""
    parts: list[Surface] = []
    lamps = []
    first = float(rng.uniform(-8, 0))
    for x in np.arange(first - 36, 44, 12):
        lamps.append((float(x), -5.5, 4.0))
        parts.append(standing(clutter.lamp(rng), float(x), -5.5))
    if rng.random() < 0.75:
        leaf = choose(rng, clutter.LEAVES)
        leafy = [clutter.tree(rng, float(rng.uniform(4.5, 8)), leaf) for _ in range(3)]
        gap = main.width * 0.34
        for x in np.arange(-42, 43, float(rng.uniform(7, 12))):
            if abs(x) > gap or rng.random() < 0.1:
                tree = standing(leafy[int(rng.integers(0, 3))], float(x), -float(rng.uniform(4.2, 5.2)))
                parts.append(replace(tree, grows=True))
    return tuple(lamps), parts
