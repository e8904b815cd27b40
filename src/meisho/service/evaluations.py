"""Evaluations: labelled sets that a service scores, kept in the collection's folder, query by query.

Each has a folder of its own: the table of labels, `report.json` as `meisho evaluate` writes it, and
`queries.json` with what each query found and missed.
"""

import csv
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from meisho.buckets import BucketPath
from meisho.datasets.base import Dataset, load_dataset
from meisho.datasets.table import BrokenRows, read_table
from meisho.describing import Describer
from meisho.documents import read_json
from meisho.errors import DatasetError, InputError, MeishoError
from meisho.evaluate.comparison import Comparison, compare_reports
from meisho.evaluate.report import Report, load_report
from meisho.extractors.restoring import restore_extractor, restore_local_extractor
from meisho.files import write_text
from meisho.ground_truth import GroundTruth
from meisho.local_describing import LocalDescriber
from meisho.photos import Photo, place_at, place_below, printable_id
from meisho.progress import Progress
from meisho.ranking import NO_ROW
from meisho.rerank.chain import build_chain
from meisho.service.notebook import now
from meisho.service.problems import RefusedError
from meisho.store.metadata import UPLOADS_FOLDER, Metadata, read_metadata

if TYPE_CHECKING:  # it imports LanceDB
    from meisho.run.evaluating import Evaluation

EVALUATIONS_FOLDER = "evaluations"
SHOWN = 10
"""Answers of each query that are kept."""

MOST_MISSED = 50
MOST_BYTES = 2**20
"""A table of twenty thousand photos has about as much; a larger one is named by its path."""

MOST_FORGOTTEN = 4
"""Described sets that are removed after one evaluation: each may be some GB."""

DESCRIBED_FOLDER = "described"
_GONE = ".gone"
_TABLE, _QUERIES, _ABOUT = "labels.csv", "queries.json", "evaluation.json"
_ID = re.compile(r"[0-9a-f]{16}")
_DESCRIBED = re.compile(r"[0-9a-f]{32}(\.gone)?")


@dataclass(frozen=True)
class About:
    """What an evaluation is.

    Attributes:
        id: Its id.
        name: What people call it.
        rerank: Rerankers, "" for none.
        begun: When it was asked for, UTC.
    """

    id: str
    name: str
    rerank: str
    begun: str


class QueryResult(TypedDict):
    """What one query found and missed.

    Attributes:
        query: Id of the photo in the collection.
        label: Its id in the labelled set.
        box: "x0,y0,x1,y1" px of the upright photo, None for the whole.
        ap: Its part of the main figure; None where it has no right answer.
        num_positives: How many right answers it has.
        answers: The first answers, without those that do not count.
        missed: Ids of right answers that come later.
        missed_ranks: Where these stand, counted from 1.
    """

    query: str
    label: str
    box: str | None
    ap: float | None
    num_positives: int
    answers: list[dict[str, object]]
    missed: list[str]
    missed_ranks: list[int]


