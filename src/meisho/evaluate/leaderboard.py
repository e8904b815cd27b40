"""Leaderboard: the figures of models on data sets by chains, compared with one row, beside their costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import numpy as np

from meisho.errors import InputError
from meisho.evaluate.comparison import SetupComparison, compare_reports
from meisho.evaluate.leaderboard_settings import BaselineEntry
from meisho.evaluate.report import Report


@dataclass(frozen=True)
class Costs:
    """What a row takes.

    Attributes:
        describe_ms: Wall time to read and describe one query alone, the median of a few.
        search_ms: Wall time of the search per query, all queries at once, the whole database ranked.
        rerank_ms: Wall time of the chain per query.
        once_seconds: Wall time of what the chain does for the database once.
        bytes_per_photo: Bytes of a photo's descriptor, and of what the chain keeps beside it.
    """

    describe_ms: float = 0.0
    search_ms: float = 0.0
    rerank_ms: float = 0.0
    once_seconds: float = 0.0
    bytes_per_photo: float = 0.0

    @property
    def query_ms(self) -> float:
        """Wall time of one query from its file to its answer."""
        return self.describe_ms + self.search_ms + self.rerank_ms


@dataclass(frozen=True)
class Cell:
    """One model on one data set by one chain.

    Attributes:
        dataset: Name of the data set in the leaderboard.
        model: Name of the model.
        chain: Name of the chain.
        report: Its figures; None where it failed.
        costs: What it takes.
        failure: Why it failed, in one line; "" where it did not.
        folder: Folder of its report, below that of the leaderboard; "" where it failed.
    """

    dataset: str
    model: str
    chain: str
    report: Report | None
    costs: Costs = Costs()
    failure: str = ""
    folder: str = ""

    @property
    def names(self) -> str:
        """Its names in one line, for messages."""
        return f"{self.model} on {self.dataset} by {self.chain}"


@dataclass(frozen=True)
class Row:
    """A cell among the others of its data set.

    Attributes:
        cell: The cell.
        comparison: The baseline's row (first) and this one (second), in the setup of the headline figure;
            None for the baseline itself, and where either failed.
        is_baseline: Whether it is what the others are compared with.
        is_best: Whether no other row of the data set has a higher headline figure.
    """

    cell: Cell
    comparison: SetupComparison | None = None
    is_baseline: bool = False
    is_best: bool = False


@dataclass(frozen=True)
class Leaderboard:
    """Rows of one or several data sets.

    Attributes:
        rows: In the order of the settings: data sets, then models, then chains.
        baseline: Names of the model and the chain that the others are compared with.
        seed: What seeded the paired tests.
    """

    rows: tuple[Row, ...]
    baseline: BaselineEntry
    seed: int = 0

    @classmethod
    def of(cls, cells: Iterable[Cell], baseline: BaselineEntry, *, seed: int = 0) -> Self:
        """Compare cells, those of a data set in a row, with the baseline's cell of the same data set.

        Raises:
            InputError: There are no cells.
        """
        rows: list[Row] = []
        for _, group in groupby(cells, key=lambda cell: cell.dataset):
            rows += _compare(list(group), baseline, seed)
        if not rows:
            raise InputError("a leaderboard needs at least one cell")
        return cls(tuple(rows), baseline, seed)

    @property
    def datasets(self) -> tuple[tuple[Row, ...], ...]:
        """The rows of each data set."""
        return tuple(tuple(group) for _, group in groupby(self.rows, key=lambda row: row.cell.dataset))

    @property
    def failed(self) -> tuple[Cell, ...]:
        """The cells that failed."""
        return tuple(row.cell for row in self.rows if row.cell.report is None)


def _compare(cells: Sequence[Cell], baseline: BaselineEntry, seed: int) -> list[Row]:
    names = (baseline.model, baseline.chain)
    first = next((cell.report for cell in cells if (cell.model, cell.chain) == names), None)
    values = [cell.report.headline.value for cell in cells if cell.report is not None]
    best = max((value for value in values if value == value), default=None)  # NaN equals nothing
    rows = []
    for cell in cells:
        is_baseline = (cell.model, cell.chain) == names
        compared = None if is_baseline else _compare_reports(first, cell.report, seed)
        is_best = cell.report is not None and cell.report.headline.value == best
        rows.append(Row(cell, compared, is_baseline, is_best))
    return rows


def _compare_reports(first: Report | None, second: Report | None, seed: int) -> SetupComparison | None:
    """Compare as `meisho evaluate --compare` does, and return the setup of the headline figure."""
    if first is None or second is None:
        return None
    comparison = compare_reports(first, second, np.random.default_rng(seed))
    return next(setup for setup in comparison if setup.setup == first.headline.setup)
