"""Problems: what goes wrong, as `application/problem+json` (RFC 9457), in the words of the command line."""

import logging
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from meisho.errors import (
    CollectionError,
    ConfigError,
    DamagedError,
    EngineError,
    GoneError,
    ImageError,
    InputError,
    LockedError,
    MeishoError,
    MissingDependencyError,
    WeightsError,
    explain_os_error,
    is_panic,
)
from meisho.texts import printable

MEDIA_TYPE = "application/problem+json"

_logger = logging.getLogger(__name__)
_LONGEST = 2_000


class Kind(NamedTuple):
    """A kind of problem: its status, and its title in English."""

    status: int
    title: str


KINDS = {
    "image": Kind(422, "The photo cannot be read"),
    "invalid": Kind(422, "The request cannot be understood"),
    "input": Kind(400, "The request cannot be answered"),
    "token-wanted": Kind(401, "A token is needed"),
    "not-allowed": Kind(403, "This is not allowed"),
    "foreign": Kind(403, "The request comes from another site"),
    "not-found": Kind(404, "There is nothing here"),
    "photo-not-found": Kind(404, "The collection has no such photo"),
    "photo-missing": Kind(404, "The photo's file is gone"),
    "query-forgotten": Kind(404, "The query photo is no longer in memory"),
    "collection-not-found": Kind(404, "No such collection is open"),
    "method": Kind(405, "This cannot be done here"),
    "too-slow": Kind(408, "The request took too long to arrive"),
    "conflict": Kind(409, "This does not fit what is there"),
    "locked": Kind(409, "Another process is writing to the collection"),
    "cursor-expired": Kind(410, "These answers have expired"),
    "too-large": Kind(413, "The request is too large"),
    "media-type": Kind(415, "The request has an unknown type"),
    "misdirected": Kind(421, "The service is not called by this name"),
    "busy": Kind(429, "The service is busy"),
    "fault": Kind(500, "The service has a fault"),
    "collection": Kind(500, "The collection cannot be used"),
    "unreachable": Kind(502, "The photo cannot be fetched"),
    "missing-part": Kind(501, "A part of meisho is not installed"),
    "engine": Kind(503, "The engine that searches does not answer"),
    "not-read-yet": Kind(503, "What is asked for is being read"),
    "stopping": Kind(503, "The service is not ready"),
}
"""Name of a kind, the end of its `type` -> its status and title."""

_OF_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (ImageError, "image"),
    (ConfigError, "input"),
    (LockedError, "locked"),
    (GoneError, "conflict"),
    (DamagedError, "collection"),
    (EngineError, "engine"),
    (CollectionError, "collection"),
    (MissingDependencyError, "missing-part"),
    (WeightsError, "missing-part"),
    (InputError, "input"),
    (MeishoError, "fault"),
)
"""The first that an error is one of gives its kind."""

_OF_STATUSES = {404: "not-found", 405: "method", 413: "too-large", 415: "media-type", 401: "token-wanted"}


class RefusedError(MeishoError):
    """A request is refused.

    Args:
        kind: One of `KINDS`.
        detail: What is wrong, in one line.
        remedy: What to do about it.
        where: The field or header that is at fault.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        remedy: str | None = None,
        where: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.remedy, self.where = kind, detail, remedy, where
        self.headers = headers or {}


def problem(error: BaseException) -> dict[str, object]:
    """Return what an error is as a problem's JSON; one that nobody raised on purpose is logged."""
    if isinstance(error, RefusedError):
        return problem_of(error.kind, error.detail, remedy=error.remedy, where=error.where)
    if isinstance(error, HTTPException):
        kind = _OF_STATUSES.get(error.status_code, "invalid" if error.status_code < 500 else "fault")
        return problem_of(kind, str(error.detail)) | {"status": error.status_code}
    if isinstance(error, RequestValidationError | ValidationError):
        return _invalid(error)
    if isinstance(error, MeishoError):
        kind = getattr(error, "kind", None) or next(k for known, k in _OF_ERRORS if isinstance(error, known))
        return problem_of(kind, str(error))
    if isinstance(error, MemoryError):
        return problem_of("fault", "there is not enough memory; ask for less")
    if is_panic(error):
        return problem_of(
            "collection", "LanceDB panicked: the collection, or how its store is reached, is at fault"
        )
    if isinstance(error, OSError):
        return problem_of("fault", explain_os_error(error))
    _logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return problem_of("fault", "this is a fault of meisho; its log says more")


def problem_of(
    kind: str, detail: str, *, remedy: str | None = None, where: str | None = None
) -> dict[str, object]:
    """Return the JSON of a problem of a kind."""
    status, title = KINDS[kind]
    found = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": _one_line(detail)}
    more = {"where": where, "remedy": remedy}
    return found | {name: _one_line(text) for name, text in more.items() if text}


def problem_response(error: BaseException) -> JSONResponse:
    """Return the answer to a request that failed."""
    found = problem(error)
    headers = getattr(error, "headers", None)
    return JSONResponse(found, int(str(found["status"])), headers, media_type=MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Let an application answer every error as a problem."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return problem_response(error)

    for known in (MeishoError, HTTPException, RequestValidationError, ValidationError, OSError, Exception):
        app.add_exception_handler(known, answer)


def _invalid(error: RequestValidationError | ValidationError) -> dict[str, object]:
    """Say which field is wrong, and how; what was given is not repeated."""
    first = error.errors()[0]
    place = first["loc"][1:] if isinstance(error, RequestValidationError) else first["loc"]  # after "body"
    places = [str(part) for part in place]
    where = ".".join(places) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    detail = f"{where}: {message}" if where else message
    return problem_of("invalid", detail[:1].lower() + detail[1:] if not where else detail, where=where)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))[:_LONGEST]