class Evaluations:
    """The evaluations of one collection.

    Args:
        collection: The collection's directory.
    """

    def __init__(self, collection: Path) -> None:
        self._collection, self._folder = collection, collection / EVALUATIONS_FOLDER

    def prepare(self, dataset: str, *, name: str, rerank: str = "") -> About:
        """Check a labelled set and write it down, for a job to score.

        Args:
            dataset: The text of a table of photos (`file,label[,role]`), paths below the photo folder; or the
                path of a CSV file, or of a folder with one folder per label, below the photo folder.
            name: What to call it.
            rerank: Rerankers, as `--rerank` takes them.

        Raises:
            InputError: It is no labelled set, names files that are not below the photo folder, or the
                rerankers are none.
        """
        metadata = read_metadata(self._collection)
        if rerank:
            chain = build_chain(rerank, source="rerank")
            if chain.needs_local and metadata.local_provenance is None:
                raise InputError(
                    f"rerank {rerank}: needs local features, and the collection holds none; find them first"
                )
        about = About(secrets.token_hex(8), name or "evaluation", rerank, now())
        try:
            self._keep(dataset, self._folder / about.id, metadata)
        except BaseException:
            shutil.rmtree(self._folder / about.id, ignore_errors=True)
            raise
        write_text(self._folder / about.id / _ABOUT, json.dumps(asdict(about)))
        return about

    def _keep(self, dataset: str, folder: Path, metadata: Metadata) -> None:
        if not dataset.strip():
            raise InputError("dataset is empty; give the text of a table: file,label and one row per photo")
        if "\n" in dataset.strip():
            self._keep_table(dataset, folder, metadata)
        else:
            source = self._place(dataset.strip(), metadata)
            loaded = load_dataset("folder" if source.is_dir() else "csv", source)
            self._refuse_outside((*loaded.database, *loaded.queries), metadata)
            write_text(folder / "source.txt", str(source))

    def all(self) -> list[tuple[About, Report | None]]:
        """Return all evaluations, the newest first, with their figures once they are there."""
        ids = [
            path.parent.name for path in self._folder.glob(f"*/{_ABOUT}") if _ID.fullmatch(path.parent.name)
        ]
        found = [(self.about(each), self._report(each)) for each in ids]
        return sorted(found, key=lambda each: each[0].begun, reverse=True)

    def about(self, evaluation: str) -> About:
        """Return what an evaluation is.

        Raises:
            RefusedError: There is none of that id.
        """
        file = self._folder_of(evaluation) / _ABOUT
        if not file.is_file():
            raise RefusedError("not-found", f"there is no evaluation {evaluation:.80}")
        values = read_json(file, error=InputError)
        return About(*(values.text(name) for name in ("id", "name", "rerank", "begun")))

    def report(self, evaluation: str) -> Report:
        """Return the figures of an evaluation.

        Raises:
            RefusedError: There is none of that id, or it is not done.
        """
        about, report = self.about(evaluation), self._report(evaluation)
        if report is None:
            raise RefusedError(
                "not-found",
                f"the evaluation {about.name:.80} has no figures",
                remedy="wait for its job to end",
            )
        return report

    def queries(self, evaluation: str) -> list[QueryResult]:
        """Return what each query found and missed, the worst first.

        Raises:
            RefusedError: There is none of that id, or it is not done.
        """
        self.report(evaluation)
        values = read_json(self._folder_of(evaluation) / _QUERIES, error=InputError).values
        return cast("list[QueryResult]", values["queries"])

    def compare(self, one: str, other: str) -> Comparison:
        """Compare two evaluations of one labelled set by a paired test.

        Raises:
            InputError: They are of different sets.
            RefusedError: One is not there, or not done.
        """
        return compare_reports(self.report(one), self.report(other), np.random.default_rng(0))

    def compare_queries(self, one: str, other: str) -> list[tuple[str, str, float, float]]:
        """Return (photo, id in the set, score, score) of each query of two, the biggest difference first.

        Raises:
            RefusedError: One is not there, or not done.
        """
        first, second = ({query["label"]: query for query in self.queries(each)} for each in (one, other))
        both = [
            (query["query"], label, query["ap"], second[label]["ap"])
            for label, query in first.items()
            if label in second
        ]
        scored = [(photo, label, a, b) for photo, label, a, b in both if a is not None and b is not None]
        return sorted(scored, key=lambda each: -abs(each[3] - each[2]))

    def _report(self, evaluation: str) -> Report | None:
        folder = self._folder_of(evaluation)
        return load_report(folder) if (folder / _QUERIES).is_file() else None

    def _folder_of(self, evaluation: str) -> Path:
        if not _ID.fullmatch(evaluation):
            raise RefusedError("not-found", f"there is no evaluation {evaluation:.80}")
        return self._folder / evaluation

    def _keep_table(self, text: str, folder: Path, metadata: Metadata) -> None:
        """Write a table with absolute paths, each below the photo folder; ids are the paths as given."""
        given = folder / "given.csv"
        write_text(given, text)
        try:
            table = read_table(given, required=("file", "label"))
            columns = [column for column in table.columns if column]
            broken = BrokenRows(given)
            rows = []
            for row in table.rows:
                path = self._place(row["file"], metadata)
                if not path.is_file():
                    broken.add(
                        row.line, f"no photo {row['file']!r:.200} below the photo folder; correct the path"
                    )
                found = {column: row[column] for column in columns}
                rows.append(found | {"id": row["id"] or row["file"], "file": str(path)})
            broken.raise_if_any()
            _write_table(folder / _TABLE, columns if "id" in columns else ["id", *columns], rows)
            load_dataset("csv", folder / _TABLE)
        except DatasetError as error:
            raise DatasetError(_without(folder, str(error))) from error
        finally:
            given.unlink(missing_ok=True)

    def _place(self, name: str, metadata: Metadata) -> Path:
        """Return a file by its path below the photo folder, or by its id.

        Raises:
            InputError: It lies elsewhere.
        """
        path = place_at(metadata.photo_root, name)
        if "\0" in name or not self._is_inside(path, metadata):
            raise InputError(f"{name!r:.200}: lies outside of the photo folder; give a path below it")
        return path

    def _refuse_outside(self, photos: Sequence[Photo], metadata: Metadata) -> None:
        for photo in photos:
            if not self._is_inside(photo.path, metadata):
                raise InputError(f"{photo.id!r:.200}: lies outside of the photo folder; give photos below it")

    def _is_inside(self, path: Path, metadata: Metadata) -> bool:
        places = metadata.photo_root, self._collection / UPLOADS_FOLDER
        if isinstance(path, BucketPath):
            return any(path.is_relative_to(place) for place in places)
        folders = [place for place in places if not isinstance(place, BucketPath)]
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


