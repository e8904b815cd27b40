"""Manifests: the small files by which LanceDB knows the rows of each version of a table, read without it.

A manifest is a protobuf message (github.com/lance-format/lance, protos/table.proto) and a footer that says
where it begins. It names the fragments of the table, each a file of rows that were written together, and for
a fragment with deleted rows the file that lists them.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from meisho.buckets import BucketPath, read_all, remove_all

_FOOTER_BYTES = 16
_MAGIC = b"LANC"
_FRAGMENTS = 2
"""Number of the field that holds the fragments of a manifest."""


YOUNG_SECONDS = 600.0
"""Age up to which no file in a bucket is swept."""


@dataclass(frozen=True)
class Fragment:
    """Rows of a table that were written together.

    Attributes:
        number: Its number in the table; the row ids of its rows are 2^32 times that, and up.
        num_rows: Rows in its files.
        num_deleted: Those of them that are deleted.
        size_bytes: Size of its files; 0 where the manifest does not say.
        deletions: Name, without its ending, of the file that lists the deleted rows; "" where none is.
    """

    number: int
    num_rows: int
    num_deleted: int = 0
    size_bytes: int = 0
    deletions: str = ""

    @property
    def num_live(self) -> int:
        """Rows that are not deleted."""
        return self.num_rows - self.num_deleted


def list_manifests(table: Path) -> list[Path]:
    """Return the manifests in the folder of a table, the newest version first."""
    return sorted((table / "_versions").glob("*.manifest"), key=_version, reverse=True)


def _version(manifest: Path) -> int:
    """Return the version of a manifest: its name is 2^64 - 1 - version, of 20 digits, or the version."""
    number = int(manifest.stem) if manifest.stem.isdigit() else 0
    return 2**64 - 1 - number if len(manifest.stem) == 20 else number


def read_fragments(manifest: Path) -> tuple[Fragment, ...]:
    """Read which fragments a version of a table has.

    Raises:
        OSError: The manifest cannot be read.
        ValueError: It is none.
    """
    return _fragments(manifest.name, manifest.read_bytes())


def _fragments(name: str, content: bytes) -> tuple[Fragment, ...]:
    footer = content[-_FOOTER_BYTES:]
    if not footer.endswith(_MAGIC):
        raise ValueError(f"{name} does not end as a manifest does")
    start = int.from_bytes(footer[:8], "little")
    end = start + 4 + int.from_bytes(content[start : start + 4], "little")
    try:
        _, nested = _read_message(content[start + 4 : end])
        return tuple(_fragment(message) for message in nested[_FRAGMENTS])
    except (LookupError, ValueError) as error:
        raise ValueError(f"{name} is not a manifest: {error}") from error


def _fragment(message: bytes) -> Fragment:
    """Read a DataFragment: id, files with their sizes, file of deleted rows, number of rows."""
    numbers, nested = _read_message(message)
    size_bytes = sum(_read_message(file)[0][6] for file in nested[2])
    number, deletions = numbers[1], ""
    num_deleted = 0
    for deleted, _ in map(_read_message, nested[3]):
        deletions, num_deleted = f"{number}-{deleted[2]}-{deleted[3]}", deleted[4]
    return Fragment(number, numbers[4], num_deleted, size_bytes, deletions)


def _read_message(message: bytes) -> tuple[defaultdict[int, int], defaultdict[int, list[bytes]]]:
    """Read a protobuf message: its numbers, 0 where there is none, and its nested messages, by field."""
    numbers: defaultdict[int, int] = defaultdict(int)
    nested: defaultdict[int, list[bytes]] = defaultdict(list)
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, kind = key >> 3, key & 7
        if kind == 0:
            numbers[field], place = _varint(message, place)
        elif kind == 2:
            size, place = _varint(message, place)
            nested[field].append(message[place : place + size])
            place += size
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
    return numbers, nested


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return the number that begins at a place, 7 bits a byte, the lowest first; and the place after it."""
    number = shift = 0
    while True:
        byte = message[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place


def sweep(table: Path, keep: timedelta) -> None:
    """Delete versions that were replaced more than `keep` ago, and the files that no other version names.

    Among these are files that interrupted commits left behind. Nobody may be writing to the table. A kill on
    the way leaves files for the next time. In a bucket young files stay: a writer that was taken for dead may
    go on (`meisho.store.leases`), and must not delete what the one after it is about to commit.

    Args:
        table: Folder of the table.
        keep: 0 spares the newest version alone.

    Raises:
        ValueError: A manifest is none.
    """
    manifests = list_manifests(table)
    # the clock of a bucket is that of its store, where the newest commit has just come from
    in_bucket = isinstance(table, BucketPath)
    now = manifests[0].stat().st_mtime if in_bucket else time.time()
    replaced = [manifest.stat().st_mtime for manifest in manifests[:-1]]  # when the version after it came
    old = [now - at >= keep.total_seconds() for at in replaced]
    kept = [*manifests[:1], *(m for m, is_old in zip(manifests[1:], old, strict=True) if not is_old)]
    contents = read_all(kept)
    named = b"\0".join(contents)
    fragments = (
        each for m, content in zip(kept, contents, strict=True) for each in _fragments(m.name, content)
    )
    unneeded = [*({*manifests} - {*kept}), *_unnamed(table, named, {each.deletions for each in fragments})]
    if in_bucket:
        remove_all(file for file in unneeded if now - file.stat().st_mtime >= YOUNG_SECONDS)
    else:
        for file in unneeded:
            _remove(file)


def _unnamed(table: Path, named: bytes, deletions: set[str]) -> Iterator[Path]:
    for folder in ("data", "_transactions"):
        yield from (file for file in (table / folder).glob("*") if file.name.encode() not in named)
    yield from (file for file in (table / "_deletions").glob("*") if file.stem not in deletions)


def _remove(file: Path) -> None:
    with suppress(FileNotFoundError, PermissionError):  # on Windows, one that somebody has open: next time
        file.unlink()
