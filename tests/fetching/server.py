"""A real HTTP server on loopback that misbehaves as told, and counts what it sends."""

import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE_BYTES = 1 << 14


@dataclass
class Answer:
    """How one request is answered; the default is as it should be."""

    status: int | None = None  # instead of 200 or 206
    headers: dict = field(default_factory=dict)
    drop_after: int | None = None  # bytes of the body, then the connection is cut
    extra_length: int = 0  # what Content-Length says too much
    no_length: bool = False  # the end of the connection is the end of the file
    chunked: bool = False
    ignore_range: bool = False
    wrong_range: int | None = None  # gives bytes from here on instead
    before_body: Callable = lambda: None  # such as waiting
    before_byte: Callable | None = None  # and then they come one by one
    body: bytes | None = None  # other bytes than the file's
    etag: str | None = ""  # "" is right, None sends none
    ignore_if_range: bool = False  # gives the range whatever the version
    total: str | None = None  # what Content-Range says of the whole, instead of its size
    last: int | None = None  # the last byte that Content-Range says, instead of the right one
    endless: bool = False  # the body again and again, until nobody listens
    no_end: bool = False  # chunked, without the last chunk


class Server:
    """Files by path, and answers that are used up request by request; afterwards all goes well."""

    def __init__(self):
        self.files = {}
        self.answers = {}
        self.requests = []  # (path, Range, status)
        self.sent = 0
        self.weak = False
        self.closing = threading.Event()
        self.is_held = threading.Event()
        self._held_at = None
        self._gate = threading.Condition()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"faulty": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def put(self, path, data, *answers):
        self.files[path] = data
        self.answers[path] = list(answers)
        return f"{self.url}/{path}"

    def count(self, path):
        return sum(1 for requested, _, _ in self.requests if requested == path)

    def etag(self, path):
        return f'"{hash(self.files[path]) & 0xFFFFFFFF:x}"'

    def hold_after(self, num_bytes):
        """Send so many bytes from now on, and then no more until `let_go`; `is_held` is set once it waits."""
        self.is_held.clear()
        self._held_at = self.sent + num_bytes

    def let_go(self):
        with self._gate:
            self._held_at = None
            self._gate.notify_all()

    def _wait_at_the_gate(self):
        with self._gate:
            if self._held_at is not None and self.sent >= self._held_at:
                self.is_held.set()
                self._gate.wait_for(lambda: self._held_at is None)

    def _next_answer(self, path):
        with self._lock:
            left = self.answers.get(path)
            return left.pop(0) if left else Answer()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; a subclass names its `faulty` server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.close_connection = True
        path = self.path.lstrip("/")
        answer = self.faulty._next_answer(path)
        data = self.faulty.files.get(path) if answer.body is None else answer.body
        status, start = self._status(path, answer, data)
        self.faulty.requests.append((path, self.headers.get("Range"), status))
        with suppress(BrokenPipeError, ConnectionResetError):
            self._head(path, answer, data or b"", status, start)
            answer.before_body()
            if status in (200, 206):
                self._body(answer, data[start:])

    def _status(self, path, answer, data):
        if answer.status and answer.status not in (200, 206):
            return answer.status, 0
        if data is None:
            return 404, 0
        asked = self.headers.get("Range")
        now = (None, self.faulty.etag(path), answer.headers.get("Last-Modified"))
        same = answer.ignore_if_range or self.headers.get("If-Range") in now
        if not asked or not same or answer.ignore_range:
            return 200, 0
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if answer.wrong_range is not None:
            return 206, answer.wrong_range
        return (206, start) if start < len(data) else (416, 0)

    def _head(self, path, answer, data, status, start):
        self.send_response(status)
        body = len(data) - start if status in (200, 206) else 0
        if answer.chunked and body:
            self.send_header("Transfer-Encoding", "chunked")
        elif not answer.no_length:
            self.send_header("Content-Length", str(body + answer.extra_length))
        if status == 206:
            self.send_header("Content-Range", self._range(answer, start, len(data)))
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(data)}")
        if answer.etag is not None and path in self.faulty.files:
            self.send_header(
                "ETag", ("W/" if self.faulty.weak else "") + (answer.etag or self.faulty.etag(path))
            )
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _range(self, answer, start, size):
        last = size - 1 if answer.last is None else answer.last
        return f"bytes {start}-{last}/{answer.total or size}"

    def _body(self, answer, data):
        while answer.endless:
            self._body(replace(answer, endless=False, no_end=True), data)
        cut = data if answer.drop_after is None else data[: answer.drop_after]
        size = 1 if answer.before_byte else PIECE_BYTES
        for first in range(0, len(cut), size):
            self.faulty._wait_at_the_gate()
            if answer.before_byte:
                answer.before_byte()
            piece = cut[first : first + size]
            if answer.chunked:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            else:
                self.wfile.write(piece)
            self.faulty.sent += len(piece)
        if answer.drop_after is not None:
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
        elif answer.chunked and not answer.no_end:
            self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.let_go()
        server.closing.set()
        server._http.shutdown()
        server._http.server_close()
        thread.join()
