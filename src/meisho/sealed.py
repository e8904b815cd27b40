"""Sealed JSON: a small file that holds its own digest, so that a changed one is noticed."""

import hashlib
import json
import re
from pathlib import Path

from meisho.documents import parse_json
from meisho.errors import CollectionError
from meisho.files import write_text

_SEAL = "sha256"


def write_sealed(path: Path, values: dict[str, object], *, sync: bool = False) -> None:
    """Write values as JSON together with the SHA-256 of them, whole or not at all."""
    write_text(path, json.dumps({**values, _SEAL: _digest(values)}, indent=2), sync=sync)


def read_sealed(path: Path, *, nan: bool = False) -> dict[str, object]:
    """Read what `write_sealed` wrote; a file without a digest, from before there were any, is believed.

    Args:
        path: The file.
        nan: Whether NaN and Infinity may stand for numbers.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON object, or not what was written.
    """
    raw = path.read_bytes()
    try:
        values = dict(parse_json(raw, source=path.name, error=CollectionError, nan=nan).values)
    except CollectionError as error:
        raise ValueError(str(error)) from error
    seal = values.pop(_SEAL, None)
    if seal is not None and seal != _digest(values):
        raise ValueError("its content is not what was written: its digest differs")
    return values


def is_digest(text: str, *, digits: int = 64) -> bool:
    """Say whether a text is a digest in hex digits, such as a SHA-256, which can stand in a file's name."""
    return re.fullmatch(f"[0-9a-f]{{{digits}}}", text) is not None


def _digest(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
