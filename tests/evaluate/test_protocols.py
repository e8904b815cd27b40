import tracemalloc

import numpy as np
import pytest

import meisho
from meisho.descriptors import Provenance
from meisho.errors import DatasetError, InputError
from meisho.evaluate.protocols import PROTOCOLS, evaluate_ranking, find_protocol
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.ranking import Ranking

from .builders import names, ranking_of

PROVENANCE = Provenance.from_options("timm_gem", {"max_side_px": 384}, "ab" * 32)


def evaluate(ranking, truth, protocol="retrieval", **options):
    return evaluate_ranking(
        ranking,
        truth,
        protocol=protocol,
        dataset="toy",
        queries_cropped=False,
        provenance=PROVENANCE,
        **options,
    )


@pytest.fixture
def ranking():
    rng = np.random.default_rng(5)
    return Ranking.from_scores(names("q", 12), names("d", 40), rng.random((12, 40)))


@pytest.fixture
def truth():
    return GroundTruth([[q, q + 12, q + 24, 36] for q in range(12)], [[39]] * 12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_scores_and_names_itself(ranking, truth, protocol):
    report = evaluate(ranking, truth, protocol)
    assert report.protocol == protocol
    assert report.num_queries == 12
    assert report.num_database == 40
    assert report.headline == report.figures[0]
    metric = {"retrieval": "revisitop_map", "gldv2": "gldv2_map_at_100", "ukbench": "ukbench_ns"}
    assert report.headline.metric == metric.get(protocol, f"{protocol}_map")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_query_scores_average_to_the_main_figure_of_their_setup(ranking, truth, protocol):
    grouped = GroundTruth(truth.positives, truth.junk, groups=("public", "private", "private") * 4)
    report = evaluate(ranking, grouped, protocol)
    assert {q.setup for q in report.query_scores} == {"all", "public", "private"}
    for setup in ("all", "public", "private"):
        main = next(f for f in report.figures if f.setup == setup)
        values = [q.average_precision for q in report.query_scores if q.setup == setup]
        assert main.value == pytest.approx(np.mean(values), abs=1e-12)
        assert main.num_queries == len(values)
        assert main.low <= main.value <= main.high
    assert report.headline.setup == "private"


def test_names_of_the_figures_of_own_data(ranking, truth):
    assert [(f.metric, f.setup) for f in evaluate(ranking, truth).figures] == [
        ("revisitop_map", "all"),
        ("revisitop_mp_at_1", "all"),
        ("revisitop_mp_at_5", "all"),
        ("revisitop_mp_at_10", "all"),
        ("recall_at_1", "all"),
        ("recall_at_5", "all"),
        ("recall_at_10", "all"),
    ]


def test_graded_ground_truth_gives_three_setups(ranking):
    graded = GradedGroundTruth([[0]] * 12, [[1]] * 12, [[2]] * 12)
    assert {f.setup for f in evaluate(ranking, graded, "revisitop").figures} == {"easy", "medium", "hard"}
    assert {f.setup for f in evaluate(ranking, graded, "retrieval").figures} == {"easy", "medium", "hard"}


@pytest.mark.parametrize("protocol", ["oxford5k", "gldv2", "ukbench"])
def test_graded_ground_truth_is_refused_where_it_means_nothing(ranking, protocol):
    graded = GradedGroundTruth([[0]] * 12, [[1]] * 12, [[2]] * 12)
    with pytest.raises(InputError, match=f"protocol {protocol} needs positives"):
        evaluate(ranking, graded, protocol)


def test_an_unknown_protocol_names_the_known_ones():
    with pytest.raises(
        InputError,
        match="no protocol is called 'map'; the nearest is 'revisitop'",
    ):
        find_protocol("map")


def test_no_queries_are_nothing_to_score():
    with pytest.raises(InputError, match="holds no queries"):
        evaluate(Ranking((), names("d", 3), np.empty((0, 3)), np.empty((0, 3))), GroundTruth([], []))


def test_a_foreign_ground_truth_is_refused(ranking):
    with pytest.raises(InputError, match="12 queries but the ground truth 1"):
        evaluate(ranking, GroundTruth([[0]], [[]]))
    with pytest.raises(DatasetError, match="outside the 40 database"):
        evaluate(ranking, GroundTruth([[40]] * 12, [[]] * 12))


def test_the_report_is_the_same_every_time_and_follows_the_generator(ranking, truth):
    first = evaluate(ranking, truth)
    assert first == evaluate(ranking, truth)
    other = evaluate(ranking, truth, rng=np.random.default_rng(1))
    assert other.headline.value == first.headline.value
    assert other.headline.low != first.headline.low


def test_queries_without_positives_are_left_out_and_counted(ranking, truth):
    positives = [[], *truth.positives[1:]]
    report = evaluate(ranking, GroundTruth(positives, truth.junk))
    assert report.headline.num_queries == 11
    assert report.num_queries == 12
    assert np.isnan(report.query_scores[0].average_precision)
    assert report.query_scores[0].num_positives == 0


def test_a_set_without_any_positives_is_called_out(ranking):
    report = evaluate(ranking, GroundTruth([[]] * 12, [[]] * 12))
    assert np.isnan(report.headline.value)
    assert any("no query has positives" in warning for warning in report.warnings)


def test_warnings_found_before_come_first(ranking, truth):
    assert evaluate(ranking, truth, warnings=["descriptors hold NaN"]).warnings[0] == "descriptors hold NaN"


def test_the_digest_is_that_of_the_file_or_else_of_the_content(ranking, truth):
    from_file = GroundTruth(truth.positives, truth.junk, sha256="ff" * 32)
    assert evaluate(ranking, from_file).ground_truth_sha256 == "ff" * 32
    digest = evaluate(ranking, truth).ground_truth_sha256
    assert len(digest) == 64
    assert digest == evaluate(ranking.top(5), truth).ground_truth_sha256
    moved = GroundTruth(truth.junk, truth.positives)
    assert digest != evaluate(ranking, moved).ground_truth_sha256
    renamed = Ranking(ranking.query_ids, names("x", 40), ranking.ranks, ranking.scores)
    assert digest != evaluate(renamed, truth).ground_truth_sha256


def test_memory_does_not_grow_with_the_number_of_queries():
    num_database, num_queries = 200_000, 20
    rng = np.random.default_rng(0)
    ranking = ranking_of([rng.permutation(num_database) for _ in range(num_queries)])
    labels = rng.permutation(num_database)[:300]
    graded = GradedGroundTruth(*([part] * num_queries for part in np.split(labels, 3)))
    tracemalloc.start()
    try:
        evaluate(ranking, graded, "revisitop")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    one_list = num_database * 8
    assert peak < 2 * one_list
    assert ranking.ranks.nbytes == num_queries * one_list


def test_foreign_ranks_and_labels_are_a_report_in_three_lines():
    ranks, query_labels, database_labels = (
        np.array([[0, 2, 1], [1, 0, 2]]),
        ["gate", "tower"],
        ["gate", "tower", "gate"],
    )
    truth = meisho.GroundTruth.from_labels(query_labels, database_labels)
    ranking = meisho.Ranking.from_ranks(range(2), range(3), ranks)
    report = meisho.evaluate_ranking(ranking, truth)
    assert report.headline.value == 1
    assert (report.dataset, report.protocol, report.provenance.extractor) == (
        "own data",
        "retrieval",
        "unknown",
    )


def test_what_is_no_ranking_or_no_ground_truth_is_refused_with_what_to_do(ranking, truth):
    with pytest.raises(InputError, match=r"ranking is of the type ndarray; .*Ranking\.from_ranks"):
        evaluate_ranking(ranking.ranks, truth)
    with pytest.raises(InputError, match=r"ground truth is of the type list; .*GroundTruth\.from_labels"):
        evaluate_ranking(ranking, [1, 2])
