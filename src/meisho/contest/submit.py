"""A submission from start to end: what `meisho submit gld-retrieval` does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meisho.contest.entry import Entry, InCollections, Reranking, make_entry, score_entry
from meisho.datasets.contest import find_contest_photos
from meisho.datasets.gldv2 import read_retrieval_solution
from meisho.evaluate.report import Report
from meisho.extractors.base import GlobalExtractor
from meisho.progress import Progress, silent
from meisho.ranking import Ranking
from meisho.submission import read_query_ids, write_submission


@dataclass(frozen=True, eq=False)
class Submitted:
    """A submission that was written.

    Attributes:
        entry: What is in it.
        report: Its score, where the right answers were given.
    """

    entry: Entry
    report: Report | None


def submit_retrieval(
    queries: Path,
    database: Path,
    extractors: Sequence[GlobalExtractor],
    to: Path,
    *,
    work: Path,
    sample: Path | None = None,
    solution: Path | None = None,
    reranking: Reranking | None = None,
    seed: int = 0,
    batch_size: int = 16,
    num_workers: int | None = None,
    progress: Progress = silent,
) -> Submitted:
    """Describe the photos of a contest, rank them, write the submission, and score it where that can be done.

    Descriptors stay in collections below `work`: after a kill, or with a further model, only what is missing
    is described.

    Args:
        queries: The folder of query photos.
        database: The folder of photos that are searched.
        extractors: One or more models; the similarities of several are averaged.
        to: The submission.
        work: The folder of the collections.
        sample: The contest's sample submission: the queries to answer, in order. None: every query photo.
        solution: The right answers, `retrieval_solution_v*.csv`.
        reranking: How the first answers are put into a better order.
        seed: Of the bootstrap of the score's intervals.
        batch_size: Photos per call of an extractor.
        num_workers: Processes that decode; None chooses.
        progress: Called as work is done.

    Raises:
        InputError: A folder, table or model cannot be used; tables are looked at before photos are described.
    """
    photos = find_contest_photos(queries, database, query_ids=read_query_ids(sample) if sample else None)
    if solution:
        read_retrieval_solution(solution, photos.database_ids, place=str(database))
    describe = InCollections(work / "database", database, batch_size, num_workers, progress)
    entry = make_entry(
        photos,
        extractors,
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
    """Return a ranking over these database photos too: those that could not be read are never found."""
    known = {*ranking.database_ids}
    unread = tuple(photo_id for photo_id in database_ids if photo_id not in known)
    return replace(ranking, database_ids=ranking.database_ids + unread)
