"""Photos: those of a collection, listed and shown; and query photos, shown."""

import asyncio
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from meisho.buckets import BucketPath
from meisho.run.state import StoredPhoto
from meisho.service.answering import name_of
from meisho.service.cursors import LONGEST
from meisho.service.models import MOST_LISTED, PhotoFacts, PhotoId, PhotoList, QueryName, Text
from meisho.service.opened import OpenedCollection, is_missing
from meisho.service.pictures import FULL_SIDE_PX, Picture
from meisho.service.routes.collections import CollectionName
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["photos"])

Side = Literal["160", "240", "480", "960"]
Id = Annotated[PhotoId, Query()]
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "A JPEG, upright"}
}


@router.get("/photos")
def list_photos(
    service: ServiceHere,
    collection: CollectionName = None,
    folder: Annotated[Text, Query(description="Only photos below it.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    cursor: Annotated[str | None, Query(max_length=LONGEST)] = None,
) -> PhotoList:
    """List the photos of a collection, by id."""
    opened = service.collections.choose(collection)
    after = None if cursor is None else str(service.cursors.read(cursor).get("after", ""))
    listing = opened.listing
    photos, last = listing.page(folder, after, limit)
    return PhotoList(
        version=listing.state.snapshot.version,
        photos=[describe_stored(opened, photo) for photo in photos],
        next=None if last is None else service.cursors.make(after=last),
    )


@router.get("/photos/{id:path}")
def describe_photo(id: str, service: ServiceHere, collection: CollectionName = None) -> PhotoFacts:
    """Say what is known of one photo."""
    opened = service.collections.choose(collection)
    return describe_stored(opened, opened.photo(id))


@router.get("/thumbnail", responses=_JPEG, response_class=Response)
async def draw_thumbnail(
    request: Request, service: ServiceHere, id: Id, side: Side = "240", collection: CollectionName = None
) -> Response:
    """Return a small picture of a photo of a collection."""
    photo = await asyncio.to_thread(lambda: service.collections.choose(collection).photo(id))
    picture = await asyncio.to_thread(service.pictures.of_stored, photo, int(side))
    return await _draw(request, service, picture)


@router.get("/file", responses=_JPEG, response_class=Response)
async def show_file(
    request: Request, service: ServiceHere, id: Id, original: bool = False, collection: CollectionName = None
) -> Response:
    """Return a large picture of a photo of a collection, or the file as it is."""
    photo = await asyncio.to_thread(lambda: service.collections.choose(collection).photo(id))
    picture = await asyncio.to_thread(service.pictures.of_stored, photo, FULL_SIDE_PX)
    if original:
        return await asyncio.to_thread(_file_as_it_is, photo)
    return await _draw(request, service, picture)


@router.get("/queries/{query}/thumbnail", responses=_JPEG, response_class=Response)
async def draw_query(
    query: QueryName, request: Request, service: ServiceHere, side: Side = "240"
) -> Response:
    """Return a small picture of a query photo."""
    upload = service.queries.get(query)
    return await _draw(request, service, service.pictures.of_upload(upload.photo, int(side)))


@router.get("/queries/{query}/file", responses=_JPEG, response_class=Response)
async def show_query(query: QueryName, request: Request, service: ServiceHere) -> Response:
    """Return a large picture of a query photo."""
    upload = service.queries.get(query)
    return await _draw(request, service, service.pictures.of_upload(upload.photo, FULL_SIDE_PX))


def _file_as_it_is(photo: StoredPhoto) -> Response:
    """Return the file of a photo to be kept; one in a bucket is read whole."""
    kind, name = "application/octet-stream", name_of(photo.id)
    if isinstance(photo.path, BucketPath):
        named = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}"}
        return Response(photo.path.read_bytes(), headers=named, media_type=kind)
    return FileResponse(photo.path, media_type=kind, filename=name, content_disposition_type="attachment")


async def _draw(request: Request, service: Service, picture: Picture) -> Response:
    """Return a picture, unless who asks has it."""
    tag = f'"{picture.tag}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=60"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    drawn = service.pictures.known(picture)
    if drawn is None:
        drawn = await service.drawing.run(service.pictures.draw, picture)
    return Response(drawn, media_type="image/jpeg", headers=headers)


def describe_stored(opened: OpenedCollection, photo: StoredPhoto) -> PhotoFacts:
    """Return what is known of one photo."""
    size = opened.size_of(photo, photo.key)
    return PhotoFacts(
        id=photo.id,
        name=name_of(photo.id),
        folder=photo.id.rpartition("/")[0],
        width_px=size and size[0],
        height_px=size and size[1],
        missing=is_missing(photo),
    )
