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


@dataclass(frozen=True)
class ContestFiles:
    """What a contest gives.

    Attributes:
        queries: Folder of query photos.
        database: Folder of database photos.
        sample: The contest's sample submission, which lists the queries to answer in order; None answers all.
        solution: The correct answers, `retrieval_solution_v*.csv`, for a score; None where they are secret.
    """

    queries: Path
    database: Path
    sample: Path | None = None
    solution: Path | None = None


def submit_retrieval(
    files: ContestFiles,
    describers: Sequence[Describer],
    to: Path,
    *,
    work: Path,
    reranking: Reranking | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Submitted:
    """Describe a contest's photos, rank them, write the submission, and score it if a solution is given.

    Descriptors are kept in collections under `work`: after a kill, or with another model added, only what is
    missing is described.

    Args:
        files: What the contest gives.
        describers: One or more models; similarities of several models are averaged.
        to: The submission file to write.
        work: Folder of the collections.
        reranking: How the first answers are reranked.
        seed: Seed for the bootstrap of the score's intervals.
        progress: Called as the work advances.

    Raises:
        InputError: A folder, table or model cannot be used; tables are checked before photos are described.
    """
    wanted = read_query_ids(files.sample) if files.sample else None
    photos, place = find_contest_photos(files.queries, files.database, query_ids=wanted), str(files.database)
    if files.solution:
        read_retrieval_solution(files.solution, photos.database_ids, place=place)
    describe = InCollections(work / "database", files.database, progress)
    entry = make_entry(
        photos,
        describers,
        describe_database=describe,
        describe_queries=replace(describe, folder=work / "queries", photo_root=files.queries),
        reranking=reranking,
        progress=progress,
    )
    write_submission(entry.ranking, to, query_ids=entry.query_ids)
    if not files.solution:
        return Submitted(entry, None)
    ranking = with_unread_photos(entry.ranking, photos.database_ids)
    answers = read_retrieval_solution(files.solution, ranking.database_ids, place=place)
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
    return replace(ranking, database_ids=(*ranking.database_ids, *unread))
