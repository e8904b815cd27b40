"""Collections: what is open, and what each holds."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from meisho.run.grouping import PLACES_FILE
from meisho.service.cursors import LONGEST
from meisho.service.models import MOST_LISTED, CollectionFacts, CollectionList, Model, Text
from meisho.service.opened import MOST_FOLDERS, OpenedCollection
from meisho.service.security import Caller, caller_of
from meisho.service.shared import ServiceHere

router = APIRouter(prefix="/v1", tags=["collections"])

CollectionName = Annotated[
    Text | None, Query(description="A collection that is open; the first if left out.")
]


class SkippedFacts(Model):
    """A photo that could not be described, and why."""

    id: str
    reason: str


class SkippedList(Model):
    """Photos that could not be described, by id."""

    number: int
    photos: list[SkippedFacts]
    next: str | None


@router.get("/collections")
def list_collections(service: ServiceHere, request: Request) -> CollectionList:
    """List the collections that are open."""
    for opened in service.collections.values():
        opened.follow()
    return CollectionList(
        collections=[_facts(opened, caller_of(request)) for opened in service.collections.values()],
        query_urls=service.settings.query_urls,
    )


@router.get("/collection")
def describe_collection(
    service: ServiceHere, request: Request, collection: CollectionName = None
) -> CollectionFacts:
    """Say what one collection holds."""
    return _facts(service.collections.choose(collection), caller_of(request))


@router.get("/skipped")
def list_skipped(
    service: ServiceHere,
    collection: CollectionName = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    cursor: Annotated[str | None, Query(max_length=LONGEST)] = None,
) -> SkippedList:
    """List the photos that could not be described, and why; the next indexing looks at those that changed."""
    opened = service.collections.choose(collection)
    after = None if cursor is None else str(service.cursors.read(cursor).get("after", ""))
    found = opened.skipped.read(opened.finder.version)
    rest = [photo for photo in found if after is None or photo.id > after]
    return SkippedList(
        number=len(found),
        photos=[SkippedFacts(id=photo.id, reason=photo.reason) for photo in rest[:limit]],
        next=service.cursors.make(after=rest[limit - 1].id) if len(rest) > limit else None,
    )


def _facts(opened: OpenedCollection, caller: Caller) -> CollectionFacts:
    finder = opened.finder
    return CollectionFacts(
        name=opened.name,
        num_photos=len(finder),
        version=finder.version,
        model=finder.metadata.provenance.summary,
        local=opened.local_name,
        photo_root_present=finder.photo_root.is_dir(),
        writable=caller.may("write"),
        has_places=(opened.path / PLACES_FILE).exists(),
        certainty=opened.has_certainty,
        folders=opened.listing.folders[:MOST_FOLDERS],
        skipped=opened.skipped.count(finder.version),
    )
