"""Clients that cost a processor next to nothing, so that what a benchmark measures is the service.

One thread drives them all by raw sockets that stay open. Requests are prepared before the clock starts, and
of an answer only status and length are read: together 0.3 ms of a processor for each.
"""

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_BOUNDARY = b"meisho-benchmark"
_READ_BYTES = 2**18


@dataclass(frozen=True)
class Round:
    """What many clients at once came to.

    Attributes:
        seconds: From the first request to the last answer.
        times_ms: From the beginning of each request to the end of its answer.
        statuses: How often each status came.
        client_seconds: Processor time of the clients, all together.
    """

    seconds: float
    times_ms: list[float]
    statuses: Counter[int]
    client_seconds: float


@dataclass(eq=False)
class _Client:
    socket: socket.socket
    request: bytes = b""
    sent: int = 0
    answer: bytearray = field(default_factory=bytearray)
    begun: float = 0.0

    def begin(self, request: bytes) -> None:
        self.request, self.sent, self.begun = request, 0, time.perf_counter()
        self.answer.clear()

    def send(self) -> bool:
        """Send a part; returns whether that was the last."""
        self.sent += self.socket.send(memoryview(self.request)[self.sent :])
        return self.sent == len(self.request)

    def receive(self) -> int | None:
        """Receive a part; returns the status where that was the last."""
        part = self.socket.recv(_READ_BYTES)
        if not part:
            raise ConnectionError("the service closed the connection")
        self.answer += part
        head = self.answer.find(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", self.answer[: max(head, 0)])
        if length is None or len(self.answer) < head + 4 + int(length[1]):
            return None
        return int(self.answer[9:12])


def prepare_search(address: str, photo: bytes) -> bytes:
    """Return a request to search with an uploaded photo."""
    head = b'Content-Disposition: form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
    body = b"--%s\r\n%s\r\n\r\n%s\r\n--%s--\r\n" % (_BOUNDARY, head, photo, _BOUNDARY)
    return (
        b"POST /v1/search HTTP/1.1\r\nHost: %s\r\nContent-Type: multipart/form-data; boundary=%s\r\n"
        b"Content-Length: %d\r\n\r\n" % (urlsplit(address).netloc.encode(), _BOUNDARY, len(body))
    ) + body


def ask_at_once(address: str, requests: Sequence[bytes], num_clients: int) -> Round:
    """Let clients send requests, each the next when it has an answer; who is told 429 comes again at once."""
    left, times, statuses = list(reversed(requests)), [], Counter[int]()
    where = urlsplit(address)
    began = time.process_time()
    with selectors.DefaultSelector() as selector:
        for _ in range(min(num_clients, len(left))):
            client = _Client(socket.create_connection((where.hostname, where.port)))
            client.socket.setblocking(False)
            selector.register(client.socket, selectors.EVENT_WRITE, client)
            client.begin(left.pop())
        start = time.perf_counter()
        while selector.get_map():
            for key, _ in selector.select():
                client = key.data
                if key.events == selectors.EVENT_WRITE:
                    if client.send():
                        selector.modify(client.socket, selectors.EVENT_READ, client)
                elif (status := client.receive()) is not None:
                    statuses[status] += 1
                    if status == 429:
                        left.append(client.request)
                    else:
                        times.append(1000 * (time.perf_counter() - client.begun))
                    if left:
                        client.begin(left.pop())
                        selector.modify(client.socket, selectors.EVENT_WRITE, client)
                    else:
                        selector.unregister(client.socket)
                        client.socket.close()
        seconds = time.perf_counter() - start
    return Round(seconds, times, statuses, time.process_time() - began)
