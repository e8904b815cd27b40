"""Export: the answers to a question as JSON, as a table, or as a page that stands alone."""

import csv
import io
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from meisho.service.answering import answer_search, write_answer_page
from meisho.service.bodies import media_type
from meisho.service.models import Search, SearchRequest
from meisho.service.routes.search import read_search_form
from meisho.service.sent import describe_files, send_file
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["search"])

Format = Annotated[Literal["json", "csv", "html"], Query(description="What is written.")]
_FILES = describe_files("The answers, as a file to be saved", "application/json", "text/csv", "text/html")
COLUMNS = (
    "rank", "id", "score", "probability", "verdict", "inliers", "overlap_query", "overlap_photo",
    "turned", "copies",
)  # fmt: skip


@router.get("/search/export", responses=_FILES, response_class=Response)
async def export_linked_search(request: Request, service: ServiceHere, format: Format = "json") -> Response:
    """Return the answers to a question as a file; the fields of `/v1/search` stand in the address."""
    fields = {name: value for name, value in request.query_params.items() if name != "format"}
    return await service.work.run(_export, service, SearchRequest.model_validate(fields), format)


@router.post("/search/export", responses=_FILES, response_class=Response)
async def export_search(request: Request, service: ServiceHere, format: Format = "json") -> Response:
    """Return the answers to a question as a file; the body is that of `/v1/search`."""
    if media_type(request) == "multipart/form-data":
        asked = await read_search_form(request, service)
    else:
        asked = SearchRequest.model_validate(await service.reading.read_json(request))
    return await service.work.run(_export, service, asked, format)


def _export(service: Service, request: SearchRequest, format: str) -> Response:
    if format == "html":
        return send_file(write_answer_page(service, request), "text/html; charset=utf-8", "answers.html")
    found = answer_search(service, request)
    if format == "csv":
        return send_file(_table(found), "text/csv; charset=utf-8", "answers.csv")
    return send_file(found.model_dump_json(indent=1), "application/json", "answers.json")


def _table(found: Search) -> str:
    """Return answers as CSV; the ids of copies stand in one cell, with line feeds between."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for answer in found.answers:
        values = answer.model_dump(include={*COLUMNS})
        writer.writerow(values | {"copies": "\n".join(copy.id for copy in answer.copies)})
    return text.getvalue()
