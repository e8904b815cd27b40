"""Submission: a Ranking as the table that the Google Landmarks retrieval contests take.

One row per query: `id,images`, and in `images` up to 100 database ids, best first, with spaces between. A
query without an answer keeps its row with an empty cell. The metric is mAP@100: more ids gain nothing, and
fewer lose.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meisho.datasets.contest import check_submitted_id
from meisho.datasets.table import BrokenRows, read_table
from meisho.errors import InputError
from meisho.files import replacing
from meisho.outputs import SUBMISSION, check_output
from meisho.ranking import NO_ROW, Ranking

MOST_IDS = 100
_HEADER = "id,images"


def write_submission(ranking: Ranking, path: Path, *, query_ids: Sequence[str] | None = None) -> None:
    """Write a ranking as a submission; whole or not at all.

    Args:
        ranking: Ranked lists; the first 100 of each are written.
        path: The file, a CSV; a submission that is there is replaced.
        query_ids: The rows to write, in order, such as those of the contest's sample submission; those that
            the ranking does not have stay without an answer. None: the queries of the ranking.

    Raises:
        InputError: An id has a space, comma or quote in it, a query stands twice, or the file is there and is
            no submission.
    """
    check_output(path, SUBMISSION)
    wanted = ranking.query_ids if query_ids is None else tuple(query_ids)
    if len(set(wanted)) != len(wanted):
        raise InputError(f"{path}: a query id stands twice; a submission has one row for each query")
    row_of = {query_id: row for row, query_id in enumerate(ranking.query_ids)}
    best = ranking.top(MOST_IDS)
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{_HEADER}\n")
        for query_id in wanted:
            found = best.ids_of(row_of[query_id]) if query_id in row_of else []
            for photo_id in (query_id, *found):
                check_submitted_id(photo_id, path)
            file.write(f"{query_id},{' '.join(found)}\n")


def read_query_ids(path: Path) -> tuple[str, ...]:
    """Read the column `id` of a table, such as the contest's sample submission: what must be answered.

    Raises:
        DatasetError: It cannot be read, has no such column, or an id stands twice.
    """
    table = read_table(path, required=("id",))
    broken = BrokenRows(path)
    for row in table.rows:
        if not row["id"]:
            broken.add(row.line, "has no id; fill the cell or remove the row")
    broken.add_repeats((row.line, row["id"]) for row in table.rows)
    broken.raise_if_any()
    return tuple(row["id"] for row in table.rows)


def read_submission(path: Path, database_ids: Sequence[str]) -> Ranking:
    """Read a submission back as a ranking; scores are the reciprocal places.

    Args:
        path: The file.
        database_ids: (N,) ids of the database photos.

    Raises:
        DatasetError: It cannot be read, or a row is broken: a query twice, an unknown id, more than 100 ids.
    """
    table = read_table(path, required=("id", "images"))
    row_of = {photo_id: row for row, photo_id in enumerate(database_ids)}
    broken = BrokenRows(path)
    broken.add_repeats((row.line, row["id"]) for row in table.rows)
    ranks = np.full((len(table.rows), MOST_IDS), NO_ROW, np.int64)
    for number, row in enumerate(table.rows):
        found = row["images"].split()
        unknown = [photo_id for photo_id in found if photo_id not in row_of]
        if unknown:
            broken.add(row.line, f"the database has no photo {unknown[0]!r:.80}; correct the id")
        elif len(found) > MOST_IDS:
            broken.add(row.line, f"has {len(found)} ids, and {MOST_IDS} are the most; cut the row")
        else:
            ranks[number, : len(found)] = [row_of[photo_id] for photo_id in found]
    broken.raise_if_any()
    scores = np.where(ranks == NO_ROW, -np.inf, 1 / np.arange(1, MOST_IDS + 1)).astype(np.float32)
    return Ranking(tuple(row["id"] for row in table.rows), tuple(database_ids), ranks, scores)
