"""App: the routes of a service, put together from a table."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.params import Depends
from starlette.middleware import Middleware

from meisho import __version__
from meisho.service.door import Door
from meisho.service.models import Problem
from meisho.service.problems import answer_problems
from meisho.service.security import READ
from meisho.service.settings import Settings
from meisho.service.shared import Service

ROUTERS = {
    "meisho.service.routes.page": False,
    "meisho.service.routes.collections": True,
    "meisho.service.routes.search": True,
    "meisho.service.routes.remote": True,
    "meisho.service.routes.match": True,
    "meisho.service.routes.photos": True,
    "meisho.service.routes.changes": True,
    "meisho.service.routes.jobs": True,
    "meisho.service.routes.feedback": True,
    "meisho.service.routes.locations": True,
    "meisho.service.routes.evaluations": True,
    "meisho.service.routes.export": True,
    "meisho.service.routes.places": True,
}
"""Module with a `router` -> whether all its routes need the right to read; some ask for more themselves."""

_DESCRIPTION = """\
Find every photo of the same landmark or object. Every error is `application/problem+json` (RFC 9457).
`collection` names a collection; left out, the first answers."""


def create_app(settings: Settings) -> FastAPI:
    """Open collections and return the application that answers of them; it closes them at its end.

    Raises:
        MeishoError: A collection cannot be opened, or the settings are not safe.
    """
    return make_app(Service.open(settings))


def make_app(service: Service | None) -> FastAPI:
    """Return the application of a service; without one it can only be described."""

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        yield
        if service is not None:
            service.close()

    app = _Described(
        title="meisho",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=live,
        middleware=[Middleware(Door, service=service)],
        responses={"default": {"model": Problem, "description": "A problem"}},
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    answer_problems(app)
    for module, needs_reader in ROUTERS.items():
        router: APIRouter = import_module(module).router
        guards: Sequence[Depends] = [READ] if needs_reader else []
        app.include_router(router, dependencies=guards)
    return app


class _Described(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the description of the API, and that a token may be wanted."""
        described = super().openapi()
        described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{}, {"token": []}]
        return described


def describe_api() -> dict[str, object]:
    """Return the OpenAPI description of the service."""
    return make_app(None).openapi()
