"""Windows and doors, drawn on a Canvas."""

from collections.abc import Callable

import numpy as np

from meisho.toycity.canvas import Canvas, mixed, shade
from meisho.toycity.materials import RGB
from meisho.toycity.styles import Style, choose
from meisho.toycity.surfaces import Point

GLASS: tuple[RGB, ...] = ((42, 52, 62), (54, 66, 80), (74, 90, 106), (36, 40, 46), (96, 112, 126))
CURTAINS: tuple[RGB, ...] = ((226, 220, 206), (196, 176, 150), (170, 96, 84), (120, 136, 150))
SHARE_LIT = 0.45


def arch_outline(x0: float, z0: float, x1: float, z1: float, *, pointed: bool) -> list[Point]:
    """Return a rectangle whose top is a round or pointed arch, as (x, z)."""
    half = (x1 - x0) / 2
    rise = half * (1.7 if pointed else 1.0)
    spring = max(z1 - rise, z0)
    steps = np.arange(9) / 8
    left = [(x0 + half * t, spring + (z1 - spring) * float(_rise(t, pointed))) for t in steps]
    right = [(x0 + x1 - x, z) for x, z in reversed(left)]
    return [(x1, z0), (x0, z0), *left, *right]


def _rise(t: float, pointed: bool) -> float:
    round_arch = np.sqrt(max(0.0, 1 - (1 - t) ** 2))
    return float(np.sqrt(t) * 0.75 + t * 0.25 if pointed else round_arch)


def _pane(canvas: Canvas, rng: np.random.Generator, outline: list[Point], *, tint: RGB | None = None) -> None:
    """Fill a window with glass, a curtain and a reflection of the sky; tinted panes have no curtains."""
    glow = int(rng.integers(150, 256)) if rng.random() < SHARE_LIT else 0
    glass = choose(rng, GLASS)
    if tint is not None:
        glass = mixed(glass, tint)
    canvas.polygon(outline, glass, glow=glow)
    xs, zs = [p[0] for p in outline], [p[1] for p in outline]
    x0, x1, z0, z1 = min(xs), max(xs), min(zs), max(zs)
    width, height = x1 - x0, z1 - z0
    if tint is None and rng.random() < 0.4:
        cloth, share = choose(rng, CURTAINS), 0.18 + 0.3 * rng.random()
        canvas.rect(x0, z0, x0 + width * share, z0 + height * 0.72, cloth)
        canvas.rect(x1 - width * share, z0, x1, z0 + height * 0.72, cloth)
    elif rng.random() < 0.6:
        start = x0 + width * 0.7 * rng.random()
        ends = [
            (start, z0),
            (start + width * 0.2, z0),
            (x1, z0 + height * 0.7),
            (x1 - width * 0.15, z0 + height * 0.72),
        ]
        canvas.polygon(ends, (132, 156, 178))


def _bars(
    canvas: Canvas, box: tuple[float, float, float, float], color: RGB, columns: int, rows: int
) -> None:
    x0, z0, x1, z1 = box
    canvas.frame(x0, z0, x1, z1, color, 0.08)
    for i in range(1, columns):
        x = x0 + (x1 - x0) * i / columns
        canvas.rect(x - 0.03, z0, x + 0.03, z1, color)
    for i in range(1, rows):
        z = z0 + (z1 - z0) * i / rows
        canvas.rect(x0, z - 0.03, x1, z + 0.03, color)


def _rectangle(x0: float, z0: float, x1: float, z1: float) -> list[Point]:
    return [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]


