"""Security: tokens and what they allow, who may call by which name, and headers that browsers obey."""

import hashlib
import hmac
import ipaddress
import re
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers

from meisho.errors import InputError
from meisho.service.problems import RefusedError
from meisho.service.settings import Settings

Right = Literal["read", "write", "admin"]
RIGHTS: tuple[Right, ...] = ("read", "write", "admin")
"""Each allows what those before it do."""

SHORTEST_TOKEN = 16
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_WILDCARDS = ("0.0.0.0", "::")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
}
"""Sent with every answer."""


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        right: What it may do.
        note: What the token file says of its token, "" without one.
    """

    right: Right
    note: str = ""

    def may(self, right: Right) -> bool:
        """Whether it may do what needs this right."""
        return RIGHTS.index(self.right) >= RIGHTS.index(right)


class Tokens:
    """The tokens of a file; only their digests are kept."""

    def __init__(self, callers: Sequence[tuple[str, Caller]]) -> None:
        self._callers = [(_digest(token), caller) for token, caller in callers]

    @classmethod
    def read(cls, path: Path) -> "Tokens":
        """Read a file with one token a line: `right token [note]`, right = read, write or admin.

        Raises:
            InputError: It cannot be read, others may read it, or a line is not that.
        """
        try:
            mode = path.stat().st_mode
            lines = path.read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
            raise InputError(f"{path}: cannot be read as a file of tokens: {reason}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(f"{path}: others may read these tokens; run chmod 600 {path}")
        callers = [
            _read_line(f"{path}:{number}", line)
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not callers:
            raise InputError(f"{path}: holds no token; write a line such as: read TOKEN note")
        return cls(callers)

    def find(self, token: str) -> Caller | None:
        """Return who has a token; how long it takes says nothing about the tokens that there are."""
        digest, found = _digest(token), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _read_line(where: str, line: str) -> tuple[str, Caller]:
    right, _, rest = line.strip().partition(" ")
    token, _, note = rest.strip().partition(" ")
    matching: list[Right] = [known for known in RIGHTS if known == right]
    if not matching or not token:
        raise InputError(f"{where}: give a line as: read TOKEN note (or write, admin)")
    if len(token) < SHORTEST_TOKEN:
        raise InputError(
            f"{where}: a token has at least {SHORTEST_TOKEN} characters; try openssl rand -hex 32"
        )
    return token, Caller(matching[0], note.strip())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Gatekeeper:
    """Decides who may ask, by the headers of a request.

    Args:
        settings: Where the service listens, and its file of tokens.

    Raises:
        InputError: The service could be reached from other machines and there are no tokens, or their file
            cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._tokens = Tokens.read(settings.token_file) if settings.token_file else None
        if self._tokens is None and not is_loopback(settings.host):
            raise InputError(
                f"--host {settings.host} lets other machines ask; give --token-file FILE with tokens, or "
                "leave --host out"
            )
        self._names = {"localhost", settings.host.lower(), *(name.lower() for name in settings.names)}
        if settings.host in _WILDCARDS:
            self._names.add(socket.gethostname().lower())

    def check_origin(self, method: str, path: str, headers: Headers) -> None:
        """Refuse what another site made a browser send, by any name that this service does not have.

        Raises:
            RefusedError: The name is foreign (DNS rebinding), or the request comes from another site.
        """
        host = headers.get("host", "")
        if not self._is_own_name(host):
            raise RefusedError(
                "misdirected",
                f"the service is not called {host!r:.100}",
                remedy="ask it as localhost, or start it with --name NAME",
                where="Host",
            )
        site = headers.get("sec-fetch-site", "none")
        is_visit = headers.get("sec-fetch-mode") == "navigate" and method in SAFE_METHODS
        if site not in ("none", "same-origin") and not (is_visit and not path.startswith("/v1/")):
            raise RefusedError("foreign", "another site made the browser send this", where="Sec-Fetch-Site")
        origin = headers.get("origin")
        if origin is not None and method not in SAFE_METHODS and not _is_same(origin, host):
            raise RefusedError("foreign", f"the page at {origin!r:.100} may not ask this", where="Origin")

    def find_caller(self, headers: Headers) -> Caller:
        """Return who asks.

        Raises:
            RefusedError: A token is needed, and there is none or a wrong one.
        """
        if self._tokens is None:
            return Caller("admin")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        caller = self._tokens.find(token.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise RefusedError(
                "token-wanted",
                "the token is not known" if token else "no token was sent",
                remedy="send one of the token file as Authorization: Bearer TOKEN",
                where="Authorization",
                headers={"WWW-Authenticate": 'Bearer realm="meisho"'},
            )
        return caller

    def _is_own_name(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts[1].lower()
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    """Whether a name is an address: no page of another site has one of ours as its own."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def caller_of(request: Request) -> Caller:
    """Return who asks; a dependency of routes."""
    found = getattr(request.state, "caller", None)
    if not isinstance(found, Caller):
        gatekeeper: Gatekeeper = request.app.state.service.gatekeeper
        found = request.state.caller = gatekeeper.find_caller(request.headers)
    return found


class _Needs:
    """A dependency: refuses who has not the right."""

    def __init__(self, right: Right) -> None:
        self.right = right

    async def __call__(self, request: Request) -> Caller:  # which needs no thread
        caller = caller_of(request)
        if not caller.may(self.right):
            raise RefusedError(
                "not-allowed",
                f"this needs a token with the right {self.right}, not {caller.right}",
                where="Authorization",
            )
        return caller


READ, WRITE, ADMIN = (Depends(_Needs(right)) for right in RIGHTS)
"""Dependencies of routes: who asks must have the right."""
