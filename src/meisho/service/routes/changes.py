"""Changes: photos put into a collection and taken out of it."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from meisho.service.models import Model, QueryName, Text
from meisho.service.opened import OpenedCollection
from meisho.service.problems import RefusedError
from meisho.service.routes.collections import CollectionName
from meisho.service.routes.search import UPLOAD
from meisho.service.security import WRITE, Caller, caller_of
from meisho.service.shared import Service, ServiceHere
from meisho.service.uploads import Put, Removed

router = APIRouter(prefix="/v1", tags=["photos"], dependencies=[WRITE])

Confirm = Annotated[Text, Query(description="The id once more, where the file is to be deleted too.")]


class PutPhoto(Model):
    """What became of a photo that was put into a collection."""

    collection: str
    id: str
    done: Literal["added", "unchanged", "replaced"]
    version: int


class RemovedPhoto(Model):
    """What became of a photo that was taken out of a collection."""

    collection: str
    id: str
    removed: bool
    file_deleted: bool
    file_stays: bool
    version: int


@router.put("/photos/{id:path}", openapi_extra=UPLOAD, responses={201: {"model": PutPhoto}})
async def put_photo(
    id: str,
    request: Request,
    response: Response,
    service: ServiceHere,
    collection: CollectionName = None,
    replace: bool = False,
    query: Annotated[QueryName | None, Query(description="A query photo, in place of a body.")] = None,
) -> PutPhoto:
    """Put a photo into a collection; it is acknowledged once it is committed.

    The same content under the same name changes nothing. The id in the answer may differ from the one asked
    for: uploads go into a folder of the collection's own unless the photo folder may be written to.
    """
    opened = await asyncio.to_thread(service.collections.choose, collection)
    if query is None:
        content = await service.reading.read_photo(request)
    else:
        content = service.queries.get(query).content
    put: Put = await service.changing.run(_put, service, opened, id, content, replace)
    response.status_code = 201 if put.done == "added" else 200
    return PutPhoto(collection=opened.name, id=put.id, done=put.done, version=put.version)


@router.delete("/photos/{id:path}")
async def remove_photo(
    id: str,
    request: Request,
    service: ServiceHere,
    collection: CollectionName = None,
    strict: Annotated[bool, Query(description="Say 404 where it is not there.")] = False,
    file: Literal["delete"] | None = None,
    confirm: Confirm = "",
) -> RemovedPhoto:
    """Take a photo out of a collection; its file stays, unless `file=delete` and `confirm` say otherwise."""
    if file == "delete":
        _require_admin(caller_of(request))
    opened = await asyncio.to_thread(service.collections.choose, collection)
    removed: Removed = await service.changing.run(
        _remove, service, opened, id, delete_file=file == "delete", confirm=confirm
    )
    if strict and not removed.removed:
        raise RefusedError("photo-not-found", f"{opened.name}: holds no photo {id!r:.200}", where="id")
    return RemovedPhoto(
        collection=opened.name,
        id=removed.id,
        removed=removed.removed,
        file_deleted=removed.file_deleted,
        file_stays=removed.file_stays,
        version=removed.version,
    )


def _put(service: Service, opened: OpenedCollection, name: str, content: bytes, replace: bool) -> Put:
    return service.desks.of(opened).uploads.put(name, content, replace=replace)


def _remove(
    service: Service, opened: OpenedCollection, photo_id: str, *, delete_file: bool, confirm: str
) -> Removed:
    return service.desks.of(opened).uploads.remove(photo_id, delete_file=delete_file, confirm=confirm)


def _require_admin(caller: Caller) -> None:
    if not caller.may("admin"):
        raise RefusedError(
            "not-allowed",
            f"deleting files needs a token with the right admin, not {caller.right}",
            where="Authorization",
        )
