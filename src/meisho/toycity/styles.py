"""The style families. Siblings share palette, windows and roof, and differ in everything else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from meisho.toycity import materials
from meisho.toycity.materials import RGB, Material


@dataclass(frozen=True)
class Family:
    """The common traits of all buildings of one family, in every city.

    Attributes:
        name: Name of the family; also selects how its buildings are assembled.
        materials: Possible wall materials; each look has one.
        windows: Possible windows; each look has one. "sash", "shutter", "arch", "pointed", "casement",
            "lattice", "strip" or "slit".
        ground: Ground floor: "shop", "arcade", "door" or "plain".
        storeys: Minimum and maximum number of floors.
        bays: Minimum and maximum number of windows in a row.
        storey_m: Height of a floor, metres.
        bay_m: Distance between windows, metres.
        nouns: Words for its buildings, such as "HOTEL".
    """

    name: str
    materials: tuple[Material, ...]
    windows: tuple[str, ...]
    ground: str
    storeys: tuple[int, int]
    bays: tuple[int, int]
    storey_m: float
    bay_m: float
    nouns: tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """The style of one building, or of the siblings of one look.

    Attributes:
        name: Name of the family.
        material: Wall material.
        wall: Wall colour.
        trim: Colour of frames, sills, cornices and columns.
        roof: Roof colour.
        accent: Colour of doors, shutters and signs.
        window: One of the family's windows.
        ground: As in `Family`.
        storeys: As in `Family`; fewer for a neighbour.
        bays: As in `Family`.
        storey_m: As in `Family`.
        bay_m: As in `Family`.
        nouns: As in `Family`.
        banded: Whether the walls have bands of a second colour.
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


FAMILIES: tuple[Family, ...] = (
    Family(
        "palace",
        (materials.ashlar, materials.brick, materials.plaster),
        ("sash", "arch", "casement"),
        "shop",
        (3, 5),
        (5, 9),
        3.4,
        2.7,
        ("HOTEL", "GRAND HOTEL", "BANK"),
    ),
    Family(
        "townhall",
        (materials.brick, materials.ashlar, materials.rubble),
        ("arch", "pointed", "sash"),
        "door",
        (2, 3),
        (5, 9),
        4.2,
        3.0,
        ("TOWN HALL", "STATION", "POST OFFICE"),
    ),
    Family(
        "canal",
        (materials.brick, materials.plaster, materials.planks),
        ("sash", "casement", "shutter"),
        "door",
        (3, 4),
        (2, 4),
        3.2,
        1.9,
        ("HOUSE", "INN", "BREWERY"),
    ),
    Family(
        "temple",
        (materials.ashlar, materials.plaster, materials.brick),
        ("sash", "arch"),
        "plain",
        (1, 2),
        (6, 9),
        5.4,
        3.0,
        ("MUSEUM", "ACADEMY", "LIBRARY"),
    ),
    Family(
        "church",
        (materials.ashlar, materials.brick, materials.plaster, materials.rubble),
        ("pointed", "arch"),
        "door",
        (2, 3),
        (3, 5),
        5.2,
        3.2,
        ("CHURCH", "CHAPEL", "MINSTER"),
    ),
    Family(
        "domed",
        (materials.plaster, materials.ashlar, materials.brick),
        ("arch", "pointed", "sash"),
        "arcade",
        (2, 3),
        (5, 7),
        4.4,
        3.2,
        ("OPERA", "BATHS", "EXCHANGE"),
    ),
    Family(
        "timber",
        (materials.plaster,),
        ("lattice", "casement", "shutter"),
        "shop",
        (2, 4),
        (4, 7),
        2.9,
        2.0,
        ("TAVERN", "GUILD", "PHARMACY"),
    ),
    Family(
        "glass",
        (materials.concrete, materials.metal),
        ("strip",),
        "plain",
        (9, 15),
        (6, 9),
        3.3,
        2.6,
        ("TOWER", "CENTER", "PLAZA"),
    ),
    Family(
        "pagoda",
        (materials.planks, materials.plaster),
        ("lattice",),
        "plain",
        (3, 5),
        (3, 5),
        3.6,
        2.4,
        ("-JI", "-IN", "-DO"),
    ),
    Family(
        "deco",
        (materials.concrete, materials.plaster, materials.brick),
        ("casement", "sash", "arch"),
        "shop",
        (4, 6),
        (5, 8),
        3.5,
        2.6,
        ("CINEMA", "THEATRE", "PALACE"),
    ),
    Family(
        "villa",
        (materials.plaster, materials.rubble),
        ("shutter", "arch", "casement"),
        "arcade",
        (2, 4),
        (4, 7),
        3.4,
        2.8,
        ("VILLA", "TRATTORIA", "ALBERGO"),
    ),
    Family(
        "castle",
        (materials.rubble, materials.ashlar, materials.brick),
        ("slit", "arch"),
        "door",
        (2, 3),
        (3, 5),
        4.2,
        3.2,
        ("CASTLE", "FORT", "GATE"),
    ),
)
"""Order of the families: landmark i belongs to family i modulo 12."""

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
    """Return the looks of one city: `LOOKS` styles of each family."""
    walls = [rng.permutation(len(WALLS))[:LOOKS] for _ in FAMILIES]
    return tuple(
        tuple(_look_of(family, WALLS[walls[i][look]], rng) for i, family in enumerate(FAMILIES))
        for look in range(LOOKS)
    )


def _look_of(family: Family, wall: RGB, rng: np.random.Generator) -> Style:
    return Style(
        name=family.name,
        material=family.materials[int(rng.integers(0, len(family.materials)))],
        window=family.windows[int(rng.integers(0, len(family.windows)))],
        wall=wall,
        trim=choose(rng, TRIMS),
        roof=choose(rng, ROOFS),
        accent=choose(rng, ACCENTS),
        ground=family.ground,
        storeys=family.storeys,
        bays=family.bays,
        storey_m=family.storey_m,
        bay_m=family.bay_m,
        nouns=family.nouns,
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
    """Return the style of a neighbour: a family that is built in rows, in paler colours."""
    row = [style for style in styles if style.name in ROW_FAMILIES]
    style = sibling_style(row[int(rng.integers(0, len(row)))], rng)
    wall, trim, roof, accent = (_paler(c) for c in (style.wall, style.trim, style.roof, style.accent))
    return replace(style, wall=wall, trim=trim, roof=roof, accent=accent, banded=False, storeys=(2, 3))


def _paler(color: RGB) -> RGB:
    grey = sum(color) // 3
    r, g, b = ((c + 2 * grey + 128) // 4 for c in color)
    return r, g, b


def _near(color: RGB, rng: np.random.Generator, light: int, hue: int) -> RGB:
    """Return a colour lighter or darker by at most `light`, with each channel moved by at most `hue` more."""
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
    """Return a random whole number within `bounds`, both included."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def choose(rng: np.random.Generator, options: Sequence[RGB]) -> RGB:
    """Return one of `options` at random."""
    return options[int(rng.integers(0, len(options)))]
