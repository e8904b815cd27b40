"""Report: the figures of one run with all that is needed to read them, and its file form.

Every figure carries its protocol in the name of the metric, its 95 % interval and the number of queries
behind it; the report says which ground truth was used, whether the queries were cropped, and what is
doubtful.
"""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import Any, Self

from meisho.config import build
from meisho.descriptors import Provenance
from meisho.documents import Fields, one_line, parse_json, read_json
from meisho.errors import InputError
from meisho.evaluate.report_table import ReportTable
from meisho.files import replacing, write_text
from meisho.outputs import QUERY_SCORES, REPORT, check_outputs
from meisho.texts import count

REPORT_FILE = "report.json"
PER_QUERY_FILE = "per_query.csv"
FORMAT = 1
HEADLINE_SETUPS = ("medium", "private")
"""The setup whose main figure stands for a run: Medium [Radenović et al. 2018], the private part of GLDv2."""
_ERRORS = "surrogateescape"  # an id that comes from a file name may hold bytes that are not UTF-8
_NOT_SHARES = frozenset({"ukbench_ns"})


def printed_factor(metric: str) -> int:
    """Return what a metric is multiplied by when printed: 100 (per cent), or 1 for the N-S score."""
    return 1 if metric in _NOT_SHARES else 100


@dataclass(frozen=True)
class Figure:
    """One number of a report.

    Attributes:
        metric: Its name with the protocol, for example "revisitop_map".
        setup: "easy", "medium", "hard", "all", or a group of queries such as "private".
        value: A share from 0 to 1; `ukbench_ns` goes from 0 to 4. NaN where no query counts.
        low: Low end of the bootstrap 95 % interval over queries.
        high: High end.
        num_queries: Queries that the mean is over; those without positives are not among them.
    """

    metric: str
    setup: str
    value: float
    low: float
    high: float
    num_queries: int

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, _one_nan(getattr(self, name)))

    @property
    def factor(self) -> int:
        """What the value is multiplied by when printed."""
        return printed_factor(self.metric)

    @property
    def text(self) -> str:
        """The value and its interval as printed: "43.66 [40.1, 47.2]", in per cent but for the N-S score."""
        digits = 1 if self.factor == 100 else 2
        low, high = self.low * self.factor, self.high * self.factor
        return f"{self.value * self.factor:.2f} [{low:.{digits}f}, {high:.{digits}f}]"


@dataclass(frozen=True)
class QueryScore:
    """The score of one query in one setup.

    Attributes:
        query_id: The query.
        setup: As in `Figure`.
        average_precision: The query's part of the setup's main figure: its average precision by the report's
            protocol, 0 to 1 (under ukbench the number of photos found, 0 to 4); NaN if it has no positives.
        num_positives: Positives of the query in this setup.
    """

    query_id: str
    setup: str
    average_precision: float
    num_positives: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "average_precision", _one_nan(self.average_precision))


