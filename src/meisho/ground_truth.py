"""Ground truth: which database photos are right for each query, and which do not count."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from meisho.arrays import Int64Array, read_only
from meisho.errors import DatasetError, InputError
from meisho.texts import count

Setup = Literal["easy", "medium", "hard"]
SETUPS: tuple[Setup, ...] = ("easy", "medium", "hard")
Rows = tuple[Int64Array, ...]


def database_rows(rows_per_query: Iterable[Iterable[int]]) -> Rows:
    """Turn lists or sets of database rows, one per query, into ascending arrays (P,) int64."""
    return _frozen_rows([sorted(rows) for rows in rows_per_query])


def _frozen_rows(rows: Sequence[Sequence[int] | Int64Array]) -> Rows:
    return tuple(read_only(np.unique(np.asarray(r, dtype=np.int64)), np.int64) for r in rows)


def _check_disjoint(groups: dict[str, Rows]) -> None:
    lengths = {name: len(rows) for name, rows in groups.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"ground truth: every list needs one entry per query, got {lengths}")
    for query, parts in enumerate(zip(*groups.values(), strict=True)):
        together = np.concatenate(parts)
        if len(np.unique(together)) != len(together):
            raise DatasetError(
                f"ground truth: query {query} has a database row in two of {', '.join(groups)}"
            )


def _check_rows(groups: Sequence[Rows], query_ids: Sequence[str], num_database: int) -> None:
    for query_id, *parts in zip(query_ids, *groups, strict=True):
        for rows in parts:
            if len(rows) and (rows[0] < 0 or rows[-1] >= num_database):  # rows ascend
                raise DatasetError(
                    f"ground truth of query {query_id!r} names a row outside the {num_database} database "
                    f"photos (rows {rows[0]} to {rows[-1]}): wrong data set?"
                )


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Positives and junk of Q queries, as database rows.

    Attributes:
        positives: Q arrays (P,) int64, ascending: the right answers; may be empty.
        junk: Q arrays (J,) int64, ascending: taken out of the ranking before positions are counted.
        sha256: Digest of the file that it was read from, or "" where there is none.
        groups: The part of the benchmark that each query is scored in, or () where there are no parts. Google
            Landmarks says "public" or "private" here: its figures are the means over each group.

    Raises:
        DatasetError: The lists differ in length, or a query has a row among both its positives and its junk.
    """

    positives: Rows
    junk: Rows
    sha256: str = ""
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "positives", _frozen_rows(self.positives))
        object.__setattr__(self, "junk", _frozen_rows(self.junk))
        object.__setattr__(self, "groups", tuple(self.groups))
        _check_disjoint({"positives": self.positives, "junk": self.junk})
        if self.groups and len(self.groups) != len(self.positives):
            raise DatasetError(f"ground truth: {len(self.groups)} groups for {len(self.positives)} queries")

    @classmethod
    def from_labels(
        cls,
        query_labels: Iterable[object],
        database_labels: Iterable[object],
        *,
        query_ids: Iterable[object] | None = None,
        database_ids: Iterable[object] | None = None,
    ) -> Self:
        """Take as right, for each query, the database photos that have its label.

        Args:
            query_labels: Q labels, texts or numbers; None or NaN for a photo of nothing that has a name.
            database_labels: N labels; None or NaN for a distractor.
            query_ids: Q ids. Given together with `database_ids` they take a photo out of the answers to
                itself: a database photo with the id of the query is junk.
            database_ids: N ids.

        Raises:
            InputError: There is not one label or id per photo, only one kind of ids is given, or the labels
                of one side are texts and those of the other numbers.
        """
        asked, known = _labels(query_labels, "query_labels"), _labels(database_labels, "database_labels")
        _check_kinds(asked, known)
        same = _rows_of_same_id(query_ids, database_ids, len(asked), len(known))
        rows_of: defaultdict[object, list[int]] = defaultdict(list)
        for row, label in enumerate(known):
            rows_of[label].append(row)
        arrays = {label: np.array(rows_of[label], np.int64) for label in set(asked) if label in rows_of}
        nothing = np.empty(0, np.int64)
        found = [nothing if label is None else arrays.get(label, nothing) for label in asked]
        positives = tuple(np.setdiff1d(rows, own) for rows, own in zip(found, same, strict=True))
        return cls(positives, same)

    def __repr__(self) -> str:
        groups = f", groups {', '.join(dict.fromkeys(self.groups))}" if self.groups else ""
        return f"GroundTruth({_describe(positives=self.positives, junk=self.junk)}{groups})"

    def __len__(self) -> int:
        return len(self.positives)

    def check_rows(self, query_ids: Sequence[str], num_database: int) -> None:
        """Check that every row lies in a database of `num_database` photos; the ids are for the message.

        Raises:
            DatasetError: One does not.
        """
        _check_rows((self.positives, self.junk), query_ids, num_database)


