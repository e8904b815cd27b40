"""Bodies: what a request carries, read into memory, bounded in bytes and in time."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import Request
from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from meisho.documents import parse_json
from meisho.errors import InputError
from meisho.memory import show_bytes
from meisho.service.problems import RefusedError
from meisho.service.settings import Settings

_MOST_FIELDS = 64
_MOST_JSON_BYTES = 2**20


class Reading:
    """How much of memory requests take that are being received, all together."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._bytes = settings, 0

    @property
    def num_bytes(self) -> int:
        """What is set aside for requests now."""
        return self._bytes

    @contextmanager
    def reserve(self, request: Request) -> Iterator[int]:
        """Set memory aside for the body of a request; yields how many bytes it may have.

        Raises:
            RefusedError: It is too large, or there is too much already ("busy").
        """
        most = self._settings.most_body_bytes
        declared = _declared_bytes(request)
        if declared is not None and declared > most:
            raise too_large(most)
        size = most if declared is None else declared
        if self._bytes + size > self._settings.most_reading_bytes:
            raise RefusedError(
                "busy",
                "many requests are being received",
                remedy="send it again in a second",
                headers={"Retry-After": "1"},
            )
        self._bytes += size
        try:
            yield size
        finally:
            self._bytes -= size

    async def read(self, request: Request) -> bytes:
        """Return the body.

        Raises:
            RefusedError: It is too large or takes too long to arrive.
        """
        with self.reserve(request) as most:
            parts = [part async for part in self._stream(request, most)]
            return b"".join(parts)

    async def read_json(self, request: Request) -> dict[str, object]:
        """Return the object of a JSON body.

        Raises:
            RefusedError: It says that it is something else, or is not that.
        """
        if media_type(request) not in ("application/json", ""):
            raise RefusedError(
                "media-type",
                f"the body is {media_type(request)!r:.100}",
                remedy="send application/json, or a file as multipart/form-data where one is taken",
                where="Content-Type",
            )
        return parse_body(await self.read(request))

    async def read_photo(self, request: Request) -> bytes:
        """Return the file that a request carries: its body, or the one file of a form.

        Raises:
            RefusedError: There is none, or there are several.
        """
        if media_type(request) != "multipart/form-data":
            return await self.read(request)
        form = await self.read_form(request)
        if len(form.files) != 1:
            raise RefusedError("invalid", f"give one file, not {len(form.files)}", where="photo")
        return form.files[0][1]

    async def read_form(self, request: Request) -> "Form":
        """Return the fields and files of a multipart body; nothing is written to a file.

        Raises:
            RefusedError: It is too large, takes too long to arrive, or is no such body.
        """
        with self.reserve(request) as most:
            parser = _InMemory(
                request.headers, self._stream(request, most), max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS
            )
            try:
                return await _read_form(parser)
            except (MultiPartException, FormParserError, UnicodeDecodeError, KeyError) as error:
                reason = getattr(error, "message", None) or str(error) or type(error).__name__
                raise RefusedError("invalid", f"the body is no multipart form: {reason}") from error
            finally:
                parser.close()

    async def _stream(self, request: Request, most: int) -> AsyncGenerator[bytes, None]:
        """Yield the body in parts, as they come in time and as long as they are not too many."""
        received, stream = 0, request.stream()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                async for part in stream:
                    received += len(part)
                    if received > most:
                        raise too_large(most)
                    yield part
        except ClientDisconnect as error:
            raise RefusedError("invalid", "the request ended too early") from error
        except TimeoutError as error:
            seconds = self._settings.body_seconds
            raise RefusedError("too-slow", f"the request took more than {seconds} s to arrive") from error


class _InMemory(MultiPartParser):
    spool_max_size = 2**40  # what is read is bounded before; a file on the disk would outlive a kill

    def close(self) -> None:
        """Let go of the files of a form, also of one that ended too early."""
        for file in self._files_to_close_on_error:
            file.close()


@dataclass
class Form:
    """A multipart body.

    Attributes:
        fields: Texts by the names of their fields.
        files: Names of fields and the files in them.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, bytes]] = field(default_factory=list)


async def _read_form(parser: MultiPartParser) -> Form:
    form = Form()
    for name, value in (await parser.parse()).multi_items():
        if isinstance(value, UploadFile):
            form.files.append((name, await value.read()))
        elif name in form.fields:
            raise RefusedError("invalid", f"the field {name!r:.100} stands twice", where=name[:100])
        else:
            form.fields[name] = value
    return form


def media_type(request: Request) -> str:
    """Return the type of a body, without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_body(content: bytes) -> dict[str, object]:
    """Return the object of a JSON body.

    Raises:
        RefusedError: It is none, or too large.
    """
    if len(content) > _MOST_JSON_BYTES:
        raise too_large(_MOST_JSON_BYTES)
    try:
        return dict(parse_json(content, source="the body", error=InputError, advice="correct it").values)
    except InputError as error:
        raise RefusedError("invalid", str(error)) from error


def _declared_bytes(request: Request) -> int | None:
    text = request.headers.get("content-length")
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else None


def too_large(most: int) -> RefusedError:
    """Return what refuses a body of more bytes."""
    return RefusedError("too-large", f"a request may have at most {show_bytes(most)}")


def describe_json(model: type[BaseModel]) -> dict[str, object]:
    """Return what OpenAPI says of a body that is JSON of a model and read by `Reading`."""
    content = {"application/json": {"schema": inline_schema(model)}}
    return {"requestBody": {"required": True, "content": content}}


def inline_schema(model: type[BaseModel]) -> dict[str, object]:
    """Return the schema of a model with the schemas that it refers to in their places."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def put_in(value: object) -> object:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                return put_in(parts[reference.rpartition("/")[2]])
            return {key: put_in(part) for key, part in value.items()}
        return [put_in(part) for part in value] if isinstance(value, list) else value

    return {key: put_in(part) for key, part in schema.items()}
