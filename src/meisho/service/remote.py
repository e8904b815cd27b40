"""Remote: a query photo that is fetched from an address, only where that is switched on.

Whoever may ask could otherwise reach, through the service, what only the service's machine can reach. So a
name is resolved once, its addresses are checked, and the connection is made to one that was checked; what an
answer leads on to is checked again. What came is a query photo as any upload.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import h11

from meisho import __version__
from meisho.errors import ConfigError
from meisho.memory import show_bytes
from meisho.service.problems import RefusedError
from meisho.service.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = {"http": 80, "https": 443}
"""Schemes that are fetched, and the only ports that are asked outside of allowed networks."""

LONGEST = 4_096
MOST_REDIRECTS = 3
MOST_AT_ONCE = 4
_PART_BYTES = 2**16
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REFUSED = [ipaddress.ip_network(text) for text in ("fec0::/10", "64:ff9b:1::/48", "::/96")]
"""What is no address of the public internet, but is not said to be private by every Python."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet; one that holds another is what that is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public(inner)
    if any(address in network for network in _REFUSED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@dataclass(frozen=True)
class Target:
    """What is asked for.

    Attributes:
        scheme: "http" or "https".
        host: Name or address, in ASCII.
        port: Its port.
        path: Path and query, as they are sent.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Read an address.

        Raises:
            RefusedError: It is none of the kind that is fetched.
        """
        try:
            parts = urlsplit(url.strip())
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port or PORTS.get(parts.scheme, 0)
        except (ValueError, UnicodeError) as error:
            raise _refused("it is no address of a photo") from error
        if parts.scheme not in PORTS or not host or len(url) > LONGEST:
            raise _refused("give an address that begins with http:// or https://")
        if "@" in parts.netloc:
            raise _refused("give an address without a user and a password")
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        return cls(parts.scheme, host, port, f"{path}?{query}" if query else path)

    @property
    def name(self) -> str:
        """How the server is named in a request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.name}{self.path}"


class Remote:
    """Fetches query photos.

    Args:
        settings: Whether that is switched on, the limits, and networks that are allowed beside the public
            internet.

    Raises:
        ConfigError: One of these is no network.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._num_inside = settings, 0
        self._allowed = [_read_network(text) for text in settings.url_networks]

    async def fetch(self, url: str) -> bytes:
        """Return the file at an address.

        Raises:
            RefusedError: It is switched off, leads where nobody may ask, does not answer in time, or what it
                answers is no file or too large.
        """
        if not self._settings.query_urls:
            raise RefusedError(
                "not-allowed",
                "photos are not fetched from addresses here",
                remedy="send the file, or start the service with --query-urls",
            )
        seconds = self._settings.url_seconds
        with self._entered():
            try:
                async with asyncio.timeout(seconds):
                    return await self._follow(Target.parse(url))
            except TimeoutError as error:
                raise _unreachable(f"it took more than {seconds} s") from error
            except ssl.SSLCertVerificationError as error:
                raise _unreachable(f"its certificate is not accepted: {error.verify_message}") from error
            except (OSError, h11.RemoteProtocolError) as error:
                raise _unreachable("it does not answer, or not as a web server does") from error

    @contextmanager
    def _entered(self) -> Iterator[None]:
        if self._num_inside >= MOST_AT_ONCE:
            raise RefusedError(
                "busy", "several photos are being fetched", remedy="ask again", headers={"Retry-After": "1"}
            )
        self._num_inside += 1
        try:
            yield
        finally:
            self._num_inside -= 1

    async def _follow(self, target: Target) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            found = await self._ask(target)
            if isinstance(found, bytes):
                return found
            target = Target.parse(urljoin(target.url, found))
        raise _unreachable(f"it leads on more than {MOST_REDIRECTS} times")

    async def _ask(self, target: Target) -> bytes | str:
        """Return the file, or where it is instead."""
        address = await self._resolve(target)
        tls = ssl.create_default_context() if target.scheme == "https" else None
        reader, writer = await asyncio.open_connection(
            str(address), target.port, ssl=tls, server_hostname=target.host if tls else None
        )
        try:
            connection = h11.Connection(h11.CLIENT)
            headers = {
                "Host": target.name,
                "User-Agent": f"meisho/{__version__}",
                "Accept": "image/*",
                "Accept-Encoding": "identity",
                "Connection": "close",
            }
            request = h11.Request(method="GET", target=target.path, headers=[*headers.items()])
            writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            return await _Answer(connection, reader, self._settings.most_body_bytes).read()
        finally:
            writer.transport.abort()

    async def _resolve(self, target: Target) -> Address:
        """Return the first address of a name that may be asked; only it is connected to."""
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=1, proto=6)
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        for address in addresses:
            if self._is_allowed(address, target):
                return address
        raise RefusedError(
            "not-allowed",
            f"{target.name:.200}: is no address of the public internet, or no port of the web",
            remedy="send the file instead",
            where="url",
        )

    def _is_allowed(self, address: Address, target: Target) -> bool:
        if any(address in network for network in self._allowed):
            return True
        return is_public(address) and target.port in PORTS.values()


class _Answer:
    """Reads the answer of a server, no more of it than is allowed."""

    def __init__(self, connection: h11.Connection, reader: asyncio.StreamReader, most_bytes: int) -> None:
        self._connection, self._reader, self._most = connection, reader, most_bytes

    async def read(self) -> bytes | str:
        """Return the file, or where it is instead."""
        head = await self._next()
        while isinstance(head, h11.InformationalResponse):
            head = await self._next()
        if not isinstance(head, h11.Response):
            raise _unreachable("it ends the connection")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        if head.status_code in _REDIRECTS and "location" in headers:
            return headers["location"]
        if head.status_code != 200:
            raise _unreachable(f"it answers with the status {head.status_code}")
        if headers.get("content-encoding", "identity") != "identity":
            raise _unreachable("it answers with a packed file, which nobody asked for")
        return await self._read_body()

    async def _read_body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > self._most:
                raise RefusedError(
                    "too-large", f"a photo may have at most {show_bytes(self._most)}", where="url"
                )
        return bytes(body)

    async def _next(self) -> object:
        while (event := self._connection.next_event()) is h11.NEED_DATA:
            self._connection.receive_data(await self._reader.read(_PART_BYTES))
        return event


def _read_network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"{text!r:.100} is no network; give one as 192.168.7.0/24") from error


def _refused(reason: str) -> RefusedError:
    return RefusedError("invalid", reason, where="url")


def _unreachable(reason: str) -> RefusedError:
    return RefusedError("unreachable", f"the address cannot be fetched: {reason}", where="url")