@dataclass(frozen=True, eq=False)
class GradedGroundTruth:
    """Easy, hard and junk photos of Q queries, as database rows [Radenović et al. 2018, arXiv:1803.11285].

    Attributes:
        easy: Q arrays (E,) int64, ascending.
        hard: Q arrays (H,) int64, ascending.
        junk: Q arrays (J,) int64, ascending.
        sha256: Digest of the file that it was read from, or "".
    """

    easy: Rows
    hard: Rows
    junk: Rows
    sha256: str = ""

    def __post_init__(self) -> None:
        for name in ("easy", "hard", "junk"):
            object.__setattr__(self, name, _frozen_rows(getattr(self, name)))
        _check_disjoint({"easy": self.easy, "hard": self.hard, "junk": self.junk})

    def __repr__(self) -> str:
        return f"GradedGroundTruth({_describe(easy=self.easy, hard=self.hard, junk=self.junk)})"

    def __len__(self) -> int:
        return len(self.easy)

    def check_rows(self, query_ids: Sequence[str], num_database: int) -> None:
        """Check that every row lies in a database of `num_database` photos; the ids are for the message.

        Raises:
            DatasetError: One does not.
        """
        _check_rows((self.easy, self.hard, self.junk), query_ids, num_database)

    def at(self, setup: Setup) -> GroundTruth:
        """Return the positives and junk of one setup: easy, medium (easy + hard) or hard."""
        if setup == "easy":
            return GroundTruth(self.easy, _joined(self.junk, self.hard), self.sha256)
        if setup == "medium":
            return GroundTruth(_joined(self.easy, self.hard), self.junk, self.sha256)
        return GroundTruth(self.hard, _joined(self.junk, self.easy), self.sha256)


def _joined(first: Rows, second: Rows) -> Rows:
    return tuple(np.concatenate([a, b]) for a, b in zip(first, second, strict=True))


def _describe(**groups: Rows) -> str:
    num_queries = len(next(iter(groups.values())))
    totals = ", ".join(f"{sum(map(len, rows)):,} {name}" for name, rows in groups.items())
    return f"{count(num_queries, 'query')}, {totals}"


def _labels(labels: Iterable[object], what: str) -> list[object]:
    """Return labels as plain values that can be compared; None for those that say nothing."""
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise InputError(f"ground truth: {what} is {labels!r:.80}; give a list, one label per photo")
    plain = [label.item() if isinstance(label, np.generic) else label for label in labels]
    for row, label in enumerate(plain):
        if not isinstance(label, str | int | float | None):
            raise InputError(
                f"ground truth: {what}[{row}] is {label!r:.80}; a label is one text or one number per photo"
            )
    return [None if label != label else label for label in plain]  # NaN alone is not equal to itself


def _check_kinds(query_labels: Iterable[object], database_labels: Iterable[object]) -> None:
    kinds = [
        {"texts" if isinstance(label, str) else "numbers" for label in labels if label is not None}
        for labels in (query_labels, database_labels)
    ]
    if all(kinds) and not kinds[0] & kinds[1]:
        ours, theirs = (next(iter(kind)) for kind in kinds)
        raise InputError(
            f"ground truth: query_labels are {ours} and database_labels {theirs}, so none would be the same; "
            "make both the one or the other"
        )


def _rows_of_same_id(
    query_ids: Iterable[object] | None,
    database_ids: Iterable[object] | None,
    num_queries: int,
    num_database: int,
) -> Rows:
    if query_ids is None and database_ids is None:
        return _frozen_rows([[]] * num_queries)
    if query_ids is None or database_ids is None:
        raise InputError("ground truth: give query_ids and database_ids together, or neither")
    queries, database = [str(name) for name in query_ids], [str(name) for name in database_ids]
    if (len(queries), len(database)) != (num_queries, num_database):
        raise InputError(
            f"ground truth: {num_queries} query labels and {num_database} database labels need as many ids, "
            f"got {len(queries)} and {len(database)}"
        )
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(database):
        rows_of[name].append(row)
    return _frozen_rows([rows_of.get(name, []) for name in queries])
