"""Source: one published file as bytes from an offset on, over HTTP(S) or from a mirror's directory.

`open_source` asks for a range with If-Range [RFC 9110, 13.1.5 and 14], so that a file that changed meanwhile
comes whole instead of in a mixture, and sorts every failure into those that pass and those that do not.
"""

import email.utils
import http.client
import math
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

CHUNK_BYTES = 1 << 20
_SLOWEST_BYTES_PER_SECOND = 256
_LONGEST_WAIT_SECONDS = 900.0
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_AGENT = "meisho (image retrieval; data set download)"


class SourceFault(Exception):
    """A source does not give the file; the message says why. Never leaves `meisho.fetching`."""


class PassingFault(SourceFault):
    """A fault that may pass.

    Attributes:
        wait_seconds: How long the source asks to wait; None when it does not say.
        is_unreachable: The host itself cannot be reached, which rarely passes soon.
    """

    def __init__(
        self, reason: str, *, wait_seconds: float | None = None, is_unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds
        self.is_unreachable = is_unreachable


class AlteredFault(SourceFault):
    """What came is not the file that was expected."""


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Reply:
    """What a source answers.

    Attributes:
        offset: The byte of the file at which the answer begins.
        total_bytes: The size of the whole file; None when the source does not say.
        validator: Tells this version of the file from another (a strong ETag or a date); None when there is
            none.
        ends_itself: Whether the end of the answer can be told from a broken connection.
        stream: The bytes.
        stall_seconds: How long less than a trickle may come.
    """

    offset: int
    total_bytes: int | None
    validator: str | None
    ends_itself: bool
    stream: _Stream
    stall_seconds: float

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes as they come.

        Raises:
            PassingFault: The connection broke, or only a trickle comes.
        """
        since, trickle = time.monotonic(), 0
        while True:
            try:
                chunk = self.stream.read1(CHUNK_BYTES)
            except TimeoutError as error:
                raise PassingFault(f"nothing came for {self.stall_seconds:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                raise PassingFault(f"the connection broke ({_say(error)})") from error
            if not chunk:
                return
            trickle += len(chunk)
            if time.monotonic() - since > self.stall_seconds:
                if trickle < self.stall_seconds * _SLOWEST_BYTES_PER_SECOND:
                    raise PassingFault(f"only {trickle} bytes came in {self.stall_seconds:g} s")
                since, trickle = time.monotonic(), 0
            yield chunk


@contextmanager
def open_source(
    source: str, *, offset: int = 0, validator: str | None = None, stall_seconds: float = 30.0
) -> Iterator[Reply]:
    """Open a file at its source.

    Args:
        source: An address (https:// or http://), or the path of a file.
        offset: The first byte wanted.
        validator: `Reply.validator` of the version that the first `offset` bytes are from; None asks for the
            range whatever the version.
        stall_seconds: How long to wait for an answer, and for bytes.

    Raises:
        PassingFault: It may work later.
        SourceFault: It will not.
    """
    if is_address(source):
        with _open_address(source, offset, validator, stall_seconds) as reply:
            yield reply
    else:
        with _open_file(Path(source), offset, validator, stall_seconds) as reply:
            yield reply


def is_address(source: str) -> bool:
    """Whether a source is an address on the web; else it is a path."""
    return source.startswith(("https://", "http://"))


@contextmanager
def _open_file(path: Path, offset: int, validator: str | None, stall_seconds: float) -> Iterator[Reply]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceFault(f"cannot be read ({error.strerror})") from error
    with file:
        facts = os.fstat(file.fileno())
        now = f"{facts.st_size}-{facts.st_mtime_ns}"
        start = offset if offset <= facts.st_size and validator in (None, now) else 0
        file.seek(start)
        yield Reply(start, facts.st_size, now, True, file, stall_seconds)


@contextmanager
def _open_address(url: str, offset: int, validator: str | None, stall_seconds: float) -> Iterator[Reply]:
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    response = _request(url, headers, stall_seconds)
    with response:
        yield _read_head(response, offset, validator, stall_seconds)


def _request(url: str, headers: dict[str, str], stall_seconds: float) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(url, headers=headers)
        opener = urllib.request.build_opener(_Redirects)
        response: http.client.HTTPResponse = opener.open(request, timeout=stall_seconds)
        return response
    except urllib.error.HTTPError as error:
        with error:
            raise _status_fault(error) from error
    except urllib.error.URLError as error:
        raise _unreachable(error.reason) from error
    except TimeoutError as error:
        raise PassingFault(f"no answer within {stall_seconds:g} s") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise SourceFault(f"is not an address ({_say(error)})") from error
    except (OSError, http.client.HTTPException) as error:
        raise PassingFault(f"the connection broke ({_say(error)})") from error


def _status_fault(error: urllib.error.HTTPError) -> SourceFault:
    said = f"{error.code} {error.reason}".strip()[:200]
    if error.code == 416:
        return AlteredFault(f"it answers {said}: it is now shorter than what came of it")
    if error.code not in _PASSING_STATUS:
        return SourceFault(f"it answers {said}")
    wait = _retry_after(error.headers.get("Retry-After"))
    if wait is not None and wait > _LONGEST_WAIT_SECONDS:
        return SourceFault(f"it answers {said} and asks to come back in {wait / 60:.0f} minutes")
    return PassingFault(f"it answers {said}", wait_seconds=wait)


def _retry_after(value: str | None) -> float | None:
    """Read Retry-After: seconds or a date; None when it is neither."""
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _unreachable(reason: object) -> SourceFault:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return SourceFault(f"its certificate is not valid ({reason.verify_message})")
    if isinstance(reason, TimeoutError):
        return PassingFault("it cannot be reached in time", is_unreachable=True)
    return PassingFault(f"it cannot be reached ({_say(reason)})", is_unreachable=True)


def _read_head(
    response: http.client.HTTPResponse, offset: int, validator: str | None, stall_seconds: float
) -> Reply:
    headers = response.headers
    now = _validator(headers)
    start, total = 0, response.length
    if response.status == 206:
        start, total = _content_range(headers.get("Content-Range", ""), response.length)
        if total is None and response.length is not None:
            total = start + response.length
        if start != offset:
            raise AlteredFault(f"asked for bytes from {offset} on, it gives those from {start} on")
        if validator and now and now != validator:
            raise AlteredFault("it changed between two requests")
    elif response.status != 200:
        raise SourceFault(f"it answers {response.status} {response.reason}")
    _check_content(response)
    ends_itself = response.length is not None or bool(response.chunked)
    return Reply(start, total, now, ends_itself, response, stall_seconds)


def _check_content(response: http.client.HTTPResponse) -> None:
    """Refuse what is plainly not the file itself."""
    name = response.geturl().partition("?")[0].lower()
    if response.headers.get_content_type() == "text/html" and not name.endswith((".html", ".htm")):
        raise SourceFault("it answers with a web page instead of the file")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    is_gzip_file = name.endswith((".gz", ".tgz"))  # many servers call the file's own format an encoding
    if encoding != "identity" and not (is_gzip_file and encoding in ("gzip", "x-gzip")):
        raise SourceFault(f"it sends the file compressed ({encoding:.40}), which was not asked for")


def _validator(headers: http.client.HTTPMessage) -> str | None:
    """Return what If-Range may carry: a strong ETag, else the date of the last change where it is strong.

    A date is strong if the answer is at least a second younger [RFC 9110, 8.8.2.2]: in that second the file
    might have changed again.
    """
    tag, changed = headers.get("ETag", ""), headers.get("Last-Modified")
    if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', tag):
        return tag
    age = _seconds(headers.get("Date")) - _seconds(changed)
    return changed if age >= 1 else None


def _seconds(date: str | None) -> float:
    """Read a date of HTTP, in seconds; NaN where it is none."""
    with suppress(ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(date or "").timestamp()
    return math.nan


def _content_range(value: str, length: int | None) -> tuple[int, int | None]:
    """Return the first byte of a range of `length` bytes, and the size of the whole file where it is said."""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", value.strip())
    if not match:
        raise AlteredFault(f"its range {value!r:.80} cannot be read")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total) or length not in (None, last - first + 1):
        raise AlteredFault(f"its range {value!r:.80} does not fit its length, {length}")
    return first, total


def _say(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:200]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from HTTPS to a connection that anyone can read and alter."""

    max_redirections = 5

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the next request, or refuse."""
        if not is_address(newurl):
            raise SourceFault(f"it redirects to {newurl[:200]!r}, which is not an https:// address")
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise SourceFault(f"it redirects from HTTPS to {newurl[:200]!r}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
