"""Server: listens, tells its address, and stops when it is asked to; answers under way are finished."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from meisho.errors import InputError, explain_os_error
from meisho.memory import share_heaps
from meisho.service.app import create_app
from meisho.service.connection import make_connection
from meisho.service.settings import Settings

_MOST_CONNECTIONS = 1_000
_WAITING_CONNECTIONS = 256


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Answer until a signal (SIGINT or SIGTERM) asks to stop.

    Args:
        settings: What is opened, and where to listen.
        announce: Called with the address once the service answers.

    Raises:
        MeishoError: A collection cannot be opened, or nobody may listen there.
    """
    share_heaps()
    with listen(settings) as listening:
        app = create_app(settings)
        Server(app, settings, announce).run(sockets=[listening])


@contextmanager
def listen(settings: Settings) -> Iterator[socket.socket]:
    """Take the port; it is free again at the end.

    Raises:
        InputError: It is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server(
            (settings.host, settings.port), family=family, backlog=_WAITING_CONNECTIONS
        )
    except OSError as error:
        reason = explain_os_error(error).partition(" (while")[0]  # where Python repeats the address
        raise InputError(
            f"cannot listen at {settings.host} port {settings.port}: {reason}; give another --port, "
            "or 0 for a free one"
        ) from error
    with listening:
        # connections inherit it; else the body of an answer waits 40 ms until its head is acknowledged
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listening


class Server(uvicorn.Server):
    """A server that tells its address, and that a signal ends without an error.

    Args:
        app: What answers.
        settings: Where it listens.
        announce: Called with the address once it answers.
    """

    def __init__(self, app: FastAPI, settings: Settings, announce: Callable[[str], None]) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            http=make_connection(settings),
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=settings.stop_seconds,
        )
        super().__init__(config)
        self._app, self._announce = app, announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and tell the address."""
        await super().startup(sockets)
        if sockets and not self.should_exit:
            self._app.state.service.warm_up()
            self._announce(address_of(sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers under way end, then stop."""
        self._app.state.service.is_stopping = True
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals ask for the end; none is raised again after it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def address_of(listening: socket.socket) -> str:
    """Return the address at which a browser of this machine reaches a socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
