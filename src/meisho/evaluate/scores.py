"""Scores of one setup, query by query: what every protocol hands to the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float64Array, Int64Array, read_only
from meisho.errors import InputError

Score = Callable[[Int64Array, int], float]
"""(positions of the positives found, number of positives) -> score of one query, NaN to leave it out."""


@dataclass(frozen=True, eq=False)
class MetricScores:
    """One metric of q queries.

    Attributes:
        name: The metric with its protocol, for example "revisitop_map".
        values: (q,) float64; NaN where the query is left out of the mean.
    """

    name: str
    values: Float64Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(self.values, np.float64))


@dataclass(frozen=True, eq=False)
class SetupScores:
    """All metrics of the q queries of one setup.

    Attributes:
        setup: "easy", "medium", "hard", "all", or the name of a group of queries such as "private".
        query_rows: (q,) int64, rows of the queries in the ranking.
        num_positives: (q,) int64.
        metrics: The main metric first.
        chance: (q,) float64, what a random ranking is expected to score in the main metric; NaN as there.

    Raises:
        InputError: The lengths differ, or there is no metric.
    """

    setup: str
    query_rows: Int64Array
    num_positives: Int64Array
    metrics: tuple[MetricScores, ...]
    chance: Float64Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "query_rows", read_only(self.query_rows, np.int64))
        object.__setattr__(self, "num_positives", read_only(self.num_positives, np.int64))
        object.__setattr__(self, "chance", read_only(self.chance, np.float64))
        lengths = {len(self.query_rows), len(self.num_positives), len(self.chance)}
        if not self.metrics or lengths != {len(m.values) for m in self.metrics}:
            raise InputError(f"scores of setup {self.setup!r}: every metric needs one value per query")

    @property
    def main(self) -> MetricScores:
        """The metric that stands for the setup."""
        return self.metrics[0]

    def restrict(self, setup: str, rows: Int64Array) -> "SetupScores":
        """Return the scores of some of the queries (`rows` into these) as a setup of its own."""
        return SetupScores(
            setup,
            self.query_rows[rows],
            self.num_positives[rows],
            tuple(MetricScores(m.name, m.values[rows]) for m in self.metrics),
            self.chance[rows],
        )


def score_queries(
    score: Score,
    positions: Sequence[Int64Array],
    positives: Sequence[Int64Array],
) -> Float64Array:
    """Return (Q,) float64: `score(positions, num_positives)` of each query."""
    return np.array([score(p, len(rows)) for p, rows in zip(positions, positives, strict=True)], np.float64)


def count_positives(positives: Sequence[Int64Array]) -> Int64Array:
    """Return (Q,) int64: the number of positives of each query."""
    return np.array([len(rows) for rows in positives], np.int64)


def mean_score(values: Float64Array) -> float:
    """Mean over the queries that count (NaN ones are left out); NaN where none does."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else float("nan")
