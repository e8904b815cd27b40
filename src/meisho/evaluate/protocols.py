"""Protocols by name, and the front door of evaluation: ranking x ground truth -> report."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from meisho.descriptors import Provenance
from meisho.errors import InputError
from meisho.evaluate.average_precision import check_fit
from meisho.evaluate.faults import describe_protocol_faults, describe_ranking_faults, describe_score_faults
from meisho.evaluate.intervals import bootstrap_interval
from meisho.evaluate.report import Figure, QueryScore, Report
from meisho.evaluate.scores import MetricScores, SetupScores, mean_score
from meisho.ground_truth import GradedGroundTruth, GroundTruth, Rows
from meisho.ranking import Ranking
from meisho.tables import load_named

PROTOCOLS: dict[str, str] = {
    "revisitop": "meisho.evaluate.revisitop:score_revisitop",
    "oxford5k": "meisho.evaluate.oxford5k:score_oxford5k",
    "gldv2": "meisho.evaluate.gldv2:score_gldv2",
    "ukbench": "meisho.evaluate.ukbench:score_ukbench",
    "retrieval": "meisho.evaluate.revisitop:score_retrieval",
}
"""Name -> "module:function"; a new protocol is one file beside this one and one line here."""

_IDS_AT_ONCE = 4_096

ScoreFunction = Callable[[Ranking, GroundTruth | GradedGroundTruth], tuple[SetupScores, ...]]


def evaluate_ranking(
    ranking: Ranking,
    ground_truth: GroundTruth | GradedGroundTruth,
    *,
    protocol: str = "retrieval",
    dataset: str = "own data",
    queries_cropped: bool = False,
    provenance: Provenance | None = None,
    rng: np.random.Generator | None = None,
    warnings: Sequence[str] = (),
) -> Report:
    """Score a ranking by one protocol.

    Args:
        ranking: Q ranked lists over N database photos.
        ground_truth: The right answers among the same N photos for the same Q queries. Where its queries
            are in groups, each group is reported as a setup of its own beside the whole.
        protocol: A name in `PROTOCOLS`; "retrieval" is the one for your own data.
        dataset: The data set's name, for the report.
        queries_cropped: Whether queries that have a box were cropped to it, for the report.
        provenance: Where the descriptors came from, for the report; "unknown" when not given.
        rng: Where the bootstrap's resamples come from; None: seed 0, so that the report is the same every
            time.
        warnings: Faults found before, such as those of `meisho.descriptors.describe_faults`; they come first,
            then those of the ranking itself; each is told once.

    Raises:
        InputError: No protocol has that name, it does not take this kind of ground truth, or ranking and
            ground truth do not belong together.
        DatasetError: The ground truth names a photo outside the database.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    _check_inputs(ranking, ground_truth)
    whole = find_protocol(protocol)(ranking, ground_truth)
    setups = tuple(part for scores in whole for part in (scores, *_groups_of(scores, ground_truth)))
    figures = [[_figure(s.setup, metric, rng) for metric in s.metrics] for s in setups]
    faults = (
        *dict.fromkeys((*warnings, *ranking.warnings)),
        *describe_ranking_faults(ranking),
        *describe_protocol_faults(ranking, ground_truth, protocol),
        *describe_score_faults(setups, tuple(of_setup[0].low for of_setup in figures)),
    )
    return Report(
        dataset=dataset,
        protocol=protocol,
        provenance=provenance or Provenance("unknown"),
        ground_truth_sha256=ground_truth.sha256 or digest_of(ranking, ground_truth),
        queries_cropped=queries_cropped,
        num_database=len(ranking.database_ids),
        num_queries=len(ranking.query_ids),
        figures=tuple(figure for of_setup in figures for figure in of_setup),
        query_scores=tuple(q for s in setups for q in _query_scores(s, ranking.query_ids)),
        warnings=faults,
    )


def find_protocol(name: str) -> ScoreFunction:
    """Return the scoring function of a protocol.

    Raises:
        InputError: No protocol has that name.
    """
    found: ScoreFunction = load_named(name, PROTOCOLS, what="protocol")
    return found


def digest_of(ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth) -> str:
    """Digest of a ground truth's content with the ids that its rows stand for, for one that has no file."""
    digest = hashlib.sha256()
    for ids in (ranking.query_ids, ranking.database_ids):
        for start in range(0, len(ids), _IDS_AT_ONCE):
            digest.update(repr(ids[start : start + _IDS_AT_ONCE]).encode("utf-8", "surrogateescape"))
    for group in row_groups(ground_truth):
        for rows in group:
            digest.update(np.concatenate([[len(rows)], rows]).astype("<i8").tobytes())
    return digest.hexdigest()


def row_groups(ground_truth: GroundTruth | GradedGroundTruth) -> tuple[Rows, ...]:
    """Return the rows of each kind of answer: easy, hard and junk, or positives and junk."""
    if isinstance(ground_truth, GradedGroundTruth):
        return ground_truth.easy, ground_truth.hard, ground_truth.junk
    return ground_truth.positives, ground_truth.junk


def _check_inputs(ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth) -> None:
    if not isinstance(ranking, Ranking):
        raise InputError(
            f"evaluation: the ranking is of the type {type(ranking).__name__}; make one by "
            "meisho.Ranking.from_ranks(query_ids, database_ids, ranks)"
        )
    if not isinstance(ground_truth, GroundTruth | GradedGroundTruth):
        raise InputError(
            f"evaluation: the ground truth is of the type {type(ground_truth).__name__}; give "
            "dataset.ground_truth, or meisho.GroundTruth.from_labels(query_labels, database_labels)"
        )
    if not ranking.query_ids:
        raise InputError("evaluation: the ranking holds no queries, so there is nothing to score")
    if isinstance(ground_truth, GradedGroundTruth):
        ground_truth = ground_truth.at("medium")  # easy, hard and junk together
    check_fit(ranking, ground_truth)


def _groups_of(scores: SetupScores, ground_truth: GroundTruth | GradedGroundTruth) -> tuple[SetupScores, ...]:
    groups = () if isinstance(ground_truth, GradedGroundTruth) else ground_truth.groups
    return tuple(
        scores.restrict(group, np.flatnonzero(np.array(groups) == group)) for group in dict.fromkeys(groups)
    )


def _figure(setup: str, metric: MetricScores, rng: np.random.Generator) -> Figure:
    interval = bootstrap_interval(metric.values, rng)
    num_queries = int(np.count_nonzero(~np.isnan(metric.values)))
    return Figure(metric.name, setup, mean_score(metric.values), interval.low, interval.high, num_queries)


def _query_scores(scores: SetupScores, query_ids: tuple[str, ...]) -> list[QueryScore]:
    rows = zip(scores.query_rows, scores.main.values, scores.num_positives, strict=True)
    return [QueryScore(query_ids[q], scores.setup, float(ap), int(n)) for q, ap, n in rows]
