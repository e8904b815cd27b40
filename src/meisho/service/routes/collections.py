"""Collections: what is open, and what each holds."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from meisho.run.grouping import PLACES_FILE
from meisho.service.models import CollectionFacts, CollectionList, Text
from meisho.service.opened import MOST_FOLDERS, OpenedCollection
from meisho.service.security import Caller, caller_of
from meisho.service.shared import ServiceHere

router = APIRouter(prefix="/v1", tags=["collections"])

CollectionName = Annotated[
    Text | None, Query(description="A collection that is open; the first if left out.")
]


@router.get("/collections")
def list_collections(service: ServiceHere, request: Request) -> CollectionList:
    """List the collections that are open."""
    for opened in service.collections.values():
        opened.follow()
    return CollectionList(
        collections=[_facts(opened, caller_of(request)) for opened in service.collections.values()]
    )


@router.get("/collection")
def describe_collection(
    service: ServiceHere, request: Request, collection: CollectionName = None
) -> CollectionFacts:
    """Say what one collection holds."""
    return _facts(service.collections.choose(collection), caller_of(request))


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
        skipped=0,
    )
