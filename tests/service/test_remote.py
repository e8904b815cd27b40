"""Query photos from addresses: only where switched on, never from where only the service can ask."""

import asyncio
import hashlib
import io
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from meisho import Client
from meisho.client import ServiceError
from meisho.errors import ConfigError
from meisho.service.problems import RefusedError, problem
from meisho.service.remote import MOST_REDIRECTS, Remote, Target, is_public
from meisho.service.settings import Settings
from processes import POLL_SECONDS
from service.servers import another_site, json_of, scene, serving

PUBLIC = {
    "1.1.1.1": True,
    "2606:4700:4700::1111": True,
    "::ffff:1.1.1.1": True,
    "64:ff9b::101:101": True,
    "127.0.0.1": False,
    "127.8.8.8": False,
    "0.0.0.0": False,
    "10.0.0.1": False,
    "172.16.0.1": False,
    "192.168.1.1": False,
    "100.64.0.1": False,
    "169.254.169.254": False,
    "192.0.2.1": False,
    "198.18.0.1": False,
    "224.0.0.1": False,
    "239.1.1.1": False,
    "240.0.0.1": False,
    "255.255.255.255": False,
    "::": False,
    "::1": False,
    "::7f00:1": False,
    "::ffff:127.0.0.1": False,
    "::ffff:10.0.0.1": False,
    "fe80::1": False,
    "fc00::1": False,
    "fd12::1": False,
    "fec0::1": False,
    "ff02::1": False,
    "ff0e::1": False,
    "2001:db8::1": False,
    "2002:7f00:1::": False,
    "2002:a00:1::": False,
    "64:ff9b::7f00:1": False,
    "64:ff9b::a9fe:a9fe": False,
    "64:ff9b:1::1": False,
}

REFUSED = {
    # an address that is asked for -> (status, words of the answer)
    "loopback": ("http://127.0.0.1:{port}/photo.png", 403, "is no address of the public internet"),
    "its name": ("http://localhost:{port}/photo.png", 403, "is no address of the public internet"),
    "as a number": ("http://2130706433:{port}/photo.png", 403, "is no address of the public internet"),
    "in base 16": ("http://0x7f000001:{port}/photo.png", 403, "is no address of the public internet"),
    "cut short": ("http://127.1:{port}/photo.png", 403, "is no address of the public internet"),
    "mapped": ("http://[::ffff:127.0.0.1]:{port}/photo.png", 403, "is no address of the public internet"),
    "any address": ("http://0.0.0.0:{port}/photo.png", 403, "is no address of the public internet"),
    "data of a cloud": ("http://169.254.169.254/latest/meta-data", 403, "is no address of the public"),
    "private network": ("http://10.0.0.1/a.jpg", 403, "is no address of the public internet"),
    "other port": ("http://1.1.1.1:22/", 403, "no port of the web"),
    "file": ("file:///etc/passwd", 422, "begins with http:// or https://"),
    "other scheme": ("gopher://127.0.0.1:{port}/", 422, "begins with http:// or https://"),
    "no scheme": ("//127.0.0.1/a.jpg", 422, "begins with http:// or https://"),
    "no host": ("http:///a.jpg", 422, "begins with http:// or https://"),
    "no port": ("http://127.0.0.1:99999/", 422, "it is no address of a photo"),
    "torn": ("http://[::1/", 422, "it is no address of a photo"),
    "name of nobody": ("http://no.such.name.invalid/a.jpg", 502, "cannot be fetched: it does not answer"),
    "with a password": ("http://me:secret@127.0.0.1/a.jpg", 422, "without a user and a password"),
}

ANSWERED = {
    # a path that is fetched where loopback is allowed -> (status, words of the answer)
    "/photo.png": (200, ""),
    "/once": (200, ""),
    "/in parts": (200, ""),
    "/missing": (502, "it answers with the status 404"),
    "/packed": (502, "a packed file"),
    "/for ever": (502, "it leads on more than 3 times"),
    "/elsewhere": (403, "127.0.0.2: is no address of the public internet"),
    "/to a file": (422, "begins with http:// or https://"),
    "/large": (413, "a photo may have at most 1.0 MB"),
    "/larger than it says": (413, "a photo may have at most 1.0 MB"),
    "/half": (502, "it does not answer"),
    "/silent": (502, "it took more than 1 s"),
    "/trickle": (502, "it took more than 1 s"),
    "/no http": (502, "it does not answer, or not as a web server does"),
}


REDIRECTS = {
    "/once": "photo.png",
    "/for%20ever": "for%20ever",
    "/elsewhere": "http://127.0.0.2/photo.png",
    "/to%20a%20file": "file:///etc/passwd",
}


