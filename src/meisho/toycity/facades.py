"""Whole facades: material, windows in rows, ground floor, cornice, sign, weathering -> Texture."""

from dataclasses import dataclass

import numpy as np

from meisho.toycity import materials
from meisho.toycity.canvas import Canvas, mixed, shade
from meisho.toycity.materials import RGB
from meisho.toycity.styles import Style, choose
from meisho.toycity.surfaces import Texture
from meisho.toycity.windows import WINDOWS, arch_outline, draw_door

AWNINGS: tuple[RGB, ...] = ((170, 40, 44), (36, 84, 120), (48, 104, 70), (200, 150, 50), (120, 60, 110))
BOARDS: tuple[RGB, ...] = (
    (28, 36, 52),
    (110, 26, 30),
    (26, 70, 52),
    (222, 206, 160),
    (60, 44, 34),
    (20, 84, 110),
)
IVY: tuple[RGB, ...] = ((58, 98, 48), (92, 120, 52), (150, 60, 44))
CREAM: RGB = (246, 240, 222)


@dataclass(frozen=True)
class FacadePlan:
    """The plan of one facade.

    Attributes:
        width: Width, metres.
        storeys: Number of floors.
        bays: Number of windows in a row.
        front: Whether it has the entrance, the ground floor's shops and the sign.
        words: The sign's text; "" for no sign.
        extra_m: Height above the top floor, for a frieze or gable, metres.
        mark: Ornament below the top: "", "clock" or "rose".
    """

    width: float
    storeys: int
    bays: int
    front: bool = False
    words: str = ""
    extra_m: float = 0.6
    mark: str = ""


def draw_facade(rng: np.random.Generator, style: Style, plan: FacadePlan, px_per_m: float) -> Texture:
    """Draw one facade; its height is `storeys * storey_m + extra_m` metres."""
    height = plan.storeys * style.storey_m + plan.extra_m
    shape = round(height * px_per_m), round(plan.width * px_per_m)
    canvas = Canvas(style.material(rng, shape, px_per_m, style.wall), px_per_m)
    top = plan.storeys * style.storey_m
    _draw_bands(canvas, rng, style, plan)
    _draw_windows(canvas, rng, style, plan)
    if plan.front:
        _draw_ground_floor(canvas, rng, style, plan)
    _draw_cornice(canvas, style, top, plan.extra_m)
    if plan.mark:
        _MARKS[plan.mark](canvas, rng, style, top + plan.extra_m * 0.4)
    if plan.words:
        _draw_feature(canvas, rng, style, plan)
        _draw_sign(canvas, rng, style, plan)
    _age(canvas, rng, px_per_m)
    return canvas.texture()


def bay_centers(plan: FacadePlan, style: Style) -> list[float]:
    """Return the window centres, metres from the left edge."""
    pitch = plan.width / plan.bays if style.window == "strip" else (plan.width - 0.6) / plan.bays
    start = (plan.width - pitch * plan.bays) / 2
    return [start + pitch * (i + 0.5) for i in range(plan.bays)]


