"""Cursors: names of further pages, opaque to who asks; nothing is kept for them."""

import base64
import binascii
import hmac
import json
import secrets

from meisho.documents import parse_json
from meisho.errors import InputError
from meisho.service.problems import RefusedError

_SEAL_BYTES = 16
LONGEST = 8_000


class Cursors:
    """Makes and reads cursors; those of another run of the service have expired."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def make(self, **values: object) -> str:
        """Return a cursor that holds values of JSON."""
        text = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._seal(text) + text).decode().rstrip("=")

    def read(self, cursor: str) -> dict[str, object]:
        """Return the values of a cursor.

        Raises:
            RefusedError: It was not made here ("cursor-expired").
        """
        try:
            data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            data = b""
        seal, text = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(text)):
            raise expired("the cursor is none of this service, or the service was started again since")
        values = parse_json(text.decode(), source="the cursor", error=InputError).values
        return dict(values)

    def _seal(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")[:_SEAL_BYTES]


def expired(detail: str) -> RefusedError:
    """Return what tells that a cursor has expired."""
    return RefusedError("cursor-expired", detail, remedy="search again", where="cursor")
