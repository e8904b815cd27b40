"""The families of buildings. Siblings share palette, windows and roof, and differ in the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from meisho.datasets.toycity import materials
from meisho.datasets.toycity.materials import RGB, Material


@dataclass(frozen=True)
class Style:
    """What the siblings of one family share.

    Attributes:
        name: The family; also chooses how its buildings are put together.
        material: Of its walls.
        wall: Wall colour.
        trim: Colour of frames, sills, cornices and columns.
        roof: Roof colour.
        accent: Colour of doors, shutters and signs.
        window: "sash", "shutter", "arch", "pointed", "casement", "lattice", "strip" or "slit".
        ground: Ground floor: "shop", "arcade", "door" or "plain".
        storeys: Least and most number of floors.
        bays: Least and most number of windows in a row.
        storey_m: Height of a floor.
        bay_m: Distance of windows.
        nouns: What its buildings are called.
        banded: Whether its walls have bands of a second colour.
    """

    name: str
    material: Material
    wall: RGB
    trim: RGB
    roof: RGB
    accent: RGB
    window: str
    ground: str
    storeys: tuple[int, int]
    bays: tuple[int, int]
    storey_m: float
    bay_m: float
    nouns: tuple[str, ...]
    banded: bool = False


FAMILIES: tuple[Style, ...] = (
    Style(
        "palace",
        materials.ashlar,
        (214, 200, 170),
        (232, 224, 204),
        (88, 98, 114),
        (40, 52, 74),
        "sash",
        "shop",
        (3, 5),
        (5, 9),
        3.4,
        2.7,
        ("HOTEL", "GRAND HOTEL", "BANK"),
    ),
    Style(
        "townhall",
        materials.brick,
        (158, 74, 54),
        (226, 214, 190),
        (92, 82, 80),
        (34, 74, 60),
        "arch",
        "door",
        (2, 3),
        (5, 9),
        4.2,
        3.0,
        ("TOWN HALL", "STATION", "POST OFFICE"),
    ),
    Style(
        "canal",
        materials.brick,
        (124, 62, 48),
        (238, 232, 220),
        (150, 84, 60),
        (30, 60, 44),
        "sash",
        "door",
        (3, 4),
        (2, 4),
        3.2,
        1.9,
        ("HOUSE", "INN", "BREWERY"),
    ),
    Style(
        "temple",
        materials.ashlar,
        (222, 214, 196),
        (240, 234, 220),
        (120, 132, 124),
        (86, 58, 36),
        "sash",
        "plain",
        (1, 2),
        (6, 9),
        5.4,
        3.0,
        ("MUSEUM", "ACADEMY", "LIBRARY"),
    ),
    Style(
        "church",
        materials.ashlar,
        (176, 164, 144),
        (208, 198, 178),
        (94, 108, 104),
        (74, 44, 30),
        "pointed",
        "door",
        (2, 3),
        (3, 5),
        5.2,
        3.2,
        ("CHURCH", "CHAPEL", "MINSTER"),
    ),
    Style(
        "domed",
        materials.plaster,
        (232, 214, 178),
        (246, 240, 226),
        (70, 134, 122),
        (150, 92, 40),
        "arch",
        "arcade",
        (2, 3),
        (5, 7),
        4.4,
        3.2,
        ("OPERA", "BATHS", "EXCHANGE"),
    ),
    Style(
        "timber",
        materials.plaster,
        (236, 226, 200),
        (82, 52, 36),
        (156, 78, 52),
        (132, 36, 30),
        "lattice",
        "shop",
        (2, 4),
        (4, 7),
        2.9,
        2.0,
        ("TAVERN", "GUILD", "PHARMACY"),
    ),
    Style(
        "glass",
        materials.concrete,
        (190, 196, 200),
        (70, 80, 90),
        (120, 126, 130),
        (220, 66, 40),
        "strip",
        "plain",
        (9, 15),
        (6, 9),
        3.3,
        2.6,
        ("TOWER", "CENTER", "PLAZA"),
    ),
    Style(
        "pagoda",
        materials.planks,
        (176, 52, 38),
        (242, 234, 216),
        (66, 74, 82),
        (196, 156, 60),
        "lattice",
        "plain",
        (3, 5),
        (3, 5),
        3.6,
        2.4,
        ("-JI", "-IN", "-DO"),
    ),
    Style(
        "deco",
        materials.concrete,
        (218, 196, 164),
        (60, 96, 98),
        (150, 138, 120),
        (206, 60, 52),
        "casement",
        "shop",
        (4, 6),
        (5, 8),
        3.5,
        2.6,
        ("CINEMA", "THEATRE", "PALACE"),
    ),
    Style(
        "villa",
        materials.plaster,
        (222, 148, 92),
        (244, 232, 208),
        (186, 96, 64),
        (50, 104, 92),
        "shutter",
        "arcade",
        (2, 4),
        (4, 7),
        3.4,
        2.8,
        ("VILLA", "TRATTORIA", "ALBERGO"),
    ),
    Style(
        "castle",
        materials.rubble,
        (150, 142, 130),
        (180, 172, 158),
        (110, 70, 66),
        (96, 30, 34),
        "slit",
        "door",
        (2, 3),
        (3, 5),
        4.2,
        3.2,
        ("CASTLE", "FORT", "GATE"),
    ),
)
"""Order of the families: landmark i belongs to family i modulo 12."""


@dataclass(frozen=True)
class Choice:
    """Materials and windows that a family may have."""

    materials: tuple[Material, ...]
    windows: tuple[str, ...]


MADE_OF: dict[str, Choice] = {
    "palace": Choice((materials.ashlar, materials.brick, materials.plaster), ("sash", "arch", "casement")),
    "townhall": Choice((materials.brick, materials.ashlar, materials.rubble), ("arch", "pointed", "sash")),
    "canal": Choice((materials.brick, materials.plaster, materials.planks), ("sash", "casement", "shutter")),
    "temple": Choice((materials.ashlar, materials.plaster, materials.brick), ("sash", "arch")),
    "church": Choice(
        (materials.ashlar, materials.brick, materials.plaster, materials.rubble), ("pointed", "arch")
    ),
    "domed": Choice((materials.plaster, materials.ashlar, materials.brick), ("arch", "pointed", "sash")),
    "timber": Choice((materials.plaster,), ("lattice", "casement", "shutter")),
    "glass": Choice((materials.concrete, materials.metal), ("strip",)),
    "pagoda": Choice((materials.planks, materials.plaster), ("lattice",)),
    "deco": Choice((materials.concrete, materials.plaster, materials.brick), ("casement", "sash", "arch")),
    "villa": Choice((materials.plaster, materials.rubble), ("shutter", "arch", "casement")),
    "castle": Choice((materials.rubble, materials.ashlar, materials.brick), ("slit", "arch")),
}
WALLS: tuple[RGB, ...] = (
    (232, 220, 192),
    (206, 160, 86),
    (214, 150, 142),
    (188, 98, 66),
    (140, 62, 50),
    (112, 84, 66),
    (236, 236, 230),
    (150, 152, 154),
    (112, 132, 156),
    (150, 166, 132),
    (120, 164, 158),
    (232, 204, 112),
    (88, 92, 100),
    (196, 178, 146),
)
TRIMS: tuple[RGB, ...] = (
    (242, 238, 226),
    (226, 210, 176),
    (70, 48, 38),
    (40, 66, 58),
    (178, 176, 170),
    (50, 54, 66),
    (150, 60, 48),
)

LOOKS = 8
"""Looks of each family in a city: wall, material, windows, roof and trim."""
LANDMARK_LOOKS = 4
"""Looks that landmarks have; those of streets follow, apart from a few that are borrowed."""
ROW_FAMILIES = ("palace", "canal", "timber", "deco", "villa", "townhall")
ROOFS: tuple[RGB, ...] = (
    (84, 92, 106),
    (168, 84, 56),
    (82, 132, 118),
    (96, 70, 56),
    (132, 48, 46),
    (126, 128, 126),
)
ACCENTS: tuple[RGB, ...] = (
    (40, 52, 80),
    (34, 78, 62),
    (150, 40, 40),
    (196, 146, 48),
    (84, 56, 40),
    (30, 110, 128),
    (110, 60, 112),
    (208, 84, 44),
)

_SYLLABLES = (
    "AR",
    "BEL",
    "COR",
    "DO",
    "EL",
    "FEN",
    "GAL",
    "HOL",
    "IM",
    "JAS",
    "KA",
    "LU",
    "MI",
    "NOR",
    "OS",
    "PEL",
    "QUIN",
    "RO",
    "SA",
    "TEM",
    "UL",
    "VER",
    "WEN",
    "YO",
    "ZA",
)
_ENDINGS = ("A", "DEN", "FORD", "IA", "LIN", "MOOR", "NA", "RA", "SK", "TON", "VAL", "WICK")


def city_styles(rng: np.random.Generator) -> tuple[tuple[Style, ...], ...]:
    """Return the looks of one city: `LOOKS` times all families."""
    walls = [rng.permutation(len(WALLS))[:LOOKS] for _ in FAMILIES]
    return tuple(
        tuple(_repainted(style, WALLS[walls[i][look]], rng) for i, style in enumerate(FAMILIES))
        for look in range(LOOKS)
    )


def _repainted(style: Style, wall: RGB, rng: np.random.Generator) -> Style:
    made_of = MADE_OF[style.name]
    return replace(
        style,
        material=made_of.materials[int(rng.integers(0, len(made_of.materials)))],
        window=made_of.windows[int(rng.integers(0, len(made_of.windows)))],
        wall=wall,
        trim=choose(rng, TRIMS),
        roof=choose(rng, ROOFS),
        accent=choose(rng, ACCENTS),
    )


def sibling_style(style: Style, rng: np.random.Generator) -> Style:
    """Return the style with the small differences of one building."""
    return replace(
        style,
        wall=_near(style.wall, rng, 10, 8),
        roof=_near(style.roof, rng, 8, 4),
        banded=rng.random() < 0.35 and style.name not in ("glass", "timber", "pagoda"),
        accent=_near(style.accent if rng.random() < 0.5 else choose(rng, ACCENTS), rng, 8, 4),
    )


def quiet_style(styles: Sequence[Style], rng: np.random.Generator) -> Style:
    """Return the style of a neighbour: of a family that stands in rows, in paler colours."""
    row = [style for style in styles if style.name in ROW_FAMILIES]
    style = sibling_style(row[int(rng.integers(0, len(row)))], rng)
    wall, trim, roof, accent = (_paler(c) for c in (style.wall, style.trim, style.roof, style.accent))
    return replace(style, wall=wall, trim=trim, roof=roof, accent=accent, banded=False, storeys=(2, 3))


def _paler(color: RGB) -> RGB:
    grey = sum(color) // 3
    r, g, b = ((c + 2 * grey + 128) // 4 for c in color)
    return r, g, b


def _near(color: RGB, rng: np.random.Generator, light: int, hue: int) -> RGB:
    """Return a colour lighter or darker by at most `light`, each channel moved by at most `hue` besides."""
    shifts = rng.integers(-light, light + 1) + rng.integers(-hue, hue + 1, 3)
    r, g, b = (int(min(max(c + d, 12), 250)) for c, d in zip(color, shifts, strict=True))
    return r, g, b


def names(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """Return `count` different names in capitals."""
    found: dict[str, None] = {}
    while len(found) < count:
        length = int(rng.integers(1, 3))
        parts = [_SYLLABLES[i] for i in rng.integers(0, len(_SYLLABLES), length)]
        found["".join(parts) + _ENDINGS[int(rng.integers(0, len(_ENDINGS)))]] = None
    return tuple(found)


def full_name(style: Style, name: str, rng: np.random.Generator) -> str:
    """Return the name of one building, for example "HOTEL MIRADEN" or "ST PELNA CHURCH"."""
    noun = style.nouns[int(rng.integers(0, len(style.nouns)))]
    if style.name == "pagoda":
        return name + noun
    if style.name == "church":
        return f"ST {name} {noun}"
    first = style.name in ("palace", "villa")
    return f"{noun} {name}" if first else f"{name} {noun}"


def pick(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    """Return a whole number within `bounds`, both included."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def choose(rng: np.random.Generator, options: Sequence[RGB]) -> RGB:
    """Return one of `options`."""
    return options[int(rng.integers(0, len(options)))]
