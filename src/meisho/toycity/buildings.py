"""Buildings: facades and roofs, assembled in a different way for each family.

A building stands on the ground z = 0, with its front on y = 0 and x = 0 in its middle.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from meisho.toycity import materials
from meisho.toycity.canvas import Canvas, shade
from meisho.toycity.facades import FacadePlan, draw_facade
from meisho.toycity.materials import RGB, Material
from meisho.toycity.styles import Style, pick
from meisho.toycity.surfaces import (
    Point,
    Surface,
    Texture,
    box,
    floor,
    frustum,
    revolve,
    slope,
    wall,
    wall_polygon,
)
from meisho.toycity.windows import WINDOWS


@dataclass(frozen=True, eq=False)
class Building:
    """A building and its size.

    Attributes:
        surfaces: All surfaces of the building.
        width: Width along the street, metres.
        depth: Depth, metres.
        height: Height, metres.
    """

    surfaces: tuple[Surface, ...]
    width: float
    depth: float
    height: float

    def moved(self, x: float, y: float) -> tuple[Surface, ...]:
        """Return the building's surfaces, moved along the ground."""
        shift = np.array([x, y, 0.0])
        return tuple(replace(s, corners=s.corners + shift, origin=s.origin + shift) for s in self.surfaces)


@dataclass(frozen=True, eq=False)
class Mason:
    """Builds one building: holds its style, name, texture scale and random numbers."""

    rng: np.random.Generator
    style: Style
    name: str
    px_per_m: float

    def bays(self) -> int:
        """Draw the number of windows in a row."""
        return pick(self.rng, self.style.bays)

    def storeys(self) -> int:
        """Draw the number of floors."""
        return pick(self.rng, self.style.storeys)

    def chance(self, share: float) -> bool:
        """Return True with the probability `share`."""
        return bool(self.rng.random() < share)

    def front(
        self, width: float, storeys: int, bays: int, *, extra_m: float = 0.6, mark: str = ""
    ) -> Texture:
        """Draw the facade with the entrance and the name."""
        plan = FacadePlan(width, storeys, bays, front=True, words=self.name, extra_m=extra_m, mark=mark)
        return draw_facade(self.rng, self.style, plan, self.px_per_m)

    def plain(
        self,
        width: float,
        storeys: int,
        *,
        extra_m: float = 0.6,
        mark: str = "",
        bays: int = 0,
        words: str = "",
    ) -> Texture:
        """Draw a facade with windows, and optionally a sign."""
        bays = bays or max(1, round(width / self.style.bay_m))
        plan = FacadePlan(width, storeys, bays, words=words, extra_m=extra_m, mark=mark)
        return draw_facade(self.rng, self.style, plan, self.px_per_m)

    def sheet(self, material: Material, color: RGB, size_m: float = 7.0) -> Texture:
        """Draw a sheet of plain material."""
        side = round(size_m * self.px_per_m)
        image = material(self.rng, (side, side), self.px_per_m, color)
        return Canvas(image, self.px_per_m).texture()

    def roof(self) -> Texture:
        """Draw the roofing of this style."""
        sheets = self.style.name in ("temple", "domed", "church", "glass", "deco")
        return self.sheet(materials.metal if sheets else materials.tiles, self.style.roof)

    def trim(self) -> Texture:
        """Draw stone for columns and steps."""
        return self.sheet(materials.plaster, self.style.trim, 3.0)


def _gable_along_x(
    x: Point, y: Point, z: float, rise: float, roof: Texture, end: Texture, eaves: float
) -> list[Surface]:
    """Return a roof whose ridge runs along the street."""
    middle, top = (y[0] + y[1]) / 2, z + rise
    low = z - rise * eaves / (middle - y[0])
    a, b = x[0] - eaves, x[1] + eaves
    depth = y[1] - y[0]
    outline = [(0.0, z), (depth / 2, top), (depth, z)]
    return [
        slope(
            [(a, y[0] - eaves, low), (b, y[0] - eaves, low), (b, middle, top), (a, middle, top)],
            roof,
            two_sided=True,
        ),
        slope(
            [(b, y[1] + eaves, low), (a, y[1] + eaves, low), (a, middle, top), (b, middle, top)],
            roof,
            two_sided=True,
        ),
        wall_polygon((x[1], y[0]), (x[1], y[1]), top, outline, end, facade=True),
        wall_polygon((x[0], y[1]), (x[0], y[0]), top, outline, end, facade=True),
    ]


