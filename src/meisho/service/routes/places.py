"""Places: photos of one place together, what is there more than once, and what nobody wants to see again."""

import csv
import io
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from meisho.run.grouping import PLACES_FILE, Duplicates, Places, load_groups
from meisho.service.bodies import describe_json
from meisho.service.cursors import LONGEST
from meisho.service.models import Model, PhotoFacts, Text
from meisho.service.opened import OpenedCollection
from meisho.service.problems import RefusedError
from meisho.service.routes.collections import CollectionName
from meisho.service.routes.photos import describe_stored
from meisho.service.security import WRITE
from meisho.service.sent import describe_files, send_file, send_json
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["places"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=LONGEST)]
Dismissed = Annotated[bool, Query(description="Show what was dismissed too.")]
Kind = Literal["place", "duplicate"]
MOST_SHOWN = 20
"""Photos of each place of a list; its own page has all."""

_FILES = describe_files("All places, as a file", "text/csv", "application/json")


class PlaceFacts(Model):
    """A place that several photos show, the cover first; of many photos only the first are listed."""

    id: str
    cover: str
    photos: list[str]
    size: int
    dismissed: bool


class PlaceList(Model):
    """The places of a collection, the biggest first; `made_at` is null where they were never looked for."""

    made_at: str | None
    version: int | None
    stale: bool
    calibrated: bool
    number: int
    places: list[PlaceFacts]
    next: str | None


class WholePlace(PlaceFacts):
    """A place with all its photos, and the copies of these."""

    copies: list[str]
    details: list[PhotoFacts]


class DuplicateFacts(Model):
    """Photos that are there more than once: files of the same content, or near copies."""

    id: str
    kind: Literal["same", "near"]
    photos: list[PhotoFacts]
    dismissed: bool


class DuplicateList(Model):
    """What is there more than once in a collection, the most first."""

    made_at: str | None
    stale: bool
    number: int
    groups: list[DuplicateFacts]
    next: str | None


class DismissalRequest(Model):
    """A group that shall not be shown again, or shall."""

    kind: Kind
    id: Text
    dismissed: bool
    collection: Text | None = None


class Dismissals(Model):
    """The groups of one kind that are not shown."""

    kind: Kind
    ids: list[str]


@router.get("/places")
def list_places(
    service: ServiceHere,
    collection: CollectionName = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    dismissed: Dismissed = False,
) -> PlaceList:
    """List the places that several photos show, the biggest first; a job of the kind groups finds them."""
    opened = service.collections.choose(collection)
    found, hidden = _load(opened), opened.notebook.dismissed("place")
    places = [place for place in found.places if dismissed or place.id not in hidden] if found else []
    first = _first(service, cursor, found)
    return PlaceList(
        made_at=found.made_at if found else None,
        stale=_is_stale(opened, found),
        version=found.version if found else None,
        calibrated=bool(found and found.calibrated),
        places=[
            PlaceFacts(
                id=place.id,
                cover=place.cover,
                photos=list(place.photos[:MOST_SHOWN]),
                size=place.size,
                dismissed=place.id in hidden,
            )
            for place in places[first : first + limit]
        ],
        number=len(places),
        next=_next(service, found, first + limit, places),
    )


@router.get("/places/export", responses=_FILES, response_class=Response)
def export_places(
    service: ServiceHere, format: Literal["json", "csv"] = "json", collection: CollectionName = None
) -> Response:
    """Return all places but those that were dismissed: as JSON, or a row for each photo."""
    opened = service.collections.choose(collection)
    found, hidden = _found(opened), opened.notebook.dismissed("place")
    places = [place for place in found.places if place.id not in hidden]
    if format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["place", "cover", "photo"])
        writer.writerows([place.id, place.cover, photo] for place in places for photo in place.photos)
        return send_file(text.getvalue(), "text/csv; charset=utf-8", "places.csv")
    listed = [{"id": p.id, "cover": p.cover, "photos": p.photos, "copies": p.copies} for p in places]
    about = {"collection": opened.name, "made_at": found.made_at, "version": found.version}
    return send_json(about | {"places": listed}, "places.json")


