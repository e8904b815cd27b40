"""Views: cameras around a landmark, and obstacles in front of it."""

import math
from dataclasses import dataclass

import numpy as np

from meisho.toycity import clutter
from meisho.toycity.camera import Camera, look_at
from meisho.toycity.site import Site, Stage, standing
from meisho.toycity.surfaces import Surface

EYE_M = 1.65
CLOSE_M = 6.0
"""Nearer than this only people stand in the way: a tree or a bus would hide everything."""
LONG_SIDES_PX = (448, 480, 512, 560)


@dataclass(frozen=True)
class Manner:
    """A manner of taking a photo.

    Attributes:
        name: Name of the manner.
        share: Relative frequency.
        azimuth_deg: Minimum and maximum angle from the facade's normal, to either side.
        fill: Minimum and maximum fraction of the photo that the building fills; above 1 it is cropped.
        shift: Maximum shift of the aim, as a fraction of the building's width.
        crop: Maximum shift of the photo's centre, as a fraction of its width.
        people: Minimum and maximum number of people.
        blocked: Probability of an obstacle near the camera.
    """

    name: str
    share: float
    azimuth_deg: tuple[float, float]
    fill: tuple[float, float]
    shift: float
    crop: float
    people: tuple[int, int]
    blocked: float


POSTCARD = Manner("postcard", 5.4, (0, 20), (0.88, 1.08), 0.06, 0.03, (0, 6), 0.0)
MANNERS: tuple[Manner, ...] = (
    POSTCARD,
    Manner("angled", 2.4, (18, 40), (0.85, 1.08), 0.1, 0.06, (0, 8), 0.12),
    Manner("far", 0.45, (0, 30), (0.42, 0.62), 0.3, 0.15, (2, 10), 0.2),
    Manner("detail", 0.8, (0, 30), (1.3, 1.9), 0.25, 0.1, (0, 4), 0.1),
    Manner("crowded", 0.9, (0, 35), (0.75, 1.05), 0.2, 0.2, (12, 30), 0.6),
    Manner("passing", 0.45, (10, 50), (0.55, 1.2), 0.8, 0.3, (2, 9), 0.5),
)


def pick_manner(rng: np.random.Generator) -> Manner:
    """Pick a manner of taking a photo at random."""
    shares = np.array([manner.share for manner in MANNERS])
    return MANNERS[int(np.searchsorted(np.cumsum(shares) / shares.sum(), rng.random()))]


def place_camera(rng: np.random.Generator, site: Site, manner: Manner) -> Camera:
    """Place a camera in front of a landmark and aim it at the landmark."""
    (width, _, height), stage = site.extent, site.stage
    height -= stage.base_z
    photo = _size(rng, upright=rng.random() < (0.85 if height > 1.1 * width else 0.12))
    focal = max(photo) / 2 / math.tan(math.radians(rng.uniform(48, 72)) / 2)
    azimuth = math.radians(rng.uniform(*manner.azimuth_deg)) * (1 if rng.random() < 0.5 else -1)
    azimuth *= stage.spread
    fill = math.exp(rng.uniform(math.log(manner.fill[0]), math.log(manner.fill[1])))
    seen_width = width * abs(math.cos(azimuth)) + site.extent[1] * abs(math.sin(azimuth)) * 0.6
    if fill > 1.1:
        distance = min(height * focal / photo[1], seen_width * focal / photo[0]) / fill
    else:
        distance = max(height * focal / photo[1], seen_width * focal / photo[0]) / fill
    distance = min(max(distance, stage.distance[0]), stage.distance[1])
    above = rng.uniform(*stage.above) if rng.random() < 0.2 else EYE_M + rng.uniform(-0.2, 0.3)
    x = min(max(distance * math.sin(azimuth), stage.room[0][0]), stage.room[0][1])
    y = stage.pivot_y - max(distance * math.cos(azimuth), stage.front)
    position = np.array([x, min(max(y, stage.room[1][0]), stage.room[1][1]), above])
    return _aimed(rng, site, manner, np.round(position, 4), photo, round(focal, 3))


