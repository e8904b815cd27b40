"""Client: asks a service that `meisho serve` runs, as a program.

with meisho.Client("http://127.0.0.1:8765") as service:
    for answer in service.search("tower.jpg", top=5)["answers"]:
        print(answer["id"], answer["score"])
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from meisho.documents import parse_json
from meisho.errors import InputError, MeishoError, explain_os_error, needs_extra

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]
"""An object of JSON; which keys it has, the service describes at /docs."""

Source = str | Path | bytes
"""A photo: a file, or the bytes of one; to ask with, also an http(s) address that the service fetches."""

_SECONDS = 60.0


class ServiceError(MeishoError):
    """A service refused what it was asked, or cannot be reached.

    Attributes:
        problem: What it said (RFC 9457): type, title, status, detail, and perhaps where and remedy.
    """

    def __init__(self, problem: Mapping[str, object]) -> None:
        detail, remedy = problem.get("detail") or problem.get("title"), problem.get("remedy")
        super().__init__(f"{detail}; {remedy}" if remedy else str(detail))
        self.problem = dict(problem)


class Client:
    """Asks a service.

    Args:
        url: Its address, as `meisho serve` prints it.
        token: What it is asked with, where it wants one.
        collection: The collection that is asked; None: its first.
        seconds: How long an answer may take.
    """

    def __init__(
        self, url: str, token: str | None = None, *, collection: str | None = None, seconds: float = _SECONDS
    ) -> None:
        with needs_extra("serve", "meisho.Client"):
            import httpx
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._collection = {} if collection is None else {"collection": collection}
        self._http: httpx.Client = httpx.Client(base_url=url, headers=headers, timeout=seconds)
        self._unreachable = httpx.HTTPError, httpx.InvalidURL

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def collections(self) -> list[Json]:
        """Return what is known of each collection that is open."""
        found: list[Json] = self._ask("GET", "/v1/collections")["collections"]
        return found

    def collection(self) -> Json:
        """Return what is known of the collection that is asked."""
        return self._ask("GET", "/v1/collection", params=self._collection)

    def upload(self, photo: Source) -> str:
        """Send a photo to ask with, and return the name by which the service knows it; it is not stored."""
        if isinstance(photo, str) and photo.startswith(("http://", "https://")):
            return str(self._ask("POST", "/v1/queries/url", json={"url": photo})["query"])
        return str(self._ask("POST", "/v1/queries", content=_read(photo))["query"])

    def search(self, photo: Source | None = None, *, like: str | None = None, **fields: object) -> Json:
        """Find the photos that show what a photo shows.

        Args:
            photo: A file, or the bytes of one.
            like: Instead, the id of a photo of the collection.
            fields: Further fields of POST /v1/search: top, box, verify, rerank, near, turned, folder, ...

        Raises:
            ServiceError: The service refuses it, or cannot be reached.
            InputError: The file cannot be read, or not one photo is given.
        """
        question = self._which(photo, like) | self._collection | fields
        return self._ask("POST", "/v1/search", json=question)

    def pages(
        self, photo: Source | None = None, *, like: str | None = None, **fields: object
    ) -> Iterator[Json]:
        """Yield the answers of `search`, one by one, page after page, until there are no more."""
        found = self.search(photo, like=like, **fields)
        while True:
            yield from found["answers"]
            if found["next"] is None:
                return
            found = self._ask("GET", "/v1/answers", params={"cursor": found["next"]})

    def match(
        self, answer: str, photo: Source | None = None, *, like: str | None = None, **fields: object
    ) -> Json:
        """Compare a photo with one of the collection by local features; raises as `search`."""
        question = self._which(photo, like) | self._collection | {"answer": answer} | fields
        return self._ask("POST", "/v1/match", json=question)

    def photos(self, folder: str = "") -> Iterator[Json]:
        """Yield what is known of each photo of the collection below a folder, by id."""
        params: Json = {"folder": folder, "limit": 200} | self._collection
        while True:
            page = self._ask("GET", "/v1/photos", params=params)
            yield from page["photos"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def thumbnail(self, photo_id: str, *, side_px: int = 240) -> bytes:
        """Return a small JPEG of a photo of the collection."""
        params = {"id": photo_id, "side": str(side_px)} | self._collection
        return self._send("GET", "/v1/thumbnail", params=params).content

    def add(self, photo_id: str, photo: Source, *, replace: bool = False) -> Json:
        """Add a photo to the collection; the same content under the same id is added once.

        Raises:
            ServiceError: Another photo has that id, and `replace` is False, or the service refuses it.
            InputError: The file cannot be read.
        """
        params = self._collection | ({"replace": "1"} if replace else {})
        return self._ask("PUT", _path_of(photo_id), content=_read(photo), params=params)

    def remove(self, photo_id: str, *, strict: bool = False) -> Json:
        """Remove a photo from the collection; its file stays.

        Raises:
            ServiceError: There is none, and `strict` is True, or the service refuses it.
        """
        params = self._collection | ({"strict": "1"} if strict else {})
        return self._ask("DELETE", _path_of(photo_id), params=params)

    def _which(self, photo: Source | None, like: str | None) -> Json:
        if (photo is None) == (like is None):
            raise InputError("give one photo to ask with: a file, or like=ID of a photo of the collection")
        return {"photo": like} if photo is None else {"query": self.upload(photo)}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        json: Json | None = None,
        content: bytes | None = None,
    ) -> Json:
        return dict(self._send(method, path, params=params, json=json, content=content).json())

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        json: Json | None = None,
        content: bytes | None = None,
    ) -> "httpx.Response":
        try:
            answer = self._http.request(method, path, params=params, json=json, content=content)
        except self._unreachable as error:
            detail = f"{self._http.base_url}: cannot be asked: {error}"
            raise ServiceError({"type": "unreachable", "detail": detail}) from error
        if answer.is_success:
            return answer
        try:
            problem = dict(parse_json(answer.text, source="the answer", error=InputError).values)
        except InputError:
            problem = {}
        raise ServiceError({"status": answer.status_code, "title": answer.reason_phrase} | problem)


def _path_of(photo_id: str) -> str:
    return f"/v1/photos/{quote(photo_id)}"


def _read(photo: Source) -> bytes:
    if isinstance(photo, bytes):
        return photo
    try:
        return Path(photo).read_bytes()
    except OSError as error:
        raise InputError(f"{photo}: {explain_os_error(error)}") from error
