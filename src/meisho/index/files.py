"""Files of indexes: written to a temporary name and renamed, and read only when they are whole."""

import hashlib
from pathlib import Path

import numpy as np

from meisho.errors import CollectionError
from meisho.files import write_bytes
from meisho.index.keys import KeyArray

_DIGEST_BYTES = hashlib.sha256().digest_size


def write_checked(path: Path, kind: str, content: bytes) -> None:
    """Write `content` after a line that names its kind and its SHA-256."""
    write_bytes(path, _heading(kind), hashlib.sha256(content).digest(), content)


def read_checked(path: Path, kind: str) -> bytes:
    """Read the content that `write_checked` wrote.

    Raises:
        CollectionError: The file is missing, of another kind, or not as it was written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CollectionError(
            f"{path}: the saved index cannot be read ({error.strerror}); build it again"
        ) from error
    start = len(_heading(kind)) + _DIGEST_BYTES
    content = data[start:]
    if data[:start] != _heading(kind) + hashlib.sha256(content).digest():
        raise CollectionError(f"{path}: not a whole index of kind {kind}; build it again")
    return content


def save_keys(keys: KeyArray, path: Path) -> None:
    """Write keys (N,) to a file."""
    write_checked(path, "keys", keys.astype("<u8").tobytes())


def load_keys(path: Path) -> KeyArray:
    """Read what `save_keys` wrote.

    Raises:
        CollectionError: The file is missing, or not as it was written.
    """
    return np.frombuffer(read_checked(path, "keys"), "<u8").astype(np.uint64)


def _heading(kind: str) -> bytes:
    return f"meisho index 1 {kind}\n".encode()