def _aimed(
    rng: np.random.Generator,
    site: Site,
    manner: Manner,
    position: np.ndarray,
    photo: tuple[int, int],
    focal: float,
) -> Camera:
    (width, _, top), base = site.extent, site.stage.base_z
    height = top - base
    aside = rng.uniform(-1, 1) * manner.shift * width
    aim = np.array([aside, site.stage.pivot_y + 1.0, base + height * rng.uniform(0.38, 0.56)])
    if manner.name == "detail":
        aim[2] = base + height * rng.uniform(0.25, 0.75)
    roll = math.radians(rng.uniform(-11, 11) if rng.random() < 0.15 else rng.uniform(-2, 2))
    shift = rng.uniform(-1, 1, 2) * manner.crop * photo[0]
    principal = round(photo[0] / 2 - 0.5 + shift[0], 3), round(photo[1] / 2 - 0.5 + shift[1] * 0.5, 3)
    return Camera(*photo, focal, principal, look_at(position, aim, roll), position)


def _size(rng: np.random.Generator, *, upright: bool) -> tuple[int, int]:
    long = LONG_SIDES_PX[int(rng.integers(0, len(LONG_SIDES_PX)))]
    short = round(long * (2 / 3 if rng.random() < 0.4 else 3 / 4) / 2) * 2
    return (short, long) if upright else (long, short)


def passers_by(rng: np.random.Generator, site: Site, camera: Camera, manner: Manner) -> list[Surface]:
    """Return people, cars and obstacles for one photo."""
    people = int(rng.integers(manner.people[0], manner.people[1] + 1))
    parts = [_person(rng, site.stage, camera) for _ in range(people)]
    cars = int(rng.integers(0, 4 if manner.name != "postcard" else 2))
    for _ in range(cars if site.stage.traffic else 0):
        lane = float(rng.choice([-12.0, -15.5]))
        parts.append(standing(clutter.car(rng), float(rng.uniform(-32, 32)), lane, -0.12))
    if rng.random() < manner.blocked:
        parts.append(_obstacle(rng, site, camera))
    clear = [p for p in parts if np.linalg.norm(p.corners[3] - camera.position) > 2.2]
    return clear


def _facing(camera: Camera, x: float, y: float) -> tuple[float, float]:
    """Return the horizontal unit vector from left to right as the camera sees the point (x, y)."""
    dx, dy = x - float(camera.position[0]), y - float(camera.position[1])
    length = math.hypot(dx, dy) or 1.0
    return round(dy / length, 6), round(-dx / length, 6)


def _person(rng: np.random.Generator, stage: Stage, camera: Camera) -> Surface:
    figure = clutter.person(rng)
    if rng.random() < 0.6:
        x, y = float(rng.uniform(*stage.people_x)), float(rng.uniform(*stage.people_y))
    else:
        ahead, aside = float(rng.uniform(4, 16)), float(rng.uniform(-4, 4))
        forward = camera.rotation[2]
        x = float(camera.position[0] + forward[0] * ahead - forward[1] * aside)
        y = min(float(camera.position[1] + forward[1] * ahead + forward[0] * aside), stage.people_y[1])
    return standing(figure, round(x, 3), round(y, 3), along=_facing(camera, x, y))


def _obstacle(rng: np.random.Generator, site: Site, camera: Camera) -> Surface:
    """Return a tree, a bus or a person close to the camera, in front of the building."""
    share = rng.uniform(0.2, 0.5)
    aim = np.array([rng.uniform(-0.3, 0.3) * site.extent[0], 0.0])
    x, y = (float(v) for v in camera.position[:2] * (1 - share) + aim * share)
    y = min(y, -1.5)
    close = site.stage.indoors or float(np.hypot(*camera.position[:2])) < CLOSE_M
    kind = 1.0 if close else rng.random()
    texture = (
        clutter.tree(rng, float(rng.uniform(5, 8)), clutter.LEAVES[int(rng.integers(0, 3))])
        if kind < 0.6
        else clutter.car(rng)
        if kind < 0.8
        else clutter.person(rng)
    )
    return standing(texture, round(x, 3), round(y, 3), along=_facing(camera, x, y))