def _draw_bands(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    """Draw the style's divisions between floors: string courses, beams or columns."""
    if style.name == "timber":
        _draw_beams(canvas, rng, style, plan)
        return
    if style.banded:
        for z in np.arange(0.6, canvas.height, 1.6):
            canvas.rect(0, float(z), plan.width, float(z) + 0.8, mixed(style.wall, style.accent))
    for floor in range(1, plan.storeys + 1):
        z = floor * style.storey_m
        canvas.rect(0, z - 0.1, plan.width, z + 0.12, style.trim)
        canvas.shadow(0, z - 0.3, plan.width, z - 0.1, 28)
    pitch = plan.width / plan.bays
    if style.name in ("deco", "pagoda", "temple", "glass"):
        for i in range(plan.bays + 1):
            x, half = i * pitch, 0.07 if style.name == "glass" else 0.2
            canvas.rect(
                x - half, 0, x + half, canvas.height, style.accent if style.name == "pagoda" else style.trim
            )
            canvas.shadow(x + half, 0, x + half + 0.12, canvas.height, 25)
    if style.name in ("palace", "townhall", "domed", "canal"):
        for z in np.arange(0.1, canvas.height - 0.4, 0.8):
            for x in (0.0, plan.width - 0.5):
                canvas.rect(x, float(z), x + 0.5, float(z) + 0.4, style.trim)


def _draw_beams(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    pitch = plan.width / plan.bays
    wood = style.trim
    for floor in range(plan.storeys + 1):
        z = floor * style.storey_m
        canvas.rect(0, z - 0.14, plan.width, z + 0.14, wood)
        if floor == plan.storeys:
            continue
        for i in range(plan.bays + 1):
            canvas.rect(i * pitch - 0.11, z, i * pitch + 0.11, z + style.storey_m, wood)
        for i in range(plan.bays):
            kind = int(rng.integers(0, 4))
            x0, x1, low, high = i * pitch, (i + 1) * pitch, z, z + style.storey_m
            if kind in (0, 2):
                canvas.bar((x0, low), (x1, high), 0.18, wood)
            if kind in (1, 2):
                canvas.bar((x0, high), (x1, low), 0.18, wood)


def _draw_windows(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    draw = WINDOWS[style.window]
    balconies = (
        {int(f) for f in rng.integers(1, plan.storeys + 1, 2)} if style.name in ("palace", "villa") else set()
    )
    blind = rng.random((plan.storeys, plan.bays)) < (0.0 if plan.front else 0.3)
    for floor in range(1 if plan.front and style.ground != "plain" else 0, plan.storeys):
        for bay, x in enumerate(bay_centers(plan, style)):
            if style.window == "strip" or not blind[floor, bay]:
                draw(canvas, rng, x, floor * style.storey_m, style)
        if floor in balconies:
            _draw_balcony(canvas, style, 0.5, plan.width - 0.5, floor * style.storey_m)
        elif style.name in ("palace", "villa") and rng.random() < 0.5:
            for x in bay_centers(plan, style)[:: int(rng.integers(1, 4))]:
                _draw_balcony(canvas, style, x - 0.95, x + 0.95, floor * style.storey_m)


def _draw_balcony(canvas: Canvas, style: Style, x0: float, x1: float, z: float) -> None:
    iron = (32, 34, 40)
    canvas.rect(x0, z + 0.02, x1, z + 0.22, shade(style.trim, -12))
    canvas.shadow(x0, z - 0.35, x1, z + 0.02, 38)
    canvas.rect(x0, z + 1.05, x1, z + 1.13, iron)
    for x in np.arange(x0, x1, 0.17):
        canvas.rect(float(x), z + 0.2, float(x) + 0.05, z + 1.08, iron)


def _draw_ground_floor(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    door = plan.width * (
        0.5 if plan.bays % 2 or style.ground == "door" else float(rng.choice([0.25, 0.5, 0.75]))
    )
    if style.ground == "shop":
        _draw_shops(canvas, rng, style, plan)
    elif style.ground == "arcade":
        _draw_arcade(canvas, style, plan)
    elif style.ground == "door":
        for x in bay_centers(plan, style):
            if abs(x - door) > 1.9:
                WINDOWS[style.window](canvas, rng, x, 0.0, style)
    wide = style.name in ("temple", "church", "castle", "pagoda", "townhall")
    draw_door(
        canvas,
        door,
        style,
        width=2.6 if wide else 1.7,
        height=min(style.storey_m - 0.5, 3.6 if wide else 2.8),
    )


def _draw_shops(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    top = style.storey_m
    canvas.rect(0, 0, plan.width, top - 0.15, shade(style.wall, -50))
    edges = np.linspace(0, plan.width, max(2, plan.bays // 2) + 1)
    for x0, x1 in zip(edges[:-1] + 0.25, edges[1:] - 0.25, strict=True):
        board = choose(rng, BOARDS)
        canvas.rect(x0, 0.5, x1, top - 0.95, (50, 58, 66), glow=230)
        for share in np.sort(rng.random(5)):
            goods = tuple(int(c) for c in rng.integers(60, 230, 3))
            left = x0 + (x1 - x0 - 0.4) * float(share)
            canvas.rect(
                left, 0.5, left + 0.35, 0.7 + float(rng.random()) * 0.9, (goods[0], goods[1], goods[2])
            )
        canvas.frame(x0, 0.5, x1, top - 0.95, board, 0.1)
        canvas.rect(x0 - 0.1, top - 0.9, x1 + 0.1, top - 0.25, board)
        word = "".join(chr(65 + int(c)) for c in rng.integers(0, 26, int(rng.integers(3, 7))))
        ink = CREAM if sum(board) < 360 else (50, 30, 24)
        canvas.text(word, (x0 + x1) / 2, top - 0.57, 0.36, ink, width=(x1 - x0) * 0.85, glow=150)
        if rng.random() < 0.5:
            _draw_awning(canvas, choose(rng, AWNINGS), x0, x1, top - 0.9)


def _draw_awning(canvas: Canvas, color: RGB, x0: float, x1: float, z: float) -> None:
    stripes = max(4, round((x1 - x0) / 0.3))
    for i in range(stripes):
        left, right = x0 + (x1 - x0) * i / stripes, x0 + (x1 - x0) * (i + 1) / stripes
        canvas.rect(left, z - 0.75, right, z, color if i % 2 else CREAM)
    canvas.shadow(x0, z - 1.1, x1, z - 0.75, 45)


def _draw_arcade(canvas: Canvas, style: Style, plan: FacadePlan) -> None:
    for x in bay_centers(plan, style):
        half = min(plan.width / plan.bays * 0.38, 1.3)
        top = style.storey_m - 0.45
        canvas.polygon(arch_outline(x - half - 0.2, 0, x + half + 0.2, top + 0.2, pointed=False), style.trim)
        canvas.polygon(arch_outline(x - half, 0, x + half, top, pointed=False), (46, 38, 34), glow=110)
        canvas.polygon(
            arch_outline(x - half * 0.3, 0, x + half, top * 0.86, pointed=False), (70, 58, 48), glow=150
        )
        canvas.rect(x - half - 0.3, top - half - 0.1, x - half, top - half + 0.1, shade(style.trim, -20))
        canvas.rect(x + half, top - half - 0.1, x + half + 0.3, top - half + 0.1, shade(style.trim, -20))


def _draw_cornice(canvas: Canvas, style: Style, top: float, extra: float) -> None:
    if style.name in ("glass", "timber", "castle", "church"):
        return
    z = top + extra
    canvas.rect(0, z - 0.35, canvas.width, z, style.trim)
    canvas.rect(0, z - 0.14, canvas.width, z, shade(style.trim, 12))
    canvas.shadow(0, z - 0.75, canvas.width, z - 0.55, 30)
    for x in np.arange(0.1, canvas.width, 0.5):
        canvas.rect(float(x), z - 0.55, float(x) + 0.24, z - 0.35, shade(style.trim, -14))


def _draw_sign(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    center = plan.width / 2
    if style.window == "strip":
        z, tall = canvas.height - 1.4, 1.7
    elif style.ground == "shop":
        z, tall = 0.35 + (style.storey_m if plan.front else 0.15), 0.62
    elif plan.extra_m > 1.2 and not plan.mark:
        z, tall = plan.storeys * style.storey_m + plan.extra_m * 0.42, 0.7
    else:
        z, tall = style.storey_m + 0.2, 0.6
    width = min(plan.width * 0.86, tall * 0.82 * len(plan.words))
    board = style.accent if rng.random() < 0.5 else choose(rng, BOARDS)
    canvas.rect(center - width / 2 - 0.3, z - tall * 0.8, center + width / 2 + 0.3, z + tall * 0.8, board)
    canvas.frame(
        center - width / 2 - 0.3, z - tall * 0.8, center + width / 2 + 0.3, z + tall * 0.8, CREAM, 0.05
    )
    ink = CREAM if sum(board) < 420 else (44, 28, 22)
    canvas.text(plan.words, center, z, tall, ink, width=width, glow=255)


def _draw_feature(canvas: Canvas, rng: np.random.Generator, style: Style, plan: FacadePlan) -> None:
    """Draw banners or ivy, which tell a building from its siblings."""
    kind, top = rng.random(), plan.storeys * style.storey_m
    if kind < 0.45 and plan.storeys > 1:
        colors = choose(rng, AWNINGS + BOARDS), choose(rng, AWNINGS + BOARDS)
        count, emblem = int(rng.integers(2, 6)), int(rng.integers(0, 3))
        for i in range(count):
            x = plan.width * (i + 0.5) / count
            _draw_banner(canvas, colors[i % 2], x, top - 0.5, min(top - style.storey_m - 0.6, 6.0), emblem)
    elif kind < 0.75:
        leaf = IVY[int(rng.integers(0, len(IVY)))]
        root = plan.width * float(rng.choice([0.0, 0.3, 1.0]))
        for x, z, size in rng.random((260, 3)):
            at = root + (x - 0.5) * plan.width * 0.7 * (1 - 0.6 * z)
            canvas.disc(at, z**1.3 * top, 0.2 + 0.3 * float(size), shade(leaf, int(60 * size - 30)))


def _draw_banner(canvas: Canvas, color: RGB, x: float, top: float, tall: float, emblem: int) -> None:
    canvas.polygon(
        [(x - 0.6, top), (x + 0.6, top), (x + 0.6, top - tall), (x, top - tall + 0.5), (x - 0.6, top - tall)],
        color,
    )
    canvas.rect(x - 0.7, top, x + 0.7, top + 0.1, (60, 52, 46))
    middle = top - tall / 2
    if emblem == 0:
        canvas.disc(x, middle, 0.42, CREAM)
    elif emblem == 1:
        canvas.rect(x - 0.6, middle - 0.3, x + 0.6, middle + 0.3, CREAM)
    else:
        canvas.polygon([(x - 0.5, middle), (x, middle - 0.7), (x + 0.5, middle), (x, middle + 0.7)], CREAM)


def _draw_clock(canvas: Canvas, rng: np.random.Generator, style: Style, z: float) -> None:
    x, radius = canvas.width / 2, min(1.25, canvas.width * 0.32)
    canvas.disc(x, z, radius + 0.22, shade(style.trim, -30))
    canvas.disc(x, z, radius, (244, 238, 220), glow=255)
    for hour in range(12):
        turn = 2 * np.pi * hour / 12
        at = x + 0.8 * radius * float(np.cos(turn)), z + 0.8 * radius * float(np.sin(turn))
        canvas.disc(at[0], at[1], 0.09, (36, 34, 40))
    for length, thick in ((0.55, 0.14), (0.78, 0.09)):
        turn = 2 * np.pi * float(rng.random())
        end = x + length * radius * float(np.cos(turn)), z + length * radius * float(np.sin(turn))
        canvas.bar((x, z), end, thick, (30, 28, 34))


def _draw_rose(canvas: Canvas, rng: np.random.Generator, style: Style, z: float) -> None:
    x, radius = canvas.width / 2, min(2.1, canvas.width * 0.26)
    petals = int(rng.integers(7, 14))
    canvas.disc(x, z, radius + 0.35, style.trim)
    canvas.disc(x, z, radius, shade(style.trim, -70))
    for i in range(petals):
        turn = 2 * np.pi * i / petals
        hue = tuple(int(c) for c in rng.integers(30, 150, 3))
        at = x + 0.68 * radius * float(np.cos(turn)), z + 0.68 * radius * float(np.sin(turn))
        canvas.disc(at[0], at[1], 1.7 * radius / petals, (hue[0], hue[1], hue[2]), glow=220)
    canvas.disc(x, z, radius * 0.3, (150, 60, 50), glow=230)


_MARKS = {"clock": _draw_clock, "rose": _draw_rose}


def _age(canvas: Canvas, rng: np.random.Generator, px_per_m: float) -> None:
    """Add stains, streaks below the eaves and dirt near the street."""
    shape = canvas.shape
    stains = materials.noise(rng, shape, 5 * px_per_m, octaves=2) // 9
    streaks = materials.noise(rng, (1, shape[1]), 0.8 * px_per_m, octaves=2) // 10
    metres_up = (np.arange(shape[0], 0, -1) / px_per_m)[:, None]
    dirt = -np.clip(22 - 14 * metres_up, 0, 22).astype(np.int16)
    canvas.weather(stains + streaks + dirt)