@router.get("/places/{id}")
def show_place(id: str, service: ServiceHere, collection: CollectionName = None) -> WholePlace:
    """Return all photos of one place, the cover first."""
    opened = service.collections.choose(collection)
    place = next((place for place in _found(opened).places if place.id == id), None)
    if place is None:
        raise RefusedError("not-found", f"there is no place {id:.80}", remedy="list the places again")
    return WholePlace(
        id=place.id,
        cover=place.cover,
        photos=list(place.photos),
        size=place.size,
        dismissed=place.id in opened.notebook.dismissed("place"),
        copies=list(place.copies),
        details=_describe(opened, place.photos),
    )


@router.get("/duplicates")
def list_duplicates(
    service: ServiceHere,
    collection: CollectionName = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    dismissed: Dismissed = False,
) -> DuplicateList:
    """List photos that are there more than once; a job of the kind groups finds near copies."""
    opened = service.collections.choose(collection)
    found, hidden = _load(opened), opened.notebook.dismissed("duplicate")
    groups: Sequence[Duplicates] = found.duplicates if found else ()
    groups = [group for group in groups if dismissed or group.id not in hidden]
    first = _first(service, cursor, found)
    shown = [(group, _describe(opened, group.photos)) for group in groups[first : first + limit]]
    return DuplicateList(
        made_at=found.made_at if found else None,
        stale=_is_stale(opened, found),
        number=len(groups),
        groups=[
            DuplicateFacts(id=group.id, kind=group.kind, photos=photos, dismissed=group.id in hidden)
            for group, photos in shown
        ],
        next=_next(service, found, first + limit, groups),
    )


@router.put("/dismissals", dependencies=[WRITE], openapi_extra=describe_json(DismissalRequest))
async def dismiss_group(request: Request, service: ServiceHere) -> Dismissals:
    """Let a place, or a group of duplicates, not be shown again, or be shown; no photo is touched."""
    asked = DismissalRequest.model_validate(await service.reading.read_json(request))
    return await service.changing.run(_dismiss, service, asked)


def _dismiss(service: Service, asked: DismissalRequest) -> Dismissals:
    notebook = service.collections.choose(asked.collection).notebook
    notebook.dismiss(asked.kind, asked.id, dismissed=asked.dismissed)
    return Dismissals(kind=asked.kind, ids=sorted(notebook.dismissed(asked.kind)))


def _load(opened: OpenedCollection) -> Places | None:
    """Return the places that were found last, or None; their file is read once."""
    try:
        status = (opened.path / PLACES_FILE).stat()
    except OSError:
        return None
    return _read(opened.path, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int, inode: int) -> Places | None:
    return load_groups(path)


def _found(opened: OpenedCollection) -> Places:
    """Return the places that were found.

    Raises:
        RefusedError: They were never looked for.
    """
    found = _load(opened)
    if found is None:
        raise RefusedError(
            "not-found",
            f"the places of {opened.name} were never looked for",
            remedy="begin a job of the kind groups",
        )
    return found


def _is_stale(opened: OpenedCollection, found: Places | None) -> bool:
    """Whether the collection has changed since its places were found."""
    return found is not None and found.version != opened.finder.version


def _describe(opened: OpenedCollection, ids: Sequence[str]) -> list[PhotoFacts]:
    """Return the facts of photos; those that were removed since are left out."""
    photos = filter(None, map(opened.finder.state.find_photo, ids))
    return [*map(partial(describe_stored, opened), photos)]


def _first(service: ServiceHere, cursor: str | None, found: Places | None) -> int:
    """Return where a page begins.

    Raises:
        RefusedError: The places were found anew since the page before.
    """
    if cursor is None:
        return 0
    values = service.cursors.read(cursor)
    if found is None or values.get("made_at") != found.made_at:
        raise RefusedError("cursor-expired", "the places were found anew since", remedy="list them again")
    return int(str(values["first"]))


def _next(service: ServiceHere, found: Places | None, first: int, groups: Sequence[object]) -> str | None:
    if found is None or first >= len(groups):
        return None
    return service.cursors.make(first=first, made_at=found.made_at)