def _sash(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    box = x - 0.6, z + 0.75, x + 0.6, z + style.storey_m - 0.55
    canvas.rect(box[0] - 0.2, box[1] - 0.16, box[2] + 0.2, box[3] + 0.18, style.trim)
    _pane(canvas, rng, _rectangle(*box))
    _bars(canvas, box, shade(style.trim, 10), 2, 3)
    canvas.rect(box[0] - 0.28, box[1] - 0.24, box[2] + 0.28, box[1] - 0.06, shade(style.trim, -24))
    canvas.rect(box[0] - 0.28, box[3] + 0.16, box[2] + 0.28, box[3] + 0.3, shade(style.trim, 8))
    canvas.shadow(box[0], box[3] - 0.22, box[2], box[3], 40)


def _shutter(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    box = x - 0.45, z + 0.8, x + 0.45, z + style.storey_m - 0.6
    canvas.rect(box[0] - 0.1, box[1] - 0.1, box[2] + 0.1, box[3] + 0.1, style.trim)
    _pane(canvas, rng, _rectangle(*box))
    _bars(canvas, box, style.trim, 2, 2)
    closed = rng.random() < 0.2
    leaves = (
        ((box[0], x), (x, box[2]))
        if closed
        else ((box[0] - 0.55, box[0] - 0.08), (box[2] + 0.08, box[2] + 0.55))
    )
    for left, right in leaves:
        canvas.rect(left, box[1], right, box[3], style.accent)
        for step in np.arange(box[1] + 0.1, box[3] - 0.05, 0.16):
            canvas.rect(left + 0.05, float(step), right - 0.05, float(step) + 0.05, shade(style.accent, -30))
    canvas.rect(box[0] - 0.15, box[1] - 0.18, box[2] + 0.15, box[1] - 0.05, shade(style.trim, -20))
    if rng.random() < 0.25:
        for blossom in rng.random((14, 2)):
            spot = (210, 60, 80) if blossom[0] < 0.4 else (60, 120, 56)
            canvas.disc(
                box[0] + float(blossom[0]) * 0.9, box[1] - 0.05 + float(blossom[1]) * 0.25, 0.09, spot
            )


def _arch(
    canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style, *, pointed: bool = False
) -> None:
    box = x - 0.7, z + 0.7, x + 0.7, z + style.storey_m - 0.5
    outer = arch_outline(box[0] - 0.25, box[1] - 0.1, box[2] + 0.25, box[3] + 0.25, pointed=pointed)
    canvas.polygon(outer, style.trim)
    _pane(canvas, rng, arch_outline(*box, pointed=pointed))
    bar = shade(style.trim, -18)
    canvas.rect(x - 0.05, box[1], x + 0.05, box[3] - 0.08, bar)
    rises = (0.32, 0.62) if pointed else (0.36, 0.68)
    for share in rises:
        z_bar = box[1] + (box[3] - box[1]) * share
        canvas.rect(box[0], z_bar - 0.04, box[2], z_bar + 0.04, bar)
    if pointed:
        canvas.disc(x, box[3] - 0.85, 0.34, bar)
        canvas.disc(x, box[3] - 0.85, 0.24, (92, 60, 110), glow=180)
    canvas.rect(box[0] - 0.3, box[1] - 0.22, box[2] + 0.3, box[1] - 0.04, shade(style.trim, -20))


def _pointed(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    _arch(canvas, rng, x, z, style, pointed=True)


def _casement(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    box = x - 0.85, z + 0.8, x + 0.85, z + style.storey_m - 0.7
    _pane(canvas, rng, _rectangle(*box))
    _bars(canvas, box, style.trim, 3, 3)
    canvas.rect(box[0] - 0.1, box[1] - 0.5, box[2] + 0.1, box[1], shade(style.wall, -34))
    for i in range(5):
        left = box[0] + (box[2] - box[0]) * (i + 0.2) / 5
        canvas.polygon(
            [(left, box[1] - 0.45), (left + 0.2, box[1] - 0.45), (left + 0.1, box[1] - 0.1)], style.trim
        )


def _lattice(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    box = x - 0.55, z + 0.85, x + 0.55, z + style.storey_m - 0.55
    frame = style.accent if style.name == "pagoda" else style.trim
    canvas.rect(box[0] - 0.12, box[1] - 0.12, box[2] + 0.12, box[3] + 0.12, frame)
    _pane(canvas, rng, _rectangle(*box))
    _bars(canvas, box, shade(style.trim, 20), 4, 5)


def _strip(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    half = style.bay_m / 2
    box = x - half + 0.06, z + 0.55, x + half - 0.06, z + style.storey_m - 0.08
    _pane(canvas, rng, _rectangle(*box), tint=style.wall)
    canvas.rect(x - 0.03, box[1], x + 0.03, box[3], style.trim)


def _slit(canvas: Canvas, rng: np.random.Generator, x: float, z: float, style: Style) -> None:
    box = x - 0.28, z + 1.0, x + 0.28, z + style.storey_m - 0.7
    canvas.polygon(
        arch_outline(box[0] - 0.25, box[1] - 0.2, box[2] + 0.25, box[3] + 0.2, pointed=False), style.trim
    )
    canvas.polygon(arch_outline(*box, pointed=False), (28, 26, 28), glow=200 if rng.random() < 0.5 else 0)


WindowDrawer = Callable[[Canvas, np.random.Generator, float, float, Style], None]
WINDOWS: dict[str, WindowDrawer] = {
    "sash": _sash,
    "shutter": _shutter,
    "arch": _arch,
    "pointed": _pointed,
    "casement": _casement,
    "lattice": _lattice,
    "strip": _strip,
    "slit": _slit,
}


def draw_door(canvas: Canvas, x: float, style: Style, *, width: float = 1.8, height: float = 3.0) -> None:
    """Draw an arched or square double door, standing on the ground."""
    pointed = style.window == "pointed"
    x0, x1 = x - width / 2, x + width / 2
    arched = style.window in ("arch", "pointed", "slit")
    for grow, color in ((0.4, style.trim), (0.2, shade(style.trim, -40)), (0.0, style.accent)):
        outline = arch_outline(x0 - grow, 0, x1 + grow, height + grow, pointed=pointed)
        canvas.polygon(outline if arched else _rectangle(x0 - grow, 0, x1 + grow, height + grow), color)
    canvas.rect(x - 0.04, 0, x + 0.04, height - 0.2, shade(style.accent, -40))
    for side in (-1, 1):
        for low, high in ((0.25, 0.42), (0.5, 0.72)):
            left = x + side * width / 4
            canvas.frame(
                left - width / 7, height * low, left + width / 7, height * high, shade(style.accent, 34), 0.06
            )
        canvas.disc(x + side * 0.18, height * 0.45, 0.07, (214, 180, 90))
