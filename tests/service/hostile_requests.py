"""Hostile requests, drawn: every route that the service describes, with bodies and names of bad will.

A request is drawn by its number alone, so that one that does harm can be asked again.
"""

import io
import json
import socket
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from service.servers import scene

TEXTS = [
    *[
        "0",
        "-1",
        "1",
        "2",
        "500",
        "501",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "null",
        "true",
        "[]",
        "{}",
        "a,b",
        "1,2,3,4",
        "5,5,1,1",
        "nan,0,1,1",
        "-9,-9,9,9",
    ],
    *[
        "0,0,1e308,1e308",
        "../../etc/passwd",
        "/etc/passwd",
        "%2e%2e%2f",
        "C:\\x",
        "geometric:first=9999999",
        "dba:k=99999999",
    ],
    *[
        "alpha-qe:alpha=nan",
        "diffusion",
        "k-reciprocal:k1=1",
        "place_0",
        "2024-01-01",
        "0000-00-00",
        "99999-99-99",
        "1,2,3",
    ],
    *[
        "91,0,1",
        "0,0,nan",
        "<script>alert(1)</script>",
        "'\"><img/src=x>",
        "${jndi:x}",
        "{{7*7}}",
        "%s%n",
        "0x41",
        "∞",
        "京都",
        "🗻",
    ],
    "",
    " ",
    "\0",
    "a" * 5_000,
    "\u202e" + "gpj.exe",
    "place 0/whole.png",
    "place 0/small, né 京.jpg",
    "<img src=x onerror=alert(1)>.png",
    "f" * 64,
    "1" * 100,
]
VALUES = [*TEXTS, None, True, -1, 0, 7, 2**63, 1.5, [], {}, [[]], {"a": {"b": []}}]
HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Type", "multipart/form-data"),
    ("Content-Type", "multipart/form-data; boundary="),
    ("Content-Type", "multipart/form-data; boundary=" + "b" * 300),
    ("Content-Type", "text/html"),
    ("Content-Type", "image/jpeg; charset=\xff"),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Content-Encoding", "gzip"),
    ("Transfer-Encoding", "gzip"),
    ("Expect", "100-continue"),
    ("Range", "bytes=0-0,-1,5-2"),
    ("If-None-Match", '"' + "x" * 500),
    ("Authorization", "Bearer \xfe\xff"),
    ("Authorization", "Basic " + "A" * 2_000),
    ("Cookie", "a=" + "b" * 3_000),
    ("Accept", "*/*;q=nan"),
    ("X-Forwarded-For", "evil"),
    ("X-Forwarded-Host", "evil.example"),
    ("Forwarded", "for=unknown;host=evil"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Content-Length", "99999999999999"),
    ("Content-Length", "-5"),
    ("Content-Length", "5, 5"),
    ("Connection", "Upgrade"),
    ("Upgrade", "h2c"),
]


@dataclass(frozen=True)
class Attack:
    """What is sent, and how the sender behaves: whether it sends all, and whether it waits for the answer."""

    data: bytes
    is_cut: bool


