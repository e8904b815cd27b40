"""Locations: where and between which days the photos of a collection were taken, for a map and two fields."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from meisho.run.filters import Captures
from meisho.service.models import Model
from meisho.service.problems import RefusedError
from meisho.service.routes.collections import CollectionName
from meisho.service.shared import ServiceHere

router = APIRouter(prefix="/v1", tags=["collections"])

MOST_POINTS = 2000
_DECIMALS = (5, 4, 3, 2, 1, 0, -1)
"""Digits that places are rounded to, until there are few enough of them; 5 are a metre."""


class Locations(Model):
    """Where and when the photos of a collection were taken, as far as that is known."""

    points: list[tuple[float, float, int]]
    located: int
    dated: int
    missing: int
    after: str | None
    before: str | None


@router.get("/locations")
def list_locations(
    service: ServiceHere,
    collection: CollectionName = None,
    most: Annotated[int, Query(ge=1, le=MOST_POINTS)] = MOST_POINTS,
) -> Locations:
    """Return [latitude, longitude, number of photos] of places, and the first and the last day.

    `missing` photos were not looked at yet; a job reads them, and they are here when it has ended.
    """
    opened = service.collections.choose(collection)
    try:
        service.desks.of(opened).read_captures()
    except RefusedError as error:
        if error.kind != "not-read-yet":
            raise
    snapshot = opened.finder.snapshot
    captures = opened.captures.load(snapshot)
    days = captures.taken[~np.isnat(captures.taken)]
    return Locations(
        points=_round(captures, most),
        located=int((~np.isnan(captures.latitude)).sum()),
        dated=len(days),
        missing=opened.captures.count_missing(snapshot),
        after=str(days.min()) if len(days) else None,
        before=str(days.max()) if len(days) else None,
    )


def _round(captures: Captures, most: int) -> list[tuple[float, float, int]]:
    """Return places with the number of photos there, rounded until there are at most so many."""
    known = ~np.isnan(captures.latitude)
    places = np.column_stack([captures.latitude[known], captures.longitude[known]])
    for decimals in _DECIMALS:
        rounded, counts = np.unique(places.round(decimals), axis=0, return_counts=True)
        if len(rounded) <= most:
            break
    largest = np.argsort(-counts, kind="stable")[:most]
    return [
        (lat, lon, number)
        for (lat, lon), number in zip(rounded[largest].tolist(), counts[largest].tolist(), strict=True)
    ]
