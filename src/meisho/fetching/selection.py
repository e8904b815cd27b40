"""Selection: which files of a manifest are wanted, by parts, shards and classes."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meisho.errors import DatasetError, InputError
from meisho.fetching.manifest import DataFile, Manifest, say_bytes


@dataclass(frozen=True)
class Selection:
    """What the user chose.

    Attributes:
        parts: Names of parts; () for the manifest's default.
        shards: Numbers of shards; None for all. Files that are no shards are not touched by it.
        classes: Landmark numbers whose photos alone are unpacked; None for all.
    """

    parts: tuple[str, ...] = ()
    shards: frozenset[int] | None = None
    classes: tuple[str, ...] | None = None

    def covers(self, classes: tuple[str, ...] | None) -> bool:
        """Whether what was unpacked for `classes` holds all that is chosen here."""
        return classes is None or (self.classes is not None and set(self.classes) <= set(classes))


def select_files(manifest: Manifest, selection: Selection) -> tuple[DataFile, ...]:
    """Return the files that are wanted, with the tables that others need, in the manifest's order.

    Raises:
        InputError: A part or shard is not known, none is chosen where one must be, or classes cannot be
            chosen here; the message names the choices.
    """
    parts = selection.parts or manifest.default_parts
    if not parts:
        raise InputError(f"{manifest.name}: choose parts with --part: {_parts_text(manifest)}")
    for part in parts:
        if part not in manifest.parts:
            raise InputError(
                f"{manifest.name}: no part is called {part!r:.80}; choose from {_parts_text(manifest)}"
            )
    chosen = [file for file in manifest.all_files if file.part in parts]
    if selection.shards is not None:
        _check_shards(manifest, chosen, selection.shards)
        chosen = [file for file in chosen if file.shard is None or file.shard in selection.shards]
    needed = {file.path for file in chosen} | {file.md5_in for file in chosen}
    if selection.classes is not None:
        tables = {file.classes_in for file in chosen if file.classes_in}
        if not tables:
            raise InputError(
                f"{manifest.name}: nothing that is chosen can be unpacked by classes; leave --classes out"
            )
        needed |= tables
    return tuple(file for file in manifest.all_files if file.path in needed)


def parse_shards(text: str) -> frozenset[int]:
    """Read "0-3,7" as the numbers 0, 1, 2, 3 and 7.

    Raises:
        InputError: It is something else.
    """
    numbers: set[int] = set()
    for piece in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,6})(?:-([0-9]{1,6}))?\s*", piece)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"--shards {text!r:.80}: give numbers and ranges such as 0-3,7")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(numbers)


def parse_classes(text: str) -> tuple[str, ...]:
    """Read "1,2" as the landmark numbers "1" and "2".

    Raises:
        InputError: It is something else.
    """
    classes = [piece.strip() for piece in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,18}", number) for number in classes):
        raise InputError(f"--classes {text!r:.80}: give landmark numbers such as 17,4053")
    return tuple(sorted({str(int(number)) for number in classes}, key=int))


def read_ids_of_classes(table: Path, classes: tuple[str, ...]) -> frozenset[str]:
    """Return the ids of all photos of some classes, from a table with the columns id and landmark_id.

    The table is read row by row: GLDv2's has 4.1 million.

    Raises:
        DatasetError: It cannot be read, or lacks a column.
        InputError: A class is not in it.
    """
    wanted, found, ids = set(classes), set(), set()
    try:
        for photo_id, label in _ids_and_labels(table):
            if label in wanted:
                found.add(label)
                ids.add(photo_id)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table}: cannot be read ({error}); get it again") from error
    if missing := sorted(wanted - found, key=int):
        raise InputError(f"{table}: no photo has the class {', '.join(missing[:5])}; check --classes")
    return frozenset(ids)


def _ids_and_labels(table: Path) -> Iterator[tuple[str, str]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = [cell.strip().lower() for cell in next(rows, [])]
        if "id" not in header or "landmark_id" not in header:
            raise DatasetError(f"{table}:1: the header needs the columns id and landmark_id")
        photo_id, label = header.index("id"), header.index("landmark_id")
        for row in rows:
            if len(row) > max(photo_id, label):
                yield row[photo_id].strip(), row[label].strip()


def _check_shards(manifest: Manifest, files: list[DataFile], shards: frozenset[int]) -> None:
    known = {file.shard for file in files if file.shard is not None}
    if unknown := sorted(shards - known):
        span = f"{min(known)} to {max(known)}" if known else "there are none"
        raise InputError(f"{manifest.name}: no shard {unknown[0]} in what is chosen ({span})")


def _parts_text(manifest: Manifest) -> str:
    return ", ".join(f"{part} ({say_bytes(manifest.part_bytes(part))})" for part in manifest.parts)
