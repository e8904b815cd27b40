"""Search: upload a query photo, ask with it or with a photo of the collection, go on to further answers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from meisho.service.answering import answer_page, answer_search
from meisho.service.bodies import Form, inline_schema, media_type
from meisho.service.cursors import LONGEST
from meisho.service.models import (
    MOST_BATCH,
    Batch,
    BatchRequest,
    Model,
    Problem,
    QueryPhoto,
    Search,
    SearchRequest,
)
from meisho.service.problems import RefusedError, problem
from meisho.service.queries import Upload
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["search"])

_FILE = {"type": "string", "format": "binary"}
_FIELDS = {
    name: field
    for name, field in SearchRequest.model_json_schema()["properties"].items()
    if name not in ("photo", "query")
}


def _body(model: type[Model], files: dict[str, object]) -> dict[str, object]:
    """Describe a body that is JSON, or a form with files and the same fields as texts."""
    form = {"type": "object", "properties": files | _FIELDS}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": inline_schema(model)},
                "multipart/form-data": {"schema": form},
            },
        }
    }


UPLOAD: dict[str, object] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _FILE},
            "image/*": {"schema": _FILE},
            "multipart/form-data": {"schema": {"type": "object", "properties": {"photo": _FILE}}},
        },
    }
}


@router.post("/queries", openapi_extra=UPLOAD)
async def upload_query(request: Request, service: ServiceHere) -> QueryPhoto:
    """Keep a photo in memory to ask with; it is never stored."""
    content = await service.reading.read_photo(request)
    return await service.work.run(keep_query, service, content)


@router.post("/search", openapi_extra=_body(SearchRequest, {"photo": _FILE}))
async def search(request: Request, service: ServiceHere) -> Search:
    """Find the photos of a collection that show what the query shows."""
    if media_type(request) != "multipart/form-data":
        asked = SearchRequest.model_validate(await service.reading.read_json(request))
        return await service.work.run(answer_search, service, asked)
    return await service.work.run(answer_search, service, await read_search_form(request, service))


@router.post("/search/batch", openapi_extra=_body(BatchRequest, {"photo": {"type": "array", "items": _FILE}}))
async def search_batch(request: Request, service: ServiceHere) -> Batch:
    """Ask several questions at once; one that cannot be answered does not hinder the others."""
    if media_type(request) != "multipart/form-data":
        asked = BatchRequest.model_validate(await service.reading.read_json(request)).queries
    else:
        form = await service.reading.read_form(request)
        if not 1 <= len(form.files) <= MOST_BATCH:
            raise RefusedError(
                "invalid", f"give 1 to {MOST_BATCH} files, not {len(form.files)}", where="photo"
            )
        asked = [_request_of(service, form, content) for _, content in form.files]
    return Batch(results=[await _answer_one(service, each) for each in asked])


@router.get("/answers")
async def go_on(service: ServiceHere, cursor: Annotated[str, Query(max_length=LONGEST)]) -> Search:
    """Return the next page of answers; `rank` goes on."""
    return await service.work.run(answer_page, service, cursor)


async def read_search_form(request: Request, service: Service) -> SearchRequest:
    """Return the question that a form holds, with a file or without.

    Raises:
        RefusedError: It holds several files, or is none.
    """
    form = await service.reading.read_form(request)
    if len(form.files) > 1:
        raise RefusedError("invalid", "give one file; several are asked at /v1/search/batch", where="photo")
    return _request_of(service, form, form.files[0][1] if form.files else None)


def keep_query(service: Service, content: bytes) -> QueryPhoto:
    """Keep a photo in memory to ask with.

    Raises:
        MeishoError: It is no photo.
    """
    upload: Upload = service.queries.add(content)
    header = service.queries.header(upload)
    width, height = header.size_px
    return QueryPhoto(
        query=upload.query, width_px=width, height_px=height, bytes=len(content), format=header.format
    )


def _request_of(service: Service, form: Form, content: bytes | None) -> SearchRequest:
    """Return the question of a form; its texts become what the model says."""
    fields: dict[str, object] = dict(form.fields)
    if content is not None:
        if "photo" in fields or "query" in fields:
            raise RefusedError(
                "invalid", "give a file, or photo, or query; not several of them", where="photo"
            )
        fields["query"] = service.queries.add(content).query
    return SearchRequest.model_validate(fields)


async def _answer_one(service: Service, asked: SearchRequest) -> Search | Problem:
    try:
        return await service.work.run(answer_search, service, asked)
    except Exception as error:
        return Problem.model_validate(problem(error))
