"""Page: the page itself, its files, whether the service is well, and where its time goes."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from meisho.service.metrics import CONTENT_TYPE_LATEST
from meisho.service.models import Health, StageTimes, Timings
from meisho.service.problems import RefusedError
from meisho.service.security import HEADERS, READ
from meisho.service.shared import ServiceHere

router = APIRouter(tags=["service"])

_STATIC = Path(__file__).parent.parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}


@router.get("/", include_in_schema=False)
def show_page(request: Request) -> Response:
    """Return the page."""
    return _send("index.html", request)


@router.get("/static/{name:path}", include_in_schema=False)
def show_file(name: str, request: Request) -> Response:
    """Return a file of the page."""
    return _send(name, request)


@router.get("/docs", include_in_schema=False)
def show_docs(request: Request) -> Response:
    """Return the page that describes the API."""
    answer = _send("swagger-ui/index.html", request)
    # its style sheet holds icons
    answer.headers["Content-Security-Policy"] = HEADERS["Content-Security-Policy"].replace("blob:", "data:")
    return answer


@router.get("/openapi.json", include_in_schema=False)
def describe(request: Request) -> JSONResponse:
    """Return the description of the API."""
    return JSONResponse(request.app.openapi(), headers={"Cache-Control": "no-cache"})


@router.get("/healthz")
def tell_health() -> Health:
    """Say that the service runs."""
    return Health(status="ok")


@router.get("/readyz")
def tell_ready(service: ServiceHere) -> Health:
    """Say whether all collections can be asked."""
    for opened in service.collections.values():
        opened.follow()
        if opened.fault:
            raise RefusedError(
                "stopping", f"{opened.name} cannot be followed; its last version still answers"
            )
    return Health(status="ready")


@router.get("/metrics", dependencies=[READ], response_class=Response)
def expose_metrics(service: ServiceHere) -> Response:
    """Return counts and times for Prometheus."""
    metrics = service.metrics
    metrics.gauge("meisho_questions", "Questions that are answered or wait", service.work.num_inside)
    metrics.gauge("meisho_drawings", "Pictures that are drawn or wait", service.drawing.num_inside)
    metrics.gauge("meisho_query_bytes", "Query photos in memory, bytes", service.queries.num_bytes)
    return Response(metrics.expose(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/timings", dependencies=[READ])
def tell_timings(service: ServiceHere) -> Timings:
    """Say where the time goes, by stage."""
    found = service.metrics.timings()
    return Timings(stages={name: StageTimes.model_validate(times) for name, times in found.items()})


@dataclass(frozen=True)
class _File:
    """A file of the page, as it is and packed, with the tag of its content."""

    content: bytes
    packed: bytes
    tag: str

    @classmethod
    def read(cls, path: Path) -> "_File":
        content = path.read_bytes()
        return cls(content, gzip.compress(content, mtime=0), f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _send(name: str, request: Request) -> Response:
    """Send a file of the page; it is asked for again each time, and sent again only if it is another."""
    file = _files().get(name)
    if file is None:
        raise RefusedError("not-found", f"there is no file {name!r:.100}")
    headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    content = file.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = file.packed, "gzip"
    return Response(content, media_type=_TYPES[Path(name).suffix], headers=headers)


@cache
def _files() -> dict[str, _File]:
    """Read all files of the page: only what is listed here can be asked for."""
    return {
        path.relative_to(_STATIC).as_posix(): _File.read(path)
        for path in sorted(_STATIC.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }
