"""Comparison of two runs: are the differences more than the luck of these queries?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from meisho.errors import InputError
from meisho.evaluate.intervals import paired_test
from meisho.evaluate.report import Report, printed_factor

_Key = tuple[str, str]


@dataclass(frozen=True)
class SetupComparison:
    """Two runs in one setup.

    Attributes:
        metric: The main metric of the setup, which is compared.
        setup: The setup.
        first: Value of the first run.
        second: Value of the second.
        difference: second - first.
        low: Low end of the difference's bootstrap 95 % interval.
        high: High end.
        p_value: Two-sided, of the sign-flip permutation test.
        num_queries: Queries that both runs score.
    """

    metric: str
    setup: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    num_queries: int

    @property
    def sentence(self) -> str:
        """One line: both values, the difference with its interval, the p value, the number of queries."""
        factor = printed_factor(self.metric)
        first, second, difference, low, high = (
            x * factor for x in (self.first, self.second, self.difference, self.low, self.high)
        )
        return (
            f"{self.metric} {self.setup} {first:.2f} → {second:.2f}: {difference:+.2f} "
            f"[{low:+.2f}, {high:+.2f}], p = {self.p_value:.4f}, {self.num_queries} queries"
        )


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same data set, ground truth and protocol.

    Attributes:
        dataset: Name of the data set.
        protocol: Name of the protocol.
        setups: One comparison per setup.
        differences: In what the two runs differ, as "option: first / second"; empty when in nothing.
    """

    dataset: str
    protocol: str
    setups: tuple[SetupComparison, ...]
    differences: tuple[str, ...]

    def __iter__(self) -> Iterator[SetupComparison]:
        """Iterate over the setups."""
        return iter(self.setups)


def compare_reports(first: Report, second: Report, rng: np.random.Generator) -> Comparison:
    """Compare two runs, query by query, by a sign-flip permutation test of their average precisions.

    Args:
        first: One run.
        second: The other; differences are second - first.
        rng: Where resamples and sign flips come from.

    Raises:
        InputError: The runs are not on the same data set, ground truth, protocol and queries.
    """
    _check_comparable(first, second)
    keys = [(q.query_id, q.setup) for q in first.query_scores]
    scores = _precision_by_key(first), _precision_by_key(second)
    setups = tuple(
        _compare_setup(first, second, setup, [k for k in keys if k[1] == setup], scores, rng)
        for setup in dict.fromkeys(setup for _, setup in keys)
    )
    return Comparison(first.dataset, first.protocol, setups, _differences(first, second))


def _check_comparable(first: Report, second: Report) -> None:
    for what, name in {
        "data sets": "dataset",
        "protocols": "protocol",
        "ground truths": "ground_truth_sha256",
        "numbers of database photos": "num_database",
    }.items():
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise InputError(
                f"the runs have different {what}: {one!r} and {other!r}; they cannot be compared"
            )
    unmatched = _precision_by_key(first).keys() ^ _precision_by_key(second).keys()
    if unmatched:
        query_id, setup = min(unmatched)
        raise InputError(
            f"the runs have different queries: {len(unmatched)} are scored in one only, the first is "
            f"{query_id!r} ({setup}); they cannot be compared"
        )


def _compare_setup(
    first: Report,
    second: Report,
    setup: str,
    keys: list[_Key],
    scores: tuple[dict[_Key, float], dict[_Key, float]],
    rng: np.random.Generator,
) -> SetupComparison:
    one, other = (next(f for f in report.figures if f.setup == setup) for report in (first, second))
    values = [np.array([of_run[key] for key in keys], np.float64) for of_run in scores]
    test = paired_test(values[0], values[1], rng)
    return SetupComparison(
        metric=one.metric,
        setup=setup,
        first=one.value,
        second=other.value,
        difference=test.difference,
        low=test.low,
        high=test.high,
        p_value=test.p_value,
        num_queries=test.num_pairs,
    )


def _precision_by_key(report: Report) -> dict[_Key, float]:
    return {(q.query_id, q.setup): q.average_precision for q in report.query_scores}


def _differences(first: Report, second: Report) -> tuple[str, ...]:
    cropped = [
        f"queries_cropped: {first.queries_cropped} / {second.queries_cropped}"
        for _ in range(first.queries_cropped != second.queries_cropped)
    ]
    reranking = [
        f"reranking: {first.reranking or 'none'} / {second.reranking or 'none'}"
        for _ in range(first.reranking != second.reranking)
    ]
    papers = [
        f"as: {first.paper or 'none'} / {second.paper or 'none'}" for _ in range(first.paper != second.paper)
    ]
    return (*first.provenance.differences(second.provenance), *cropped, *reranking, *papers)
