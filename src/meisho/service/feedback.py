"""Feedback: what people said of answers, as tables that training and evaluation read.

Marks are pairs. A table of labels needs groups: photos that marks join, by way of others too. Where two of
one group were marked as different, somebody was wrong, and the group is left out and named instead.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from meisho.service.notebook import Mark
from meisho.texts import is_unicode

FileOf = Callable[[str], Path | None]
"""Id of a photo -> its file; None where the collection does not hold it any more."""

PAIR_COLUMNS = ("kind", "asked", "box", "answer", "same", "at", "version", "made_by")
LABEL_COLUMNS = ("id", "file", "label", "role", "x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Groups:
    """What marks say of the photos of a collection.

    Attributes:
        same: Groups of ids that show one place each, two or more, sorted.
        queries: (id, box) of parts of photos that were asked with -> the place in `same`.
        others: Ids that were marked only as showing something else, sorted.
        conflicts: Groups of ids that marks call the same and different at once, sorted.
    """

    same: tuple[tuple[str, ...], ...]
    queries: tuple[tuple[str, str, int], ...]
    others: tuple[str, ...]
    conflicts: tuple[tuple[str, ...], ...]


def group_marks(marks: Iterable[Mark]) -> Groups:
    """Join photos by marks; what was asked with a box, or from elsewhere, joins its answers alone."""
    marks = [
        mark for mark in marks if not (mark.kind == "photo" and mark.asked == mark.answer and not mark.box)
    ]
    joined = _Joined()
    for mark in marks:
        if mark.same:
            joined.join(_asked(mark), mark.answer)
    wrong = {
        joined.find(mark.answer)
        for mark in marks
        if not mark.same and joined.find(mark.answer) == joined.find(_asked(mark))
    }
    photos: defaultdict[Hashable, set[str]] = defaultdict(set)
    for mark in marks:
        photos[joined.find(mark.answer)].add(mark.answer)
        asked = _asked(mark)
        if isinstance(asked, str):
            photos[joined.find(asked)].add(asked)
    groups = {root: tuple(sorted(ids)) for root, ids in photos.items() if root not in wrong}
    asked_with = {_asked(mark): mark for mark in marks if mark.same and mark.box and mark.kind == "photo"}
    cropped = {joined.find(asked) for asked in asked_with}
    same = {root: ids for root, ids in groups.items() if len(ids) > 1 or root in cropped}
    order = sorted(same, key=lambda root: same[root])
    places = {root: place for place, root in enumerate(order)}
    queries = [
        (mark.asked, mark.box, places[joined.find(asked)])
        for asked, mark in asked_with.items()
        if joined.find(asked) in places
    ]
    in_conflict = tuple(sorted(tuple(sorted(photos[root])) for root in wrong))
    others = {ids[0] for root, ids in groups.items() if root not in same}
    return Groups(
        tuple(same[root] for root in order), tuple(sorted(queries)), tuple(sorted(others)), in_conflict
    )


def write_pairs(marks: Iterable[Mark]) -> str:
    """Return marks as CSV, one a row, with who said it, when, and of which version."""
    return _write(PAIR_COLUMNS, [{**asdict(mark), "same": int(mark.same)} for mark in marks])


def write_labels(marks: Iterable[Mark], file_of: FileOf) -> str:
    """Return marks as the table of photos that `meisho evaluate csv` and `meisho train` read.

    Groups become labels, each photo of them is asked for and searched; a part of a photo that was asked with
    is a query with its box; what was marked as something else only is searched. Photos that are gone, or
    whose names no table can hold, are left out. Paths are absolute, so that the table may lie anywhere.
    """
    groups = group_marks(marks)
    rows: list[dict[str, object]] = []
    for place, ids in enumerate(groups.same, start=1):
        crops = [(i, box) for i, box, of in groups.queries if of == place - 1]
        kept = [(i, file) for i in ids if (file := _listable(file_of(i)))]
        if len(kept) + len(crops) < 2:
            continue
        role = "both" if len(kept) > 1 else "database"
        rows += [{"id": i, "file": file, "label": f"place {place}", "role": role} for i, file in kept]
        for photo_id, box in crops:
            if file := _listable(file_of(photo_id)):
                corners = dict(zip(LABEL_COLUMNS[4:], box.split(","), strict=True))
                name = f"{photo_id} [{box}]"
                rows.append({"id": name, "file": file, "label": f"place {place}", "role": "query", **corners})
    for photo_id in groups.others:
        if file := _listable(file_of(photo_id)):
            rows.append({"id": photo_id, "file": file, "label": "", "role": "distractor"})
    return _write(LABEL_COLUMNS, rows)


def marks_json(marks: Sequence[Mark]) -> dict[str, object]:
    """Return marks and what they say together, for programs."""
    groups = group_marks(marks)
    return {
        "marks": [asdict(mark) for mark in marks],
        "groups": [list(ids) for ids in groups.same],
        "conflicts": [list(ids) for ids in groups.conflicts],
    }


def _asked(mark: Mark) -> Hashable:
    """Return what stands for what was asked with: the id of a whole photo of the collection."""
    return mark.asked if mark.kind == "photo" and not mark.box else (mark.kind, mark.asked, mark.box)


def _listable(path: Path | None) -> str | None:
    """Return a path as the cell of a table; None where reading it back would not give the same."""
    if path is None:
        return None
    text = str(path)
    safe = is_unicode(text) and text == text.strip() and text.isprintable()
    return text if safe else None


def _write(columns: Sequence[str], rows: Iterable[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class _Joined:
    """Things that belong together, each group with one that stands for it."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}

    def find(self, thing: Hashable) -> Hashable:
        """Return what stands for the group of a thing."""
        while (parent := self._parents.get(thing, thing)) != thing:
            self._parents[thing] = self._parents.get(parent, parent)
            thing = parent
        return thing

    def join(self, one: Hashable, other: Hashable) -> None:
        """Let two things belong together."""
        self._parents[self.find(one)] = self.find(other)
