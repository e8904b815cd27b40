"""PairFile: what the verification of pairs of photos found, kept so that none is verified twice.

Blocks of records, each behind its length and digest. A killed process leaves a block that is not whole, which
is dropped; a damaged one is dropped with all after it. What was dropped is verified again.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meisho.errors import CollectionError, explain_os_error
from meisho.files import write_bytes

PAIR = np.dtype(
    [
        ("a", "<u8"),
        ("b", "<u8"),
        ("matches", "<u4"),
        ("inliers", "<u4"),
        ("of_a", "<f4"),
        ("of_b", "<f4"),
        ("slant", "<f4"),
        ("near", "<u4"),
    ]
)
"""Keys of two photos, a < b; their matches and inliers; shares of both that overlap, and how slanted the map
is, NaN where there is none (see `meisho.geometry.overlap`); whether they are near copies. A record of a photo
with itself says that it was asked for so many neighbours as it has matches."""

_MAGIC = b"meisho pairs 1\n"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_logger = logging.getLogger(__name__)


class PairFile:
    """A file of verified pairs.

    Args:
        path: The file.
        how: Names how pairs are verified; what was verified otherwise is forgotten.
    """

    def __init__(self, path: Path, how: str) -> None:
        self.path = path
        self._head = _MAGIC + hashlib.sha256(how.encode()).digest()
        self._end = 0  # of what is whole; 0: of nothing

    def read(self) -> NDArray[np.void]:
        """Return all records (P,) that are whole; the next `append` cuts off what is not.

        Raises:
            CollectionError: The file is there and cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise CollectionError(f"{self.path}: cannot be read ({explain_os_error(error)})") from error
        if not content.startswith(self._head):
            self._end = 0
            return np.empty(0, PAIR)
        records, self._end = _read_blocks(content, len(self._head))
        if self._end < len(content):
            _logger.warning("%s: its end is not whole; those pairs are verified again", self.path)
        return records

    def append(self, records: NDArray[np.void]) -> None:
        """Add records (P,) to those that were read."""
        if not self._end:
            self.replace(records)
            return
        with self.path.open("rb+") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(_make_block(records))
            self._end = file.tell()

    def replace(self, records: NDArray[np.void]) -> None:
        """Keep these records (P,) and no others."""
        block = _make_block(records)
        write_bytes(self.path, self._head, block)
        self._end = len(self._head) + len(block)


def _make_block(records: NDArray[np.void]) -> bytes:
    data = records.astype(PAIR).tobytes()
    return len(data).to_bytes(_LENGTH_BYTES, "little") + hashlib.sha256(data).digest() + data


def _read_blocks(content: bytes, start: int) -> tuple[NDArray[np.void], int]:
    """Return the records of all whole blocks, and where they end."""
    blocks, end = [np.empty(0, PAIR)], start
    while True:
        first = end + _LENGTH_BYTES + _DIGEST_BYTES
        length = int.from_bytes(content[end : end + _LENGTH_BYTES], "little")
        data = content[first : first + length]
        digest = content[end + _LENGTH_BYTES : first]
        if len(data) < length or not length or length % PAIR.itemsize or _sha256(data) != digest:
            return np.concatenate(blocks), end
        blocks.append(np.frombuffer(data, PAIR))
        end = first + length


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