class Site(BaseHTTPRequestHandler):
    """What another site may answer, by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers))
        with suppress(ConnectionError):
            self.answer()

    def answer(self):
        if self.path in REDIRECTS:
            return self.say(302, b"", Location=REDIRECTS[self.path])
        if self.path == "/missing":
            return self.say(404, b"nothing")
        if self.path in ("/silent", "/trickle"):
            return self.keep_waiting(trickles=self.path == "/trickle")
        if self.path == "/no%20http":
            return self.wfile.write(b"what is this?\r\n\r\n")
        if self.path in ("/in%20parts", "/larger%20than%20it%20says"):
            return self.say_in_parts(self.server.photo if "parts" in self.path else bytes(2**21))
        if self.path == "/half":
            return self.say(200, bytes(100), **{"Content-Length": "200"})
        if self.path == "/packed":
            return self.say(200, b"?", **{"Content-Encoding": "gzip"})
        files = {"/text": b"no photo", "/empty": b"", "/large": bytes(2**21)}
        return self.say(200, files.get(self.path, self.server.photo))

    def say(self, status, content, **headers):
        self.close_connection = True
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def say_in_parts(self, content):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for first in range(0, len(content), 10_000):
            part = content[first : first + 10_000]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def keep_waiting(self, *, trickles):
        """Answer nothing, or a header without end, until who asked has gone."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: " if trickles else b"")
        self.connection.settimeout(POLL_SECONDS)
        while True:
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                self.wfile.write(b"a" if trickles else b"")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def other():
    data = io.BytesIO()
    scene(2).save(data, "PNG")
    with another_site(Site) as server:
        server.photo = data.getvalue()
        yield server


def fetch(url, **options):
    """The file that is fetched, or the problem that a service answers with."""
    settings = Settings(collections=(Path(),), most_body_bytes=2**20, url_seconds=1, **options)
    try:
        with ThreadPoolExecutor(1) as thread:  # in this one a browser of another test may keep a loop
            return thread.submit(asyncio.run, Remote(settings).fetch(url)).result()
    except RefusedError as error:
        return problem(error)


LOOPBACK = {"query_urls": True, "url_networks": ("127.0.0.1/32",)}


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public(text):
    assert is_public(ipaddress.ip_address(text)) == PUBLIC[text]


def test_nothing_is_fetched_where_it_is_not_switched_on(other):
    before = len(other.asked)
    said = fetch(f"{other.url}/photo.png", url_networks=("127.0.0.1/32",))
    assert said["status"] == 403 and "--query-urls" in said["remedy"] and len(other.asked) == before


@pytest.mark.parametrize("name", REFUSED)
def test_where_nobody_may_ask_is_refused_in_words(other, name):
    url, status, words = REFUSED[name]
    before = len(other.asked)
    said = fetch(url.format(port=other.server_port), query_urls=True)
    assert (said["status"], len(other.asked)) == (status, before) and words in said["detail"], said


@pytest.mark.parametrize("path", ANSWERED)
def test_what_a_site_answers_is_a_file_or_refused_in_words(other, path):
    status, words = ANSWERED[path]
    said = fetch(f"{other.url}{path}", **LOOPBACK)
    if status == 200:
        assert said == other.photo
        sent = {name.lower() for name in other.asked[-1][1]}
        assert sent == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    else:
        assert said["status"] == status and words in said["detail"], said


def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(other, monkeypatch):
    """A name that leads to an allowed address at first, and to another when it is looked up again."""
    really, looked_up = socket.getaddrinfo, []

    def getaddrinfo(host, *args, **options):
        if host != "rebound.example":
            return really(host, *args, **options)
        looked_up.append(host)
        return really("127.0.0.1" if len(looked_up) == 1 else "127.0.0.2", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert fetch(f"http://rebound.example:{other.server_port}/photo.png", **LOOPBACK) == other.photo
    assert len(looked_up) == 1 and other.asked[-1][1]["host"] == f"rebound.example:{other.server_port}"


def test_what_was_fetched_is_asked_with_as_an_upload_is(collection, other):
    """By the client too; what is no photo is refused in the words of an upload."""
    url = other.url
    with serving(collection, **LOOPBACK) as client, Client(str(client.base_url)) as program:
        assert json_of(client.get("/v1/collections"))["query_urls"] is True
        facts = json_of(client.post("/v1/queries/url", json={"url": f"{url}/photo.png"}))
        assert (facts["query"], facts["format"]) == (hashlib.sha256(other.photo).hexdigest(), "PNG")
        assert program.search(f"{url}/photo.png", top=1)["query"]["query"] == facts["query"]
        for path, words in (("text", "the photo: "), ("empty", "the file is empty")):
            refused = json_of(client.post("/v1/queries/url", json={"url": f"{url}/{path}"}), 422)
            assert refused["type"] == "/problems/image" and words in refused["detail"]
        with pytest.raises(ServiceError, match="is no address of the public internet"):
            program.search("http://127.0.0.2/photo.png")


def test_a_network_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"'10.0.0.1/8' is no network; give one as 192.168.7.0/24"):
        Remote(Settings(collections=(Path(),), url_networks=("10.0.0.1/8",)))


def test_addresses_are_sent_as_the_web_writes_them():
    target = Target.parse("https://Bücher.example/塔 1.jpg?a=b c&d=%20#part")
    assert target.url == "https://xn--bcher-kva.example/%E5%A1%94%201.jpg?a=b%20c&d=%20"
    assert MOST_REDIRECTS == 3  # as the answer of "/for ever" says
