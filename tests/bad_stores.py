"""Object stores as they should not be: one that ignores conditions, and a connection that breaks."""

import re
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class _Careless(BaseHTTPRequestHandler):
    """S3 as far as it goes without conditions: objects in a dict, listings; keys are not looked at."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def log_message(self, *_):
        pass

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[self._key()] = content
        self._answer(200, b"", {"ETag": '"an etag"'})

    def do_DELETE(self):
        self.server.objects.pop(self._key(), None)
        self._answer(204, b"")

    def do_POST(self):
        for key in re.findall(rb"<Key>(.*?)</Key>", self.rfile.read(int(self.headers["Content-Length"]))):
            self.server.objects.pop(f"{self._key()}/{key.decode()}", None)
        self._answer(200, b"<DeleteResult></DeleteResult>")

    def do_GET(self):
        words = parse_qs(urlsplit(self.path).query)
        if "list-type" in words:
            start = f"{self._key().strip('/')}/{words.get('prefix', [''])[0]}"
            keys = [key for key in self.server.objects if key.startswith(start)]
            found = "".join(
                f"<Contents><Key>{key.partition('/')[2]}</Key><LastModified>2026-01-01T00:00:00Z"
                f"</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
                for key in keys
            )
            self._answer(200, f"<ListBucketResult>{found}</ListBucketResult>".encode())
        elif (content := self.server.objects.get(self._key())) is None:
            self._answer(404, b"")
        else:
            head = {"ETag": '"an etag"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            self._answer(200, content, head)

    do_HEAD = do_GET

    def _key(self):
        return unquote(urlsplit(self.path).path).strip("/")

    def _answer(self, code, content, headers=None):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def careless_store():
    """A store that ignores conditions; gives its address and what it holds."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Careless) as server:
        server.objects = {}
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server.objects
        finally:
            server.shutdown()
            thread.join()


class Line:
    """A line to a store on this machine that can be cut; made by `bad_line`.

    Attributes:
        address: Where it begins.
        loses: Says of a request, "PUT /bucket/key ...", whether its answer is lost on the way.
        is_dead: Whether nothing that is sent ever arrives, nor is answered.
        lost: The requests whose answers were lost.
    """

    def __init__(self, port):
        self._port, self._listening = port, socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.loses, self.is_dead, self.lost = lambda request: False, False, []
        self._open = [self._listening]

    def run(self):
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                store = socket.create_connection(("127.0.0.1", self._port))
                self._open += [client, store]
                losing = threading.Event()
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, store, losing), daemon=True).start()

    def _ask(self, client, store, losing):
        with suppress(OSError):
            while part := client.recv(2**16):
                if self.is_dead:
                    continue
                begin = re.match(rb"(?:GET|PUT|POST|HEAD|DELETE) [^\r]*", part)
                if begin and self.loses(request := begin[0].decode()):
                    self.lost.append(request)
                    losing.set()
                store.sendall(part)
        _shut(client, store)

    def _answer(self, client, store, losing):
        with suppress(OSError):
            while part := store.recv(2**16):
                if losing.is_set():
                    break
                client.sendall(part)
        _shut(client, store)

    def close(self):
        _shut(*self._open)


def _shut(*sockets):
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def bad_line(address):
    """A line to the store at an address."""
    line = Line(urlsplit(address).port)
    thread = threading.Thread(target=line.run, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join()
