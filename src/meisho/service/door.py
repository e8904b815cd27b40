"""Door: what every request passes, before any route and after it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meisho.service.bodies import too_large
from meisho.service.problems import RefusedError, problem_response
from meisho.service.security import HEADERS
from meisho.service.shared import Service

_LONGEST_PATH = 16_384
FREE_PATHS = ("/", "/docs", "/openapi.json", "/healthz", "/readyz")
FREE_FOLDER = "/static/"
"""What is asked without a token: the page, which then asks for one, and whether the service is well."""


class Door:
    """Refuses what another site made a browser send, and adds to every answer the headers browsers obey.

    Args:
        app: What is behind it.
        service: Decides who may ask, and counts the answers; None: nothing is asked, as for a description.
    """

    def __init__(self, app: ASGIApp, service: Service | None) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http" or self._service is None:
            await self._app(scope, receive, send)
            return
        service, method = self._service, str(scope["method"])
        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                service.metrics.count_request(method, int(message["status"]))
            await send(message)

        try:
            self._check(service, scope, method)
            await self._app(scope, _bounded(receive, service.settings.most_body_bytes), send_with_headers)
        except Exception as error:
            if has_begun:
                raise
            await problem_response(error)(scope, receive, send_with_headers)

    def _check(self, service: Service, scope: Scope, method: str) -> None:
        """Decide by the headers alone, before any of the body is read."""
        path, headers = str(scope["path"]), Headers(scope=scope)
        if len(path) > _LONGEST_PATH:
            raise RefusedError("too-large", "the address is too long")
        service.gatekeeper.check_origin(method, path, headers)
        if path not in FREE_PATHS and not path.startswith(FREE_FOLDER):
            scope.setdefault("state", {})["caller"] = service.gatekeeper.find_caller(headers)


def _bounded(receive: Receive, most_bytes: int) -> Receive:
    """Return what receives a body, and no more of it than is allowed."""
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most_bytes:
            raise too_large(most_bytes)
        return message

    return receive_bounded