@dataclass(frozen=True)
class Report:
    """The result of one evaluation.

    Attributes:
        dataset: Name of the data set.
        protocol: Name of the protocol, one of `meisho.evaluate.protocols.PROTOCOLS`.
        provenance: Where the descriptors came from.
        ground_truth_sha256: Digest of the ground truth's file, or of its content where it has no file.
        queries_cropped: Whether queries that have a box were cropped to it.
        num_database: N.
        num_queries: Q, those without positives included.
        figures: All figures; in each setup the main one comes first.
        query_scores: One per query and setup, in the order of the queries.
        warnings: What is doubtful about the run, in words.
        reranking: What was done to the ranking after the search, in words; "" for nothing.
        rerank_seconds: Wall time of that, of all queries; where each setup was reranked by itself, of the
            slowest. Reports that differ in nothing else are equal.
        paper: Whose protocol was followed, in words; "" for nobody's.

    Raises:
        InputError: There are no figures.
    """

    dataset: str
    protocol: str
    provenance: Provenance
    ground_truth_sha256: str
    queries_cropped: bool
    num_database: int
    num_queries: int
    figures: tuple[Figure, ...]
    query_scores: tuple[QueryScore, ...]
    warnings: tuple[str, ...] = ()
    reranking: str = ""
    rerank_seconds: float = field(default=0.0, compare=False)
    paper: str = ""

    def __post_init__(self) -> None:
        if not self.figures:
            raise InputError(f"report of {self.dataset!r}: needs at least one figure")

    def __repr__(self) -> str:
        queries, photos = count(self.num_queries, "query"), count(self.num_database, "photo")
        main, warnings = self.headline, count(len(self.warnings), "warning")
        figure = f"{main.metric} {main.setup} {main.text}"
        return f"Report({self.dataset!r}, {queries}, {photos}, {figure}, {warnings})"

    def __str__(self) -> str:
        lines = [f"{self.dataset}: {self.conditions}", *self.methods, self.table.text]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it."""
        lines = [f"<b>{escape(self.dataset)}</b>: {escape(self.conditions)}", *map(escape, self.methods)]
        warnings = "".join(f"<p><b>warning</b>: {escape(warning)}</p>\n" for warning in self.warnings)
        return f"<p>{'<br>'.join(lines)}</p>\n{self.table.html}\n{warnings}"

    @property
    def conditions(self) -> str:
        """What was scored and how, in one line."""
        truth = self.ground_truth_sha256[:12] or "not from a file"
        return (
            f"{count(self.num_queries, 'query')}, {self.cropping}; {count(self.num_database, 'photo')}; "
            f"protocol {self.protocol}; ground truth {truth}"
        )

    @property
    def cropping(self) -> str:
        """Whether the queries were cropped, in words."""
        return "cropped where they have a box" if self.queries_cropped else "not cropped"

    @property
    def methods(self) -> tuple[str, ...]:
        """The model in one line; whose protocol was followed and the reranking, each in another."""
        lines = [f"model {self.provenance.summary}"]
        if self.paper:
            lines.insert(0, f"as {self.paper}")
        if not self.reranking:
            return tuple(lines)
        query_ms = 1000 * self.rerank_seconds / max(self.num_queries, 1)
        return *lines, f"reranked: {self.reranking}; {query_ms:.3g} ms per query"

    @property
    def table(self) -> ReportTable:
        """The figures as a table of texts."""
        setups = tuple(dict.fromkeys(figure.setup for figure in self.figures))
        texts = {(figure.metric, figure.setup): figure.text for figure in self.figures}
        counts = tuple(next(f.num_queries for f in self.figures if f.setup == s) for s in setups)
        rows = tuple(
            (metric, tuple(texts.get((metric, setup), "") for setup in setups))
            for metric in dict.fromkeys(figure.metric for figure in self.figures)
        )
        return ReportTable(setups, rows, counts)

    @property
    def headline(self) -> Figure:
        """The figure that stands for the run: the main one of Medium or the private part, else the first."""
        ranked = [f for setup in HEADLINE_SETUPS for f in self.figures if f.setup == setup]
        return [*ranked, *self.figures][0]

    def figure(self, metric: str, setup: str) -> Figure:
        """Return one figure by its names.

        Raises:
            InputError: The report has no such figure.
        """
        for figure in self.figures:
            if (figure.metric, figure.setup) == (metric, setup):
                return figure
        known = ", ".join(f"{f.metric} {f.setup}" for f in self.figures)
        raise InputError(f"report of {self.dataset!r} has no figure {metric} {setup}; it has: {known}")

    def sentence(self, figure: Figure) -> str:
        """Say one figure in one line with all that is needed to read it."""
        truth = f"{self.ground_truth_sha256[:8]}…" if self.ground_truth_sha256 else "of unknown origin"
        return (
            f"{figure.metric} {figure.setup} {figure.text}, {count(figure.num_queries, 'query')} "
            f"{self.cropping}, ground truth {truth}"
        )

    def save(self, directory: str | Path) -> Path:
        """Write `report.json` (the whole report) and `per_query.csv` (its query scores, for other programs).

        Each file is written under a temporary name and then renamed.

        Returns:
            The path of `report.json`.

        Raises:
            InputError: One of them is there, and is not of an earlier report.
        """
        directory = Path(directory)
        check_outputs(directory, {PER_QUERY_FILE: QUERY_SCORES, REPORT_FILE: REPORT})
        return self.write(directory)

    def write(self, directory: Path) -> Path:
        """Write what `save` does into a folder of our own, in place of whatever is there."""
        _write_query_scores(directory / PER_QUERY_FILE, self.query_scores)
        write_text(directory / REPORT_FILE, self.to_json(), errors=_ERRORS)
        return directory / REPORT_FILE

    def to_json(self) -> str:
        """Return one JSON object; numbers keep every bit, NaN becomes null."""
        return json.dumps({"format": FORMAT, **_without_nan(asdict(self))}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: It is not JSON, or not of the form that this version writes.
        """
        return cls._read(parse_json(text, source="a report", error=InputError))

    @classmethod
    def _read(cls, document: Fields) -> Self:
        if document.values.get("format") != FORMAT:
            document.fail(f"not a report of format {FORMAT}")
        values = {name: value for name, value in document.values.items() if name != "format"}
        for name in ("figures", "query_scores"):
            values[name] = [_with_nan(part.values) for part in document.tables(name)]
        Provenance.read(document.table("provenance"))
        return build(replace(document, values=values), cls)


def load_report(path: str | Path) -> Report:
    """Read a report that `Report.save` wrote.

    Args:
        path: Its directory, or the `report.json` in it.

    Raises:
        InputError: There is no report, or it cannot be read.
    """
    path = Path(path)
    file = path / REPORT_FILE if path.is_dir() else path
    try:
        document = read_json(file, error=InputError, advice="evaluate again")
        return Report._read(document)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{file}: not a report of this version of meisho ({one_line(error)}); evaluate again"
        ) from error


def _one_nan(value: float) -> float:
    """Return `value` as a float, every NaN as the same object, so that equal reports compare equal."""
    return math.nan if math.isnan(value) else float(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(record: Mapping[str, object]) -> dict[str, object]:
    return {key: math.nan if item is None else item for key, item in record.items()}


def _write_query_scores(path: Path, scores: tuple[QueryScore, ...]) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8", errors=_ERRORS, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f.name for f in fields(QueryScore)])
        for s in scores:
            precision = "" if math.isnan(s.average_precision) else repr(s.average_precision)
            writer.writerow([s.query_id, s.setup, precision, s.num_positives])
