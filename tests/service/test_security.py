"""Who may ask: names, origins, tokens; and what a photo's name or a path may not do. One table for all."""

import socket
import stat

import httpx
import pytest

from meisho.errors import InputError
from meisho.service.security import Gatekeeper, Tokens, is_loopback
from meisho.service.settings import Settings
from service.servers import ADMIN, READ, WRITE, bearer, json_of, serving, write_tokens

QUESTION = {"photo": "place 0/whole.png"}

REQUESTS = {
    # what comes: (method, path, headers, status, kind of the problem)
    "a program": ("POST", "/v1/search", {}, 200, None),
    "the page itself": (
        "POST",
        "/v1/search",
        {"Origin": "{self}", "Sec-Fetch-Site": "same-origin"},
        200,
        None,
    ),
    "by localhost": ("POST", "/v1/search", {"Host": "localhost:1"}, 200, None),
    "by an address": ("POST", "/v1/search", {"Host": "[::1]:1"}, 200, None),
    "by its other name": ("POST", "/v1/search", {"Host": "Photos.example"}, 200, None),
    "rebound name": ("POST", "/v1/search", {"Host": "evil.example"}, 421, "misdirected"),
    "rebound name with port": ("GET", "/v1/collections", {"Host": "evil.example:8765"}, 421, "misdirected"),
    "rebound page": ("GET", "/", {"Host": "evil.example"}, 421, "misdirected"),
    "name that looks like ours": (
        "GET",
        "/v1/photos",
        {"Host": "localhost.evil.example"},
        421,
        "misdirected",
    ),
    "address in a name": ("GET", "/v1/photos", {"Host": "127.0.0.1.evil.example"}, 421, "misdirected"),
    "user in a name": ("GET", "/v1/photos", {"Host": "localhost@evil.example"}, 421, "misdirected"),
    "empty name": ("GET", "/v1/photos", {"Host": ""}, 421, "misdirected"),
    "form of another site": ("POST", "/v1/search", {"Origin": "http://evil.example"}, 403, "foreign"),
    "sandboxed page": ("POST", "/v1/search", {"Origin": "null"}, 403, "foreign"),
    "other port of this machine": ("POST", "/v1/search", {"Origin": "http://127.0.0.1:1"}, 403, "foreign"),
    "origin that begins like ours": ("POST", "/v1/search", {"Origin": "{self}.evil.example"}, 403, "foreign"),
    "delete of another site": ("DELETE", "/v1/photos/x", {"Origin": "http://evil.example"}, 403, "foreign"),
    "cross-site post": ("POST", "/v1/search", {"Sec-Fetch-Site": "cross-site"}, 403, "foreign"),
    "same-site post": ("POST", "/v1/search", {"Sec-Fetch-Site": "same-site"}, 403, "foreign"),
    "picture of ours on another site": (
        "GET",
        "/v1/thumbnail?id=x",
        {"Sec-Fetch-Site": "cross-site"},
        403,
        "foreign",
    ),
    "frame of another site": (
        "GET",
        "/v1/photos",
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        403,
        "foreign",
    ),
    "link to the page": (
        "GET",
        "/",
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        200,
        None,
    ),
    "address typed": ("GET", "/", {"Sec-Fetch-Site": "none"}, 200, None),
    "path up": ("GET", "/static/../settings.py", {}, 404, "not-found"),
    "path up, encoded": ("GET", "/static/%2e%2e/settings.py", {}, 404, "not-found"),
    "path up, twice encoded": ("GET", "/static/%252e%252e%252fsettings.py", {}, 404, "not-found"),
    "backslash": ("GET", "/static/..%5csettings.py", {}, 404, "not-found"),
    "absolute": ("GET", "/static//etc/passwd", {}, 404, "not-found"),
    "NUL": ("GET", "/static/main.js%00.html", {}, 404, "not-found"),
    "photo up": ("GET", "/v1/file?original=1&id=../../../etc/passwd", {}, 404, "photo-not-found"),
    "photo that is absolute": ("GET", "/v1/file?original=1&id=/etc/passwd", {}, 404, "photo-not-found"),
    "photo with NUL": ("GET", "/v1/thumbnail?id=a%00b", {}, 404, "photo-not-found"),
    "photo that is no text": ("GET", "/v1/thumbnail?id=%ff%fe", {}, 404, "photo-not-found"),
    "facts up": ("GET", "/v1/photos/..%2f..%2fetc%2fpasswd", {}, 404, "photo-not-found"),
    "collection up": ("GET", "/v1/photos?collection=../c", {}, 404, "collection-not-found"),
    "folder up": ("GET", "/v1/photos?folder=../..", {}, 200, None),
    "no such route": ("GET", "/v2/photos", {}, 404, "not-found"),
    "no such method": ("PATCH", "/v1/search", {}, 405, "method"),
    "trace": ("TRACE", "/", {}, 405, "method"),
    "script in an id": ("GET", "/v1/photos/<script>alert(1)<%2fscript>", {}, 404, "photo-not-found"),
    "another type": ("POST", "/v1/search", {"Content-Type": "text/plain"}, 415, "media-type"),
}


