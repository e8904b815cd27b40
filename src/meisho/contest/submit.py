"""A submission from start to end: what `meisho submit gld-retrieval` does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meisho.contest.entry import Entry, InCollections, Reranking, make_entry, score_entry
from meisho.datasets.contest import find_contest_photos
from meisho.datasets.gldv2 import read_retrieval_solution
from meisho.describing import Describer
from meisho.evaluate.report import Report
from meisho.progress import Progress, silent
from meisho.ranking import Ranking
from meisho.submission import read_query_ids, write_submission


@dataclass(frozen=True, eq=False)
class Submitted:
    """A written submission.

    Attributes:
        entry: Its content.
        report: Its score; None if no solution was given.
    """

    entry: Entry
    report: Report | None


def submit_retrieval(
    queries: Path,
    database: Path,
    describers: Sequence[Describer],
    to: Path,
    *,
    work: Path,
    sample: Path | None = None,
    solution: Path | None = None,
    reranking: Reranking | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Submitted:
    """Describe a contest's photos, rank them, write the submission, and score it if a solution is given.

    Descriptors are kept in collections under `work`: after a kill, or with another model added, only what is
    missing is described.

    Args:
        queries: Folder of query photos.
        database: Folder of database photos.
        describers: One or more models; similarities of several models are averaged.
        to: The submission file to write.
        work: Folder of the collections.
        sample: The contest's sample submission, which lists the queries to answer in order; None answers all.
        solution: The correct answers, `retrieval_solution_v*.csv`.
        reranking: How the first answers are reranked.
        seed: Seed for the bootstrap of the score's intervals.
        progress: Called as the work advances.

    Raises:
        InputError: A folder, table or model cannot be used; tables are checked before photos are described.
    """
    photos = find_contest_photos(queries, database, query_ids=read_query_ids(sample) if sample else None)
    if solution:
        read_retrieval_solution(solution, photos.database_ids, place=str(database))
    describe = InCollections(work / "database", database, progress)
    entry = make_entry(
        photos,
        describers,
        describe_database=describe,
        describe_queries=replace(describe, folder=work / "queries", photo_root=queries),
        reranking=reranking,
        progress=progress,
    )
    write_submission(entry.ranking, to, query_ids=entry.query_ids)
    if not solution:
        return Submitted(entry, None)
    ranking = with_unread_photos(entry.ranking, photos.database_ids)
    answers = read_retrieval_solution(solution, ranking.database_ids, place=str(database))
    report = score_entry(
        ranking,
        answers,
        provenance=entry.provenance,
        seed=seed,
        warnings=entry.warnings,
        reranking=entry.reranking,
    )
    return Submitted(entry, report)


def with_unread_photos(ranking: Ranking, database_ids: Sequence[str]) -> Ranking:
    """Return a ranking over all these database photos; those that could not be read are never found."""
    known = {*ranking.database_ids}
    unread = tuple(photo_id for photo_id in database_ids if photo_id not in known)
    return replace(ranking, database_ids=ranking.database_ids + unread)
