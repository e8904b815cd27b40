"""Real servers on loopback: one in a thread of the test, or one in a process that may be killed."""

import re
import shutil
import sys
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import httpx
import numpy as np
from PIL import Image

from meisho.service.app import make_app
from meisho.service.server import Server, listen
from meisho.service.settings import Settings
from meisho.service.shared import Service
from meisho.store.collection import Collection
from processes import started

READ, WRITE, ADMIN = "r" * 32, "w" * 32, "a" * 32


@contextmanager
def serving(*collections, **options):
    """A service in a thread; yields a client of it, with the `service` and `server` that answer."""
    settings = Settings(collections=collections, port=0, **options)
    ready, address = threading.Event(), []
    with listen(settings) as listening:
        service = Service.open(settings)
        server = Server(make_app(service), settings, lambda url: (address.append(url), ready.set()))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        ready.wait()
        try:
            with httpx.Client(base_url=address[0], timeout=None, trust_env=False) as client:
                client.service, client.server = service, server
                yield client
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving_process(*collections, options=(), **more):
    """`meisho serve` in a process; yields it and a client."""
    words = [sys.executable, "-m", "meisho.cli", "serve", *collections, *options]
    if "--port" not in options:
        words += ["--port", "0"]
    with started(words, stdout=-1, stderr=-1, text=True, **more) as process:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        with httpx.Client(base_url=found[0], timeout=None, trust_env=False) as client:
            yield process, client


@contextmanager
def another_site(handler):
    """A server that is not ours, with an `url` and a list of what was `asked`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked, server.daemon_threads = [], True
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def write_tokens(folder):
    """A file of tokens, one for each right."""
    file = folder / "tokens"
    file.write_text(f"# who may what\nread {READ} a phone\n\nwrite {WRITE}\nadmin {ADMIN} me\n")
    file.chmod(0o600)
    return file


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def scene(seed, size=(320, 240)):
    """A picture with enough corners to be found again: squares of many sizes and colours."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(150):
        x, y = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
        width, height = rng.integers(6, 40, 2)
        pixels[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def json_of(response, status=200):
    """The JSON of an answer that has this status; a problem is one in full."""
    assert response.status_code == status, response.text
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= response.json().keys()
        assert response.json()["status"] == status
        assert "\n" not in response.json()["detail"]
    return response.json()


def copy_place(original, to, *, collection="c.meisho"):
    """Copy a folder that holds a collection and its photos; the copy's photo folder is its own."""
    shutil.copytree(original, to)
    Collection.open(to / collection).move_photo_root(to / "photos")
    return to