class Attacks:
    """Draws attacks on the routes that a service describes."""

    def __init__(self, described, host):
        self._routes = [
            (method.upper(), path) for path, methods in described["paths"].items() for method in methods
        ]
        # what changes the collection is drawn too; it has no file that is named here
        self._fields = [*described["components"]["schemas"]["Answer"]["properties"], *_FIELDS]
        self._host = host
        self._contents = _contents()

    def draw(self, number):
        """Return the attack of a number."""
        rng = np.random.default_rng(number)
        method, path = self._routes[rng.integers(len(self._routes))]
        method = str(rng.choice([method] * 8 + ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"]))
        for _ in range(path.count("{")):
            name = path[path.index("{") : path.index("}") + 1]
            path = path.replace(name, _encoded(_text(rng), rng), 1)
        if rng.random() < 0.6:
            pairs = [
                f"{rng.choice(self._fields)}={_encoded(_text(rng), rng)}" for _ in range(rng.integers(1, 5))
            ]
            path += "?" + "&".join(pairs)
        kind, body = self._body(rng)
        headers = {
            "Host": self._host,
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        for _ in range(rng.integers(0, 3)):
            name, value = HEADERS[rng.integers(len(HEADERS))]
            if rng.random() < 0.5:
                headers[name] = value
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        data = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
        cut = rng.random() < 0.15
        return Attack(data[: rng.integers(1, len(data))] if cut else data, cut)

    def _body(self, rng):
        content = self._contents[rng.integers(len(self._contents))]
        chosen = rng.integers(4)
        if chosen == 0:
            return "application/octet-stream", content
        if chosen == 1:
            values = {str(rng.choice(self._fields)): VALUES[rng.integers(len(VALUES))] for _ in range(4)}
            values |= {"photo": "place 0/whole.png"} if rng.random() < 0.5 else {}
            return "application/json", json.dumps(values).encode("utf-8", "replace")
        if chosen == 2:
            return "application/json", bytes(_TORN[rng.integers(len(_TORN))])
        return "multipart/form-data; boundary=bb", self._form(rng, content)

    def _form(self, rng, content):
        parts = [
            (str(rng.choice(self._fields)), None, _text(rng).encode("utf-8", "replace")) for _ in range(3)
        ]
        parts += [("photo", _text(rng), content)] * int(rng.integers(0, 3))
        body = b""
        for name, file, value in parts:
            head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
            body += b"--bb\r\n" + head.encode("utf-8", "replace") + b"\r\n\r\n" + value + b"\r\n"
        return body + (b"--bb--\r\n" if rng.random() < 0.8 else b"--bb")


def send(address, attack):
    """Send an attack; returns the status and content of the answer, or None where the sender went away."""
    with socket.create_connection(address) as connection:
        try:
            connection.sendall(attack.data)
            if attack.is_cut:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while part := connection.recv(65_536):
                received += part
        except (ConnectionResetError, BrokenPipeError):  # refused before all of it was sent
            return None
    head, _, content = received.partition(b"\r\n\r\n")
    return (int(head.split()[1]), head.decode("latin-1").lower(), content) if head else None


_FIELDS = [
    "photo",
    "query",
    "box",
    "collection",
    "top",
    "verify",
    "rerank",
    "near",
    "turned",
    "min_probability",
    "folder",
    "after",
    "before",
    "gps",
    "marked",
    "include_self",
    "answer",
    "other_box",
    "cursor",
    "limit",
    "side",
    "id",
    "original",
    "replace",
    "strict",
    "file",
    "confirm",
    "kind",
    "options",
    "dismissed",
    "same",
    "format",
    "dataset",
    "name",
    "url",
    "queries",
    "a",
    "b",
]
_TORN = [
    b"",
    b"{",
    b"[1,2",
    b"\xff\xfe{\0}\0",
    b"[" * 20_000,
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b'{"photo": "\\ud800"}',
    b'{"top": NaN, "photo": "x"}',
    b'{"top": 1e999, "photo": "x"}',
    b'{"photo": "a", "photo": "b"}',
    b'{"top": ' + b"9" * 5_000 + b"}",
    b'{"photo": "' + b"a" * 100_000 + b'"}',
    b"null",
    b'"text"',
    b'{"queries": ' + json.dumps([{"photo": "x"}] * 33).encode() + b"}",
]


def _text(rng):
    return TEXTS[rng.integers(len(TEXTS))]


def _encoded(text, rng):
    """A text in an address: encoded as it should be, or as it should not."""
    from urllib.parse import quote

    return (
        quote(text, safe="/" if rng.random() < 0.5 else "")
        if rng.random() < 0.8
        else quote(text, safe="/<>'")
    )


def _contents():
    """Files of bad will: none, cut, bombs, what only looks like a photo, and two that are photos."""
    png, jpeg = io.BytesIO(), io.BytesIO()
    scene(1).save(png, "PNG")
    scene(2).save(jpeg, "JPEG")
    rng = np.random.default_rng(0)
    flipped = bytearray(jpeg.getvalue())
    for place in rng.integers(20, len(flipped), 40):
        flipped[place] ^= 0xFF
    return [
        b"",
        b"\0" * 1_000,
        rng.bytes(3_000),
        png.getvalue(),
        jpeg.getvalue(),
        png.getvalue()[:500],
        jpeg.getvalue()[:2_000],
        bytes(flipped),
        bomb(60_000, 60_000),
        bomb(16_000, 16_000),
        bomb(1, 300_000),
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0;",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"\xff\xd8\xff" * 2_000,
        b"\0\0\0\x1cftypheic" + rng.bytes(2_000),
        b"RIFF\xff\xff\xff\x7fWEBPVP8 " + rng.bytes(1_000),
        b"II*\0" + struct.pack("<I", 8) + b"\xff" * 2_000,
        b"P6 99999 99999 255\n" + bytes(100),
    ]


def bomb(width, height):
    """A PNG of a few bytes that says that it is large."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