def _gable_along_y(x: Point, y: Point, z: float, rise: float, roof: Texture, eaves: float) -> list[Surface]:
    """Return the two slopes of a roof whose ridge runs away from the street."""
    middle, top = (x[0] + x[1]) / 2, z + rise
    low = z - rise * eaves / (middle - x[0])
    a, b, c, d = x[0] - eaves, x[1] + eaves, y[0] - eaves * 0.6, y[1] + eaves
    return [
        slope([(b, c, low), (b, d, low), (middle, d, top), (middle, c, top)], roof, two_sided=True),
        slope([(a, d, low), (a, c, low), (middle, c, top), (middle, d, top)], roof, two_sided=True),
    ]


def _hip(x: Point, y: Point, z: float, rise: float, roof: Texture, eaves: float) -> list[Surface]:
    half = min(x[1] - x[0], y[1] - y[0]) / 2 + eaves
    outer_x, outer_y = (x[0] - eaves, x[1] + eaves), (y[0] - eaves, y[1] + eaves)
    top_x, top_y = (outer_x[0] + half, outer_x[1] - half), (outer_y[0] + half, outer_y[1] - half)
    return frustum(outer_x, outer_y, (z, z + rise), top_x, top_y, roof)


def _spire(x: Point, y: Point, z: float, rise: float, roof: Texture, eaves: float = 0.3) -> list[Surface]:
    middle = ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2)
    outer_x, outer_y = (x[0] - eaves, x[1] + eaves), (y[0] - eaves, y[1] + eaves)
    top = (middle[0], middle[0]), (middle[1], middle[1])
    return [*frustum(outer_x, outer_y, (z, z + rise), *top, roof), _underside(outer_x, outer_y, z, roof)]


def _underside(x: Point, y: Point, z: float, texture: Texture) -> Surface:
    return slope([(x[0], y[1], z), (x[1], y[1], z), (x[1], y[0], z), (x[0], y[0], z)], texture)


def _merlons(x: Point, y: float, z: float, texture: Texture, *, size: float = 0.9) -> list[Surface]:
    count = max(2, int((x[1] - x[0]) / (2 * size)))
    pitch = (x[1] - x[0]) / count
    lefts = [x[0] + pitch * (i + 0.25) for i in range(count)]
    return [
        s
        for left in lefts
        for s in box((left, left + pitch / 2), (y, y + 0.6), (z, z + size), texture, texture)
    ]


def _dormers(mason: Mason, width: float, length: float, bays: int) -> Texture:
    """Draw a steep roof with windows in it."""
    shape = round(length * mason.px_per_m), round(width * mason.px_per_m)
    canvas = Canvas(materials.tiles(mason.rng, shape, mason.px_per_m, mason.style.roof), mason.px_per_m)
    canvas.rect(0, length - 0.3, width, length, shade(mason.style.roof, -30))
    for i in range(bays):
        x = width * (i + 0.5) / bays
        canvas.rect(x - 0.8, 0.3, x + 0.8, 2.5, mason.style.trim)
        canvas.polygon([(x - 1.0, 2.45), (x + 1.0, 2.45), (x, 3.1)], shade(mason.style.trim, -20))
        WINDOWS["sash"](canvas, mason.rng, x, -0.2, replace(mason.style, storey_m=2.8))
    return canvas.texture()


