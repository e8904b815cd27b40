"""A site in the city: a landmark in the middle, what stands around it, and where it is photographed from."""

from dataclasses import dataclass, replace

import numpy as np

from meisho.toycity.light import SKIES, Sky
from meisho.toycity.surfaces import Point, Surface, Texture, wall

CITY, LANDMARK, STREET, VIEW, QUERY, KIND = range(6)
"""What a stream of random numbers is for; part of its seed."""


def stream(seed: int, *what: int) -> np.random.Generator:
    """Return a random generator for one purpose; it does not depend on earlier draws or on the process."""
    return np.random.default_rng(np.random.SeedSequence([seed, *what]))


@dataclass(frozen=True)
class Stage:
    """Where a site is photographed from, in which light, and who walks there; as it is for a building.

    Attributes:
        base_z: Height of the landmark's lower edge, metres.
        pivot_y: The point (0, pivot_y) that the camera turns around, metres.
        spread: What the camera's angles from the front are multiplied by; 3 goes all around.
        distance: Least and greatest distance of the camera from the pivot, metres.
        front: Least distance of the camera in front of the pivot; negative where it may go behind, metres.
        above: Least and greatest height of a raised camera, metres.
        room: Ranges of x and y within which the camera stays, metres.
        people_x: Range of x in which people walk, metres.
        people_y: Range of y in which they walk, metres.
        traffic: Whether cars pass.
        indoors: Whether only people stand in the way, and no rain falls.
        skies: Weathers, or lamps indoors; the first three are fair.
    """

    base_z: float = 0.0
    pivot_y: float = 0.0
    spread: float = 1.0
    distance: Point = (7.0, 75.0)
    front: float = 5.0
    above: Point = (4.0, 15.0)
    room: tuple[Point, Point] = ((-1e3, 1e3), (-1e3, 1e3))
    people_x: Point = (-16.0, 16.0)
    people_y: Point = (-7.0, -0.8)
    traffic: bool = True
    indoors: bool = False
    skies: tuple[Sky, ...] = SKIES


@dataclass(frozen=True, eq=False)
class Site:
    """A site to photograph.

    Attributes:
        name: Name in lower case with "_", unique in its city.
        family: Name of a building's style family, or of another landmark's kind.
        surfaces: All surfaces of the site, those of the landmark first.
        num_building: Number of `surfaces` that belong to the landmark.
        extent: Width, depth and height of the landmark, metres.
        lamps: (L, 3) positions of the lamps, metres.
        stage: Where it is photographed from.
    """

    name: str
    family: str
    surfaces: tuple[Surface, ...]
    num_building: int
    extent: tuple[float, float, float]
    lamps: tuple[tuple[float, float, float], ...]
    stage: Stage = Stage()

    @property
    def center(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(3,) centre of the landmark, metres."""
        return np.array([0.0, self.extent[1] / 2, (self.extent[2] + self.stage.base_z) / 2])


def standing(
    texture: Texture, x: float, y: float, z: float = 0.0, *, along: tuple[float, float] = (1.0, 0.0)
) -> Surface:
    """Place a cut-out on the ground, the middle of its foot at (x, y), along the unit vector `along`."""
    width, height = texture.size_m
    dx, dy = along[0] * width / 2, along[1] * width / 2
    upright = wall((x - dx, y - dy), (x + dx, y + dy), z, z + height, texture)
    return replace(upright, two_sided=True)