def raw(client, method, path, headers):
    """Ask with the path and headers as they are: a client would tidy them."""
    url = client.base_url
    own = f"{url.host}:{url.port}"
    body = b'{"photo": "place 0/whole.png"}' if method == "POST" else b""
    sent = {
        "Host": own,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    sent |= {name: value.replace("{self}", f"http://{own}") for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        received = b""
        while part := connection.recv(65_536):
            received += part
    head, _, content = received.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return httpx.Response(int(status.split()[1]), headers=[f.split(": ", 1) for f in fields], content=content)


@pytest.fixture(scope="module")
def named(scenes):
    from meisho.extractors.base import EXTRACTORS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
        with serving(scenes, names=("photos.example",)) as client:
            yield client


@pytest.mark.parametrize("name", REQUESTS)
def test_who_may_ask(named, name):
    method, path, headers, status, kind = REQUESTS[name]
    answer = raw(named, method, path, headers)
    assert answer.status_code == status, answer.text
    if kind:
        assert json_of(answer, status)["type"] == f"/problems/{kind}"
    csp = answer.headers["content-security-policy"]
    assert csp.startswith("default-src 'self'; ") and "unsafe" not in csp and "frame-ancestors 'none'" in csp
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers


def test_a_name_that_is_a_script_stays_a_text(asked):
    name = "<img src=x onerror=alert(1)>.png"
    answers = asked.post("/v1/search", json={"photo": name, "include_self": True})
    assert json_of(answers)["answers"][0]["id"] == name
    assert answers.headers["content-type"] == "application/json"
    original = asked.get("/v1/file", params={"id": name, "original": 1})
    assert original.headers["content-type"] == "application/octet-stream"
    assert original.headers["content-disposition"].startswith("attachment; filename*=utf-8''%3Cimg")


RIGHTS = [
    # (method, path, what may do it)
    ("GET", "/v1/collections", "read"),
    ("GET", "/v1/photos", "read"),
    ("GET", "/metrics", "read"),
    ("GET", "/v1/timings", "read"),
    ("POST", "/v1/search", "read"),
    ("GET", "/v1/thumbnail?id=place%200/whole.png", "read"),
    ("GET", "/", None),
    ("GET", "/static/main.js", None),
    ("GET", "/openapi.json", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
]
_TOKENS = {"read": READ, "write": WRITE, "admin": ADMIN}


@pytest.fixture(scope="module")
def guarded(scenes, tmp_path_factory):
    from meisho.extractors.base import EXTRACTORS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
        with serving(scenes, token_file=write_tokens(tmp_path_factory.mktemp("tokens"))) as client:
            yield client


@pytest.mark.parametrize(("method", "path", "right"), RIGHTS)
def test_a_token_allows_what_its_right_says(guarded, method, path, right):
    content = {"json": QUESTION} if method == "POST" else {}
    order = ["read", "write", "admin"]
    for name, token in _TOKENS.items():
        allowed = right is None or order.index(name) >= order.index(right)
        answer = guarded.request(method, path, headers=bearer(token), **content)
        assert answer.status_code == (200 if allowed else 403), answer.text
    if right is not None:
        for headers in (
            {},
            bearer("x" * 32),
            {"Authorization": "Bearer"},
            bearer(READ[:-1]),
            {"Authorization": READ},
        ):
            refused = guarded.request(method, path, headers=headers, **content)
            assert json_of(refused, 401)["type"] == "/problems/token-wanted"
            assert refused.headers["www-authenticate"].startswith("Bearer")


def test_every_route_needs_a_token_unless_it_is_named_here(guarded):
    free = {path for _, path, right in RIGHTS if right is None}
    paths = json_of(guarded.get("/openapi.json"))["paths"]
    asked = [(method, path) for path, methods in paths.items() for method in methods if path not in free]
    assert len(asked) > 10
    for method, path in asked:
        refused = guarded.request(method, path.replace("{", "").replace("}", ""))
        assert refused.status_code == 401, (method, path)


TOKEN_FILES = {
    "others may read it": (f"read {READ}\n", 0o640, "chmod 600"),
    "no right": (f"reader {READ}\n", 0o600, "tokens:1: give a line as"),
    "no token": ("read\n", 0o600, "tokens:1: give a line as"),
    "short": ("# one\nread secret\n", 0o600, "tokens:2: a token has at least 16"),
    "empty": ("# nothing\n", 0o600, "holds no token"),
}


@pytest.mark.parametrize("name", TOKEN_FILES)
def test_a_file_of_tokens_is_refused_in_words(tmp_path, name):
    text, mode, words = TOKEN_FILES[name]
    file = tmp_path / "tokens"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(InputError, match=words) as error:
        Tokens.read(file)
    assert READ not in str(error.value)


def test_a_file_of_tokens_keeps_notes(tmp_path):
    file = write_tokens(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tokens = Tokens.read(file)
    assert (tokens.find(READ).right, tokens.find(READ).note) == ("read", "a phone")
    assert tokens.find("unknown" * 5) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "photos.example"])
def test_other_machines_may_ask_only_with_a_token(tmp_path, host):
    with pytest.raises(InputError, match="--token-file"):
        Gatekeeper(Settings(collections=(tmp_path,), host=host))
    Gatekeeper(Settings(collections=(tmp_path,), host=host, token_file=write_tokens(tmp_path)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_may_ask_without(tmp_path, host):
    assert is_loopback(host)
    Gatekeeper(Settings(collections=(tmp_path,), host=host))


def test_all_digests_are_compared_whatever_is_found(tmp_path, monkeypatch):
    """How often digests are compared does not depend on the token; and what compares takes the same time."""
    from meisho.service import security

    compared, compare = [], security.hmac.compare_digest
    monkeypatch.setattr(security.hmac, "compare_digest", lambda a, b: compared.append(1) or compare(a, b))
    tokens = Tokens.read(write_tokens(tmp_path))
    for token in (READ, ADMIN, "x", READ[:-1] + "x"):
        tokens.find(token)
    assert len(compared) == 4 * 3