def _palace(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth = bays * mason.style.bay_m, 12.0
    top = storeys * mason.style.storey_m + 0.6
    x, y = (-width / 2, width / 2), (0.0, depth)
    mark = "clock" if mason.chance(0.25) else ""
    front = mason.front(width, storeys, bays, mark=mark)
    parts = box(x, y, (0, top), front, mason.plain(depth, storeys), facade=True)
    inset, rise = 1.1, 3.2
    dormers = _dormers(mason, width, 3.4, max(2, bays - pick(mason.rng, (0, 3))))
    parts += frustum(x, y, (top, top + rise), (x[0] + inset, x[1] - inset), (inset, depth - inset), dormers)
    parts.append(floor((x[0] + inset, x[1] - inset), (inset, depth - inset), top + rise, mason.roof()))
    stone = mason.sheet(materials.brick, (150, 92, 72), 2.0)
    for share in mason.rng.uniform(0.1, 0.9, pick(mason.rng, (1, 4))):
        left = x[0] + width * float(share)
        parts += box(
            (left - 0.5, left + 0.5), (4.0, 5.0), (top + 2, top + rise + 1.4), stone, stone, roof=stone
        )
    return parts


def _townhall(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth, top = bays * mason.style.bay_m, 11.0, storeys * mason.style.storey_m + 0.6
    x, y = (-width / 2, width / 2), (0.0, depth)
    roof = mason.roof()
    parts = box(x, y, (0, top), mason.front(width, storeys, bays), mason.plain(depth, storeys), facade=True)
    if mason.chance(0.5):
        parts += _hip(x, y, top, 3.6, roof, 0.5)
    else:
        parts += _gable_along_x(x, y, top, 3.8, roof, mason.plain(depth, 1), 0.4)
    half, at = 2.2 + mason.rng.random(), width * float(mason.rng.choice([-0.36, 0.0, 0.0, 0.36]))
    tall = storeys + pick(mason.rng, (1, 2))
    tower_top = tall * mason.style.storey_m + 3.6
    face = mason.plain(2 * half, tall, extra_m=3.6, mark="clock", bays=1)
    tower_x, tower_y = (at - half, at + half), (0.8, 0.8 + 2 * half)
    parts += box(tower_x, tower_y, (0, tower_top), face, face, facade=True)
    return parts + _spire(tower_x, tower_y, tower_top, 2.5 + 5 * float(mason.rng.random()), roof)


def _canal(mason: Mason) -> list[Surface]:
    parts: list[Surface] = []
    houses, depth = pick(mason.rng, (1, 3)), 10.0
    widths = [pick(mason.rng, mason.style.bays) * mason.style.bay_m + 0.8 for _ in range(houses)]
    left = -sum(widths) / 2
    for i, width in enumerate(widths):
        hue = mason.rng.integers(-46, 47, 3) if i else np.zeros(3, dtype=np.int64)
        r, g, b = (int(min(max(c + d, 20), 240)) for c, d in zip(mason.style.wall, hue, strict=True))
        name = mason.name if i == houses // 2 else ""
        parts += _canal_house(
            replace(mason, style=replace(mason.style, wall=(r, g, b)), name=name), left, width, depth
        )
        left += width
    return parts


def _canal_house(mason: Mason, left: float, width: float, depth: float) -> list[Surface]:
    bays, storeys = max(2, round(width / mason.style.bay_m)), mason.storeys()
    rise = width * 0.62
    eave = storeys * mason.style.storey_m
    top = eave + rise
    face = mason.front(width, storeys, bays, extra_m=rise)
    x = (left, left + width)
    steps = pick(mason.rng, (3, 5))
    ends = (x[0], 0.0), (x[1], 0.0)
    parts = [wall_polygon(*ends, top, [(0, eave), (width, eave), (width, 0), (0, 0)], face, facade=True)]
    for i in range(steps):
        inset = width * 0.42 * i / steps
        low, high = eave + rise * i / steps, eave + rise * (i + 1) / steps
        outline = [(inset, high), (width - inset, high), (width - inset, low), (inset, low)]
        parts.append(wall_polygon(*ends, top, outline, face, facade=True))
    side = mason.plain(depth, storeys)
    parts.append(wall((x[1], 0.0), (x[1], depth), 0, eave, side, facade=True))
    parts.append(wall((x[0], depth), (x[0], 0.0), 0, eave, side, facade=True))
    return parts + _gable_along_y(x, (0.3, depth), eave, rise * 0.93, mason.roof(), 0.0)


def _temple(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth, top = bays * mason.style.bay_m, 14.0, storeys * mason.style.storey_m + 1.6
    x, y = (-width / 2, width / 2), (0.0, depth)
    front = mason.front(width, storeys, bays, extra_m=1.6)
    stone, roof = mason.trim(), mason.roof()
    parts = box(x, y, (0, top), front, mason.plain(depth, storeys, extra_m=1.6), facade=True)
    parts += _hip(x, y, top, 2.2, roof, 0.4)
    columns = pick(mason.rng, (4, 8))
    half = min(width / 2 - 0.5, 1.5 * columns)
    for step in range(3):
        grow = 0.5 * (3 - step)
        parts += box(
            (-half - grow, half + grow),
            (-3.4 - grow, 0),
            (0.25 * step, 0.25 * (step + 1)),
            stone,
            stone,
            roof=stone,
        )
    high = top - 1.4
    for i in range(columns):
        at = -half + 0.6 + (2 * half - 1.2) * i / (columns - 1)
        parts += revolve(
            (at, -2.9), [(0.62, 0.75), (0.5, 1.3), (0.42, high - 0.5), (0.66, high)], stone, sides=8
        )
    parts += box((-half - 0.4, half + 0.4), (-3.5, 0.1), (high, high + 1.2), stone, stone)
    parts.append(_underside((-half - 0.4, half + 0.4), (-3.5, 0.1), high, stone))
    rise = half * 0.42
    outline = [(0.0, high + 1.2), (half + 0.4, high + 1.2 + rise), (2 * half + 0.8, high + 1.2)]
    pediment = _pediment(mason, 2 * half + 0.8, rise)
    parts.append(
        wall_polygon(
            (-half - 0.4, -3.5), (half + 0.4, -3.5), high + 1.2 + rise, outline, pediment, facade=True
        )
    )
    return parts + _gable_along_y((-half - 0.4, half + 0.4), (-3.5, 3.0), high + 1.25, rise, roof, 0.25)


def _pediment(mason: Mason, width: float, rise: float) -> Texture:
    shape = round(rise * mason.px_per_m) + 1, round(width * mason.px_per_m)
    canvas = Canvas(mason.style.material(mason.rng, shape, mason.px_per_m, mason.style.wall), mason.px_per_m)
    middle = width / 2
    for start, end in (
        ((0.0, 0.12), (width, 0.12)),
        ((0.0, 0.0), (middle, rise)),
        ((middle, rise), (width, 0.0)),
    ):
        canvas.bar(start, end, 0.5, mason.style.trim)
    for i in range(-4, 5):
        figure = shade(mason.style.trim, int(mason.rng.integers(-34, 0)))
        at, tall = (
            middle + i * width * 0.075,
            rise * (0.62 - 0.12 * abs(i)) * float(mason.rng.uniform(0.75, 1.05)),
        )
        canvas.polygon(
            [(at - 0.3, 0.3), (at + 0.3, 0.3), (at + 0.16, 0.3 + tall * 0.8), (at - 0.16, 0.3 + tall * 0.8)],
            figure,
        )
        canvas.disc(at, 0.3 + tall * 0.9, 0.2, figure)
    return canvas.texture()


def _church(mason: Mason) -> list[Surface]:
    storeys, width = mason.storeys(), 10.0 + 4.0 * float(mason.rng.random())
    depth, eave, rise = 24.0, storeys * mason.style.storey_m, width * float(mason.rng.uniform(0.5, 0.9))
    x, y, top = (-width / 2, width / 2), (0.0, depth), eave + rise
    roof = mason.roof()
    face = mason.front(width, storeys, 3, extra_m=rise, mark="rose")
    outline = [(0.0, 0.0), (0.0, eave), (width / 2, top), (width, eave), (width, 0.0)]
    parts = [wall_polygon((x[0], 0), (x[1], 0), top, outline, face, facade=True)]
    side = mason.plain(depth, storeys - 1)
    side_top = (storeys - 1) * mason.style.storey_m + 0.6
    parts += [
        wall((x[1], 0), (x[1], depth), 0, side_top, side, facade=True),
        wall((x[0], depth), (x[0], 0), 0, side_top, side, facade=True),
    ]
    parts += _gable_along_y(x, y, eave, rise, roof, 0.0)
    upper = mason.sheet(mason.style.material, mason.style.wall)
    parts += [
        wall((x[1], 0), (x[1], depth), side_top, eave, upper),
        wall((x[0], depth), (x[0], 0), side_top, eave, upper),
    ]
    sides = ((-1,), (1,), (-1, 1), (-1, 1))[pick(mason.rng, (0, 3))]
    tall, half = storeys + pick(mason.rng, (0, 2)), 2.0 + 0.8 * float(mason.rng.random())
    spire = 5 + 9 * float(mason.rng.random())
    for sign in sides:
        face = mason.plain(2 * half, tall, extra_m=3.2, mark="clock" if mason.chance(0.5) else "", bays=1)
        at = sign * (width / 2 + half - 0.4)
        tower_x, tower_y, tower_top = (
            (at - half, at + half),
            (-0.5, 2 * half - 0.5),
            tall * mason.style.storey_m + 3.2,
        )
        parts += box(tower_x, tower_y, (0, tower_top), face, face, facade=True)
        parts += _spire(tower_x, tower_y, tower_top, spire, roof)
    return parts


def _domed(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth, top = bays * mason.style.bay_m, 14.0, storeys * mason.style.storey_m + 1.4
    x, y = (-width / 2, width / 2), (0.0, depth)
    roof = mason.roof()
    front = mason.front(width, storeys, bays, extra_m=1.4)
    parts = box(x, y, (0, top), front, mason.plain(depth, storeys, extra_m=1.4), facade=True, roof=roof)
    parts += _dome(mason, (0.0, 6.0), top, 2.8 + 2.8 * float(mason.rng.random()), roof)
    beside = mason.rng.random()
    for at in (x[0], x[1]):
        if beside < 0.35:
            parts += _dome(mason, (at * 0.75, 2.2), top, 1.6, roof)
        elif beside < 0.7:
            shaft = [
                (0.9, 0.0),
                (0.75, top + 5),
                (1.3, top + 5.2),
                (1.3, top + 6),
                (0.6, top + 6),
                (0.5, top + 8),
            ]
            parts += revolve((at * 1.12, 2.0), shaft, mason.trim(), sides=8)
            parts += revolve((at * 1.12, 2.0), [(0.8, top + 8), (0.0, top + 10.5)], roof, sides=8)
    return parts


def _dome(mason: Mason, center: Point, z: float, radius: float, roof: Texture) -> list[Surface]:
    drum = radius * float(mason.rng.uniform(0.5, 0.9))
    steps = np.arange(7) / 6
    bulge = float(mason.rng.uniform(0.9, 1.4))
    profile = [
        (radius * float(np.cos(t * 1.45)), z + drum + radius * bulge * float(np.sin(t * 1.45))) for t in steps
    ]
    band = mason.plain(radius * 0.55, 1, bays=1, extra_m=0.4) if radius > 2 else mason.trim()
    parts = revolve(center, [(radius * 0.97, z), (radius * 0.97, z + drum)], band, facade=radius > 2)
    parts += revolve(center, profile, roof, sides=16)
    high = profile[-1][1]
    lantern = mason.trim()
    parts += revolve(
        center, [(radius * 0.16, high - 0.2), (radius * 0.16, high + radius * 0.4)], lantern, sides=8
    )
    tip = [(radius * 0.24, high + radius * 0.4), (0.0, high + radius * 0.85)]
    return parts + revolve(center, tip, roof, sides=8)


def _timber(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth, jetty = bays * mason.style.bay_m, 9.0, 0.35
    parts: list[Surface] = []
    tall = mason.style.storey_m
    for level in range(storeys):
        out = jetty * level
        x, y, z = (-width / 2, width / 2), (-out, depth), (level * tall, (level + 1) * tall)
        if level == 0:
            face = replace(mason, name="").front(width, 1, bays, extra_m=0)
        else:
            face = mason.plain(width, 1, extra_m=0, bays=bays, words=mason.name if level == 1 else "")
        parts += box(x, y, z, face, mason.plain(depth + out, 1, extra_m=0), facade=True)
        if level:
            parts.append(_underside(x, (-out, 0.0), z[0], mason.trim()))
    x, y, z_top = (-width / 2, width / 2), (-jetty * (storeys - 1), depth), storeys * tall
    if mason.chance(0.5):
        return parts + _gable_along_x(
            x, y, z_top, 4.6, mason.roof(), mason.plain(y[1] - y[0], 2, extra_m=0), 0.7
        )
    gables = 1 if bays < 6 else 2
    for i in range(gables):
        part = (x[0] + width * i / gables, x[0] + width * (i + 1) / gables)
        span = part[1] - part[0]
        rise = span * 0.62
        levels = max(1, int(np.ceil(rise / tall)))
        face = mason.plain(span, levels, extra_m=0, bays=max(2, round(span / mason.style.bay_m)))
        outline = [(0.0, z_top), (span / 2, z_top + rise), (span, z_top)]
        ends = (part[0], y[0]), (part[1], y[0])
        parts.append(wall_polygon(*ends, z_top + levels * tall, outline, face, facade=True))
        parts += _gable_along_y(part, y, z_top, rise, mason.roof(), 0.45 if gables == 1 else 0.0)
    return parts


def _glass(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth = bays * mason.style.bay_m, 14.0
    top = storeys * mason.style.storey_m + 2.8
    r, g, b = mason.style.wall
    mason = replace(mason, style=replace(mason.style, wall=(r - 20, g, min(b + 18, 250))))
    side = mason.plain(depth, storeys, extra_m=2.8)
    x, setback = (-width / 2, width / 2), 3.0 if mason.chance(0.5) else 0.0
    roof = mason.roof()
    front = mason.front(width, storeys, bays, extra_m=2.8)
    parts = box(x, (setback, depth), (0, top), front, side, facade=True, roof=roof)
    if setback:
        wide = width / 2 + 2.0
        podium = replace(mason, name="").front(2 * wide, 2, bays + 1)
        height = 2 * mason.style.storey_m + 0.6
        parts += box(
            (-wide, wide), (0, depth), (0, height), podium, mason.plain(depth, 2), facade=True, roof=roof
        )
    if mason.chance(0.5):
        parts += box((x[0], x[0] + width * 0.45), (4.0, 10.0), (top, top + 5), side, side, roof=roof)
    mast = mason.sheet(materials.plaster, (200, 70, 60), 1.0)
    return parts + revolve(
        (width * 0.2, 7.0), [(0.18, top), (0.05, top + 4 + 6 * float(mason.rng.random()))], mast, sides=5
    )


def _pagoda(mason: Mason) -> list[Surface]:
    bays, tiers = mason.bays(), mason.storeys()
    width = bays * mason.style.bay_m
    shrink, base = float(mason.rng.uniform(0.8, 0.9)), 0.9
    stone = mason.sheet(materials.ashlar, (170, 166, 156), 4.0)
    roof, wood = mason.roof(), mason.sheet(materials.planks, shade(mason.style.wall, -50), 3.0)
    half, center = width / 2, 6.5
    parts = box(
        (-half - 1.6, half + 1.6),
        (center - half - 1.6, center + half + 1.6),
        (0, base),
        stone,
        stone,
        roof=stone,
    )
    z = base
    for tier in range(tiers):
        tall = mason.style.storey_m if tier == 0 else mason.style.storey_m * 0.8
        local = replace(
            mason, style=replace(mason.style, storey_m=tall), name=mason.name if tier == 0 else ""
        )
        odd = max(1, round(2 * half / mason.style.bay_m)) | 1
        face = (
            local.front(2 * half, 1, odd, extra_m=0)
            if tier == 0
            else local.plain(2 * half, 1, extra_m=0, bays=odd)
        )
        x, y = (-half, half), (center - half, center + half)
        parts += box(x, y, (z, z + tall), face, face, facade=True)
        parts += _curved_roof(x, y, z + tall, 1.9, half * shrink, roof, wood, last=tier == tiers - 1)
        z += tall + 1.0
        half *= shrink
    high = z + half * 0.9
    gold = mason.sheet(materials.metal, (206, 170, 80), 1.0)
    rings = [(0.14, high - 0.4), (0.3, high + 0.4), (0.14, high + 0.9), (0.26, high + 1.5), (0.0, high + 3.4)]
    return parts + revolve((0.0, center), rings, gold, sides=6)


def _curved_roof(
    x: Point, y: Point, z: float, eaves: float, top_half: float, roof: Texture, wood: Texture, *, last: bool
) -> list[Surface]:
    """Return a temple roof in two slopes, the lower one flatter."""
    outer_x, outer_y = (x[0] - eaves, x[1] + eaves), (y[0] - eaves, y[1] + eaves)
    middle_x, middle_y = (x[0] - 0.4, x[1] + 0.4), (y[0] - 0.4, y[1] + 0.4)
    cx, cy = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2
    top = 0.0 if last else top_half
    parts = frustum(outer_x, outer_y, (z - 0.1, z + 0.45), middle_x, middle_y, roof)
    rise = (x[1] - x[0]) * 0.36 if last else 0.65
    parts += frustum(
        middle_x, middle_y, (z + 0.45, z + 0.45 + rise), (cx - top, cx + top), (cy - top, cy + top), roof
    )
    return [*parts, _underside(outer_x, outer_y, z - 0.1, wood)]


def _deco(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth = bays * mason.style.bay_m, 12.0
    roof, trim = mason.roof(), mason.sheet(materials.plaster, mason.style.accent, 2.0)
    wing = max(1, round(bays * 0.3)) * mason.style.bay_m
    middle = width - 2 * wing
    low, high = storeys * mason.style.storey_m + 0.6, (storeys + 2) * mason.style.storey_m + 1.8
    parts: list[Surface] = []
    for left in (-width / 2, middle / 2):
        face = replace(mason, name="").front(wing, storeys, max(1, round(wing / mason.style.bay_m)))
        parts += box(
            (left, left + wing),
            (1.0, depth),
            (0, low),
            face,
            mason.plain(depth - 1, storeys),
            facade=True,
            roof=roof,
        )
    bays_middle = max(2, round(middle / mason.style.bay_m))
    mark = "clock" if mason.chance(0.35) else ""
    face = mason.front(middle, storeys + 2, bays_middle, extra_m=1.8, mark=mark)
    x = (-middle / 2, middle / 2)
    parts += box(
        x, (0.0, 8.0), (0, high), face, mason.plain(8.0, storeys + 2, extra_m=1.8), facade=True, roof=roof
    )
    parts += box((-middle / 6, middle / 6), (1.0, 4.0), (high, high + 2.2), trim, trim, roof=roof)
    z = mason.style.storey_m
    parts += box((x[0] - 0.4, x[1] + 0.4), (-1.8, 0.0), (z - 0.7, z - 0.1), trim, trim, roof=trim)
    parts.append(_underside((x[0] - 0.4, x[1] + 0.4), (-1.8, 0.0), z - 0.7, trim))
    return (
        parts
        if not mason.name
        else parts + _fin_sign(mason, x[1] + 0.15, z + 0.4, min(low, 1.0 * len(mason.name) + 2.0))
    )


def _fin_sign(mason: Mason, x: float, z: float, tall: float) -> list[Surface]:
    """Return a sign that projects from the wall, lettered from top to bottom."""
    px = mason.px_per_m
    canvas = Canvas(
        materials.plaster(mason.rng, (round(tall * px), round(1.3 * px)), px, mason.style.accent), px
    )
    letters = mason.name.split()[0]
    for i, letter in enumerate(letters):
        at = tall - tall * (i + 0.5) / len(letters)
        canvas.text(
            letter, 0.65, at, min(0.7, tall / len(letters) * 0.7), (250, 240, 210), width=0.9, glow=255
        )
    canvas.frame(0, 0, 1.3, tall, (250, 220, 150), 0.07)
    face = canvas.texture()
    return [
        wall((x, -1.4), (x, -0.1), z, z + tall, face),
        wall((x - 0.3, -0.1), (x - 0.3, -1.4), z, z + tall, face),
        wall((x - 0.3, -1.4), (x, -1.4), z, z + tall, mason.sheet(materials.plaster, mason.style.trim, 1.0)),
    ]


def _villa(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth, top = bays * mason.style.bay_m, 10.0, storeys * mason.style.storey_m + 0.6
    x, y = (-width / 2, width / 2), (0.0, depth)
    roof = mason.roof()
    parts = box(x, y, (0, top), mason.front(width, storeys, bays), mason.plain(depth, storeys), facade=True)
    parts += _hip(x, y, top, 2.4, roof, 0.8)
    parts.append(_underside((x[0] - 0.8, x[1] + 0.8), (-0.8, depth + 0.8), top, mason.trim()))
    if mason.chance(0.6):
        half, at = 1.7, float(mason.rng.choice([-1, 1])) * (width / 2 + 1.0)
        tall = storeys + pick(mason.rng, (1, 2))
        arched = replace(mason, style=replace(mason.style, window="arch"))
        face = arched.plain(2 * half, tall, extra_m=0.8, bays=1)
        tower = (at - half, at + half), (1.0, 1.0 + 2 * half)
        tower_top = tall * mason.style.storey_m + 0.8
        parts += box(*tower, (0, tower_top), face, face, facade=True) + _spire(
            *tower, tower_top, 1.6, roof, 0.5
        )
    return parts


def _castle(mason: Mason) -> list[Surface]:
    bays, storeys = mason.bays(), mason.storeys()
    width, depth, top = bays * mason.style.bay_m, 12.0, storeys * mason.style.storey_m + 1.0
    x, y = (-width / 2, width / 2), (0.0, depth)
    stone, roof = mason.sheet(mason.style.material, mason.style.wall, 4.0), mason.roof()
    front = mason.front(width, storeys, bays, extra_m=1.0)
    parts = box(x, y, (0, top), front, mason.plain(depth, storeys, extra_m=1.0), facade=True, roof=stone)
    parts += _merlons(x, 0.0, top, stone)
    if mason.chance(0.6):
        half, tall = 3.0, (storeys + pick(mason.rng, (1, 2)))
        keep_top = tall * mason.style.storey_m + 0.8
        face, at = mason.plain(2 * half, tall, extra_m=0.8), width * float(mason.rng.uniform(-0.25, 0.25))
        parts += box((at - half, at + half), (4.0, 10.0), (0, keep_top), face, face, facade=True)
        parts += _merlons((at - half, at + half), 4.0, keep_top, stone)
    for sign in (-1, 1):
        if mason.chance(0.8):
            parts += _round_tower(
                mason, (sign * (width / 2 + 0.6), 1.0), top + 4 * float(mason.rng.random()), roof
            )
    return parts


def _round_tower(mason: Mason, center: Point, top: float, roof: Texture) -> list[Surface]:
    radius = 2.0 + 0.7 * float(mason.rng.random())
    storeys = max(1, int(top / mason.style.storey_m))
    extra = top - storeys * mason.style.storey_m
    face = mason.plain(2 * radius * float(np.tan(np.pi / 12)), storeys, extra_m=extra, bays=1)
    parts = revolve(center, [(radius, 0.0), (radius, top)], face, facade=True)
    cap = [(radius + 0.5, top), (0.0, top + radius * float(mason.rng.uniform(1.5, 3.0)))]
    return parts + revolve(center, cap, roof)


FORMS: dict[str, Callable[[Mason], list[Surface]]] = {
    "palace": _palace,
    "townhall": _townhall,
    "canal": _canal,
    "temple": _temple,
    "church": _church,
    "domed": _domed,
    "timber": _timber,
    "glass": _glass,
    "pagoda": _pagoda,
    "deco": _deco,
    "villa": _villa,
    "castle": _castle,
}


def build(rng: np.random.Generator, style: Style, name: str, px_per_m: float) -> Building:
    """Build one building of a family, with `name` on its sign."""
    surfaces = tuple(FORMS[style.name](Mason(rng, style, name, px_per_m)))
    corners = np.concatenate([s.corners for s in surfaces])
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle = float(low[0] + high[0]) / 2
    shifted = Building(surfaces, float(high[0] - low[0]), float(high[1]), float(high[2]))
    return replace(shifted, surfaces=shifted.moved(-round(middle, 4), 0.0))
