"""Plots: what a kind of place is told about the one place that it shall draw."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meisho.toycity.site import CITY, KIND, Site, Stage, stream
from meisho.toycity.styles import names
from meisho.toycity.surfaces import Surface

SIBLINGS = 3
"""Landmarks of a kind that share their look: numbers 0 to 2, 3 to 5, and so on."""
OWN, SHARED, STREETS = range(3)


@dataclass(frozen=True)
class Plot:
    """One place to draw.

    Attributes:
        seed: Seed of the city.
        kind: Name of the kind, as in `kinds.KINDS`.
        number: Number of the place among those of its kind.
        street: Whether it is a place without a landmark, which only distracts.
    """

    seed: int
    kind: str
    number: int
    street: bool

    def own(self) -> np.random.Generator:
        """Return the random numbers that are this place's alone."""
        return stream(self.seed, KIND, self._code, OWN, self.number, int(self.street))

    def shared(self) -> np.random.Generator:
        """Return the random numbers that its siblings have too; every fifth distractor has a landmark's."""
        use = STREETS if self.street and self.number % 5 else SHARED
        return stream(self.seed, KIND, self._code, use, self.number // SIBLINGS)

    def word(self) -> str:
        """Return its name in capitals, unique in its city among places of its kind."""
        rank = 2 * self.number + self.street
        return names(stream(self.seed, KIND, self._code, CITY), rank + 1)[rank]

    def slug(self, noun: str = "") -> str:
        """Return its name with the noun for it, as files are named."""
        return f"{self.word()}_{noun or self.kind}".lower()

    @property
    def _code(self) -> int:
        return zlib.crc32(self.kind.encode())


def finish(
    plot: Plot,
    parts: Sequence[Surface],
    around: Sequence[Surface],
    stage: Stage,
    *,
    lamps: tuple[tuple[float, float, float], ...] = (),
) -> Site:
    """Return the site of a landmark.

    Args:
        plot: Its plot.
        parts: Its own surfaces.
        around: What stands around it.
        stage: Where it is photographed from.
        lamps: Positions of the lamps, metres.
    """
    corners = np.concatenate([part.corners for part in parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    extent = float(high[0] - low[0]), max(float(high[1]), 0.1), float(high[2])
    return Site(plot.slug(), plot.kind, (*parts, *around), len(parts), extent, lamps, stage)
