"""Feedback: what people say of answers, kept with who said it and when; and as tables."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from meisho.photos import Box
from meisho.service.bodies import describe_json
from meisho.service.feedback import marks_json, write_labels, write_pairs
from meisho.service.models import Asked, BoxText, Model, PhotoId, QueryName
from meisho.service.notebook import Mark, now
from meisho.service.problems import RefusedError
from meisho.service.routes.collections import CollectionName
from meisho.service.security import WRITE, caller_of
from meisho.service.sent import describe_files, send_file, send_json
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["feedback"])

Format = Literal["labels.csv", "pairs.csv", "json"]
_FORMATS = describe_files("All marks of the collection", "text/csv", "application/json")


class MarkRequest(Asked):
    """What somebody says of an answer; null takes it back."""

    answer: PhotoId
    same: bool | None = Field(description="Whether both show the same place; null takes it back.")


class MarkFacts(Model):
    """What somebody said of an answer."""

    answer: str
    same: bool
    at: str
    box: str | None
    version: int
    made_by: str


class Marks(Model):
    """What was said of the answers to one query."""

    marks: list[MarkFacts]


@router.put("/feedback", dependencies=[WRITE], openapi_extra=describe_json(MarkRequest))
async def mark_answer(request: Request, service: ServiceHere) -> Marks:
    """Say whether an answer shows the same place as what was asked with."""
    mark = MarkRequest.model_validate(await service.reading.read_json(request))
    return await service.changing.run(_mark, service, mark, caller_of(request).note)


def _mark(service: Service, mark: MarkRequest, made_by: str) -> Marks:
    opened = service.collections.choose(mark.collection)
    opened.photo(mark.answer)
    if mark.photo is not None:
        opened.photo(mark.photo)
    kind, asked = _named(mark.photo, mark.query)
    box = _box_text(mark.box)
    if mark.same is None:
        opened.notebook.unmark(kind, asked, box, mark.answer)
    else:
        version = opened.finder.version
        opened.notebook.mark(Mark(kind, asked, box, mark.answer, mark.same, now(), version, made_by))
    return _marks(opened.notebook.marks(kind, asked))


@router.get("/feedback")
def list_marks(
    service: ServiceHere,
    photo: Annotated[PhotoId | None, Query()] = None,
    query: Annotated[QueryName | None, Query()] = None,
    box: Annotated[BoxText | None, Query(description="Not looked at: marks of all boxes are given.")] = None,
    collection: CollectionName = None,
) -> Marks:
    """Return what was said of the answers to one query, whatever part of it was asked with."""
    if (photo is None) == (query is None):
        raise RefusedError("invalid", "give photo or query", where="photo")
    return _marks(service.collections.choose(collection).notebook.marks(*_named(photo, query)))


@router.get("/feedback/export", responses=_FORMATS, response_class=Response)
def export_marks(
    service: ServiceHere, format: Format = "json", collection: CollectionName = None
) -> Response:
    """Return all marks: labels as `meisho evaluate csv` and `meisho train` read them, pairs, or JSON."""
    opened = service.collections.choose(collection)
    marks = opened.notebook.marks()
    if format == "json":
        return send_json({"collection": opened.name, **marks_json(marks)}, "feedback.json")
    text = (
        write_pairs(marks) if format == "pairs.csv" else write_labels(marks, service.desks.of(opened).file_of)
    )
    return send_file(text, "text/csv; charset=utf-8", format)


def _named(photo: str | None, query: str | None) -> tuple[str, str]:
    return ("photo", photo) if photo is not None else ("query", query or "")


def _box_text(box: str | None) -> str:
    """Return a box as one text, whatever way it was written."""
    if box is None:
        return ""
    parsed = Box.parse(box)
    return f"{parsed.x0:g},{parsed.y0:g},{parsed.x1:g},{parsed.y1:g}"


def _marks(marks: list[Mark]) -> Marks:
    return Marks(
        marks=[
            MarkFacts(
                answer=mark.answer,
                same=mark.same,
                at=mark.at,
                box=mark.box or None,
                version=mark.version,
                made_by=mark.made_by,
            )
            for mark in marks
        ]
    )