def run_evaluation(
    collection: Path, options: Mapping[str, object], device: str, progress: Progress
) -> dict[str, object]:
    """Score a labelled set that `Evaluations.prepare` wrote down; options: evaluation, its id."""
    evaluations, metadata = Evaluations(collection), read_metadata(collection)
    about = evaluations.about(str(options.get("evaluation", "")))
    folder = collection / EVALUATIONS_FOLDER / about.id
    dataset = replace(_load(folder), root=metadata.photo_root)  # sets of the same photos share descriptors
    chain = build_chain(about.rerank, source="rerank", device=device) if about.rerank else None
    local = None
    if chain is not None and chain.needs_local:
        if metadata.local_provenance is None:
            raise InputError(f"{collection}: holds no local features to rerank with; find them first")
        local = LocalDescriber(restore_local_extractor(metadata.local_provenance, device=device))
    from meisho.run.evaluating import evaluate_dataset

    evaluation = evaluate_dataset(
        dataset,
        Describer(restore_extractor(metadata.provenance, device=device)),
        collection / EVALUATIONS_FOLDER / DESCRIBED_FOLDER / _digest(dataset, metadata),
        local=local,
        chain=chain,
        device=device,
        progress=progress,
    )
    evaluation.report.write(folder)
    queries = {"queries": _describe_queries(evaluation, metadata.photo_root)}
    write_text(folder / _QUERIES, json.dumps(queries))  # the last: with it the evaluation is done
    with suppress(OSError):  # the evaluation is done; the next one tries again
        forget_described(collection)
    return {"message": f"{about.name}: {evaluation.report.headline.text}", "evaluation": about.id}


def forget_described(collection: Path, *, most: int = MOST_FORGOTTEN) -> int:
    """Remove described sets that no labelled set uses with the present model, while no evaluation runs.

    Args:
        collection: The collection's directory.
        most: How many at the most.

    Returns:
        How many were removed.
    """
    folder = collection / EVALUATIONS_FOLDER
    names = (path.name for path in (folder / DESCRIBED_FOLDER).glob("*"))
    unused = {name for name in names if _DESCRIBED.fullmatch(name)}
    for digest in _used_digests(folder, read_metadata(collection)):
        unused.discard(digest)
        if not unused:
            return 0
    chosen = sorted(unused)[:most]
    for name in chosen:
        gone = folder / DESCRIBED_FOLDER / f"{name.removesuffix(_GONE)}{_GONE}"
        if name != gone.name:  # a kill leaves nothing half removed by a name that may be asked for
            shutil.rmtree(gone, ignore_errors=True)
            (folder / DESCRIBED_FOLDER / name).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    return len(chosen)


def _used_digests(folder: Path, metadata: Metadata) -> Iterator[str]:
    """Yield the names of what the labelled sets would use now; one that cannot be read uses nothing."""
    for path in folder.glob(f"*/{_ABOUT}"):
        with suppress(MeishoError, OSError):
            yield _digest(_load(path.parent), metadata)


def _load(folder: Path) -> Dataset:
    table = folder / _TABLE
    if table.is_file():
        return load_dataset("csv", table)
    source = Path((folder / "source.txt").read_text("utf-8"))
    return load_dataset("folder" if source.is_dir() else "csv", source)


def _digest(dataset: Dataset, metadata: Metadata) -> str:
    """Name what was described: two sets of the same photos, described alike, share it."""
    digest = hashlib.sha256(repr((metadata.provenance, metadata.local_provenance)).encode())
    for photo in dataset.database:
        digest.update(f"\0{photo.id}\0{photo.path}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _describe_queries(evaluation: "Evaluation", photo_root: Path) -> list[QueryResult]:
    """Return what each query of the main setup found and missed, the worst first, photos by their ids."""
    report, ranking, dataset = evaluation.report, evaluation.ranking, evaluation.dataset
    setup, truth = report.headline.setup, dataset.ground_truth
    assert isinstance(truth, GroundTruth)  # as tables and folders have it
    scores = {score.query_id: score for score in report.query_scores if score.setup == setup}

    def name(photo: Photo) -> str:
        return printable_id(place_below(photo.path, photo_root))

    described: list[QueryResult] = []
    for row, query in enumerate(dataset.queries):
        score, positives, junk = scores[query.id], truth.positives[row], truth.junk[row]
        ranks = ranking.ranks[row][ranking.ranks[row] != NO_ROW]
        ranks = ranks[~np.isin(ranks, junk)]
        late = [int(place) + 1 for place in np.flatnonzero(np.isin(ranks, positives)) if place >= SHOWN]
        missed = ranks[np.array(late, np.int64) - 1].tolist() if late else []
        box = query.box
        described.append(
            {
                "query": name(query),
                "label": query.id,
                "box": f"{box.x0:g},{box.y0:g},{box.x1:g},{box.y1:g}" if box else None,
                "ap": None if np.isnan(score.average_precision) else score.average_precision,
                "num_positives": score.num_positives,
                "answers": [
                    {"id": name(dataset.database[found]), "right": bool(np.isin(found, positives))}
                    for found in ranks[:SHOWN].tolist()
                ],
                "missed": [name(dataset.database[found]) for found in missed[:MOST_MISSED]],
                "missed_ranks": late[:MOST_MISSED],
            }
        )
    return sorted(described, key=lambda each: (each["ap"] is None, each["ap"] or 0.0))


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _without(folder: Path, text: str) -> str:
    """Return a message without the folder that nobody chose."""
    return text.replace(f"{folder / 'given.csv'}", _TABLE).replace(f"{folder}{os.sep}", "")
