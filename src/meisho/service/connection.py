"""Connection: one client's connection, which ends where the client neither sends nor takes what is due.

uvicorn ends a connection on which nothing is asked only where no byte comes. Who sends a byte now and then,
begins a request and never ends it, or takes nothing of an answer, would hold one for ever.
"""

import asyncio
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from meisho.service.problems import RefusedError, problem_response
from meisho.service.security import HEADERS
from meisho.service.settings import Settings

LEAST_BYTES = 2**16
"""What a client takes of an answer in `Settings.send_seconds` at the least; uvicorn lets as much wait."""


def make_connection(settings: Settings) -> type[asyncio.Protocol]:
    """Return the class of connections with the limits of a service."""
    return type("LimitedConnection", (Connection,), {"settings": settings})


class Connection(H11Protocol):
    """A connection that must get on, whatever it waits for.

    Between two requests it has a time until the head of the next is there, however its bytes come; while an
    answer waits to be taken, each time it must have become shorter.

    Attributes:
        settings: The limits.
    """

    settings: Settings
    _limit: asyncio.TimerHandle | None = None
    _untaken = 0  # bytes of answers, when the time began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what was sent; a request that is whole is answered, for which others set the limits."""
        super().data_received(data)
        if self._is_answering and not self._num_untaken:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        if not self._is_answering:
            self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was answered."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Let an answer go on."""
        super().resume_writing()
        if self._is_answering:
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, as a problem; where an answer has begun, end it."""
        self._refuse(RefusedError("input", "this is no HTTP request"))

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _num_untaken(self) -> int:
        return self.transport.get_write_buffer_size()

    def _wait(self) -> None:
        """Give the client its time, from now on."""
        self._stop_waiting()
        self._untaken = self._num_untaken
        seconds = self.settings.send_seconds if self._untaken else self.settings.head_seconds
        self._limit = self.loop.call_later(seconds, self._expire)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _expire(self) -> None:
        self._limit = None
        untaken = self._num_untaken
        if self._is_answering and not untaken:
            return
        if untaken <= max(0, self._untaken - LEAST_BYTES) and self._untaken:
            self._wait()
        elif untaken or self.transport.is_closing() or not self.conn.trailing_data[0]:
            self.transport.abort()
        else:
            seconds = self.settings.head_seconds
            self._refuse(
                RefusedError("too-slow", f"the head of the request took more than {seconds:g} s to arrive")
            )

    def _refuse(self, error: RefusedError) -> None:
        """Answer what was not understood with a problem, and end the connection."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem_response(error)
        own = [(name.encode(), value.encode()) for name, value in {**HEADERS, "Connection": "close"}.items()]
        head = h11.Response(
            status_code=answer.status_code,
            headers=[*answer.raw_headers, *own],
            reason=HTTPStatus(answer.status_code).phrase.encode(),
        )
        for part in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()
        self._wait()
