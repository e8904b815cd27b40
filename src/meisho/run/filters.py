"""Filters: which photos of a collection may answer, by folder, by date and by place."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import BoolArray, Float64Array
from meisho.errors import InputError
from meisho.store.snapshot import Snapshot

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG), km; the error of a sphere is below 0.6 %."""

MOST_KM = 20_038
"""Half way around the Earth: everything."""


@dataclass(frozen=True, eq=False)
class Captures:
    """When and where N photos were taken.

    Attributes:
        taken: (N,) datetime64[D], the day by the camera's clock; NaT where it is not known.
        latitude: (N,) float64, degrees, north is positive; NaN where the place is not known.
        longitude: (N,) float64, degrees, east is positive; NaN likewise.
    """

    taken: NDArray[np.datetime64]
    latitude: Float64Array
    longitude: Float64Array


@dataclass(frozen=True)
class Circle:
    """All that is near a place.

    Attributes:
        latitude: Degrees, north is positive.
        longitude: Degrees, east is positive.
        radius_km: Along the ground.

    Raises:
        InputError: There is no such place, or the radius is not above 0.
    """

    latitude: float
    longitude: float
    radius_km: float

    def __post_init__(self) -> None:
        inside = abs(self.latitude) <= 90 and abs(self.longitude) <= 180 and 0 < self.radius_km <= MOST_KM
        if not inside:
            raise InputError(
                f"gps is {self.latitude:g},{self.longitude:g},{self.radius_km:g}; "
                "give the latitude (-90 to 90), the longitude (-180 to 180) and the radius in km "
                f"(above 0, at most {MOST_KM:,})"
            )

    @classmethod
    def parse(cls, text: str) -> "Circle":
        """Read "35.03,135.72,2": latitude and longitude in degrees, and a radius in km.

        Raises:
            InputError: It is not that.
        """
        try:
            latitude, longitude, radius_km = (float(part) for part in text.split(","))
        except ValueError as error:
            raise InputError(
                f"gps is {text!r:.80}; give latitude,longitude,km such as 35.03,135.72,2"
            ) from error
        return cls(latitude, longitude, radius_km)


@dataclass(frozen=True)
class Filter:
    """What photos must be to be answers; whose date or place is not known is none where one is asked for.

    Attributes:
        folder: They lie below it: a path below the photo folder with "/". "" for all.
        after: They were taken on this day or later.
        before: They were taken on this day or earlier.
        circle: They were taken here.

    Raises:
        InputError: `before` is earlier than `after`.
    """

    folder: str = ""
    after: date | None = None
    before: date | None = None
    circle: Circle | None = None

    def __post_init__(self) -> None:
        if self.after and self.before and self.before < self.after:
            raise InputError(f"before is {self.before}, earlier than after, {self.after}; exchange them")

    @classmethod
    def parse(
        cls,
        folder: str | None = None,
        after: str | None = None,
        before: str | None = None,
        gps: str | None = None,
    ) -> "Filter":
        """Make a filter of texts as people give them; None and "" for what is not asked for.

        Args:
            folder: A path below the photo folder.
            after: A day, YYYY-MM-DD.
            before: A day, YYYY-MM-DD.
            gps: "latitude,longitude,km".

        Raises:
            InputError: A text is not what it should be.
        """
        return cls(
            folder or "",
            _parse_day("after", after) if after else None,
            _parse_day("before", before) if before else None,
            Circle.parse(gps) if gps else None,
        )

    @property
    def needs_captures(self) -> bool:
        """Whether it asks when or where photos were taken."""
        return any(asked is not None for asked in (self.after, self.before, self.circle))

    def __bool__(self) -> bool:
        return bool(self.folder.strip("/")) or self.folder == "/" or self.needs_captures

    def choose(self, snapshot: Snapshot, captures: Callable[[Snapshot], Captures]) -> BoolArray:
        """Return which (N,) photos of a snapshot may answer.

        Args:
            snapshot: A collection at one moment.
            captures: Says when and where its photos were taken; called where that is asked for.
        """
        chosen = np.ones(len(snapshot.keys), np.bool_)
        if self.folder:
            chosen &= lie_below(snapshot.descriptors.ids, self.folder)
        if self.needs_captures:
            known = captures(snapshot)
            if self.after:
                chosen &= known.taken >= np.datetime64(self.after, "D")
            if self.before:
                chosen &= known.taken <= np.datetime64(self.before, "D")
            if self.circle:
                chosen &= distances_km(self.circle, known) <= self.circle.radius_km
        return chosen


def lie_below(ids: Sequence[str], folder: str) -> BoolArray:
    """Return which of N photos lie below a folder, however deep; ids are paths with "/"."""
    start = folder.rstrip("/") + "/"
    return np.fromiter((photo_id.startswith(start) for photo_id in ids), np.bool_, len(ids))


def distances_km(circle: Circle, captures: Captures) -> Float64Array:
    """Return how far (N,) photos were taken from the middle of a circle, km along a sphere; NaN: not known.

    By the haversine formula, which keeps its digits where places are near.
    """
    here, there = np.radians(circle.latitude), np.radians(captures.latitude)
    across = np.radians(captures.longitude - circle.longitude)
    square = np.sin((there - here) / 2) ** 2 + np.cos(here) * np.cos(there) * np.sin(across / 2) ** 2
    distances: Float64Array = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(square, 0, 1)))
    return distances


def _parse_day(name: str, text: str) -> date:
    try:
        if not _DAY.fullmatch(text):  # fromisoformat takes "20240501" and "2024-W18-3" too
            raise ValueError
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{name} is {text!r:.80}; give a day as YYYY-MM-DD, such as 2024-05-01") from error
