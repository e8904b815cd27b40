"""The real ground truths of the revisited benchmarks, and rankings whose scores are known."""

from dataclasses import dataclass

import numpy as np
import pytest

from meisho.datasets.revisitop import load_ground_truth
from meisho.ground_truth import GradedGroundTruth
from meisho.ranking import Ranking


@dataclass(frozen=True)
class Benchmark:
    name: str
    query_ids: tuple
    database_ids: tuple
    ground_truth: GradedGroundTruth

    def rank(self, scores):
        return Ranking.from_scores(self.query_ids, self.database_ids, scores)


@pytest.fixture(scope="session")
def benchmarks(shared_data):
    """name -> Benchmark, ROxford5k first."""
    loaded = {}
    for name in ("roxford5k", "rparis6k"):
        truth = load_ground_truth(shared_data / "gnd" / f"gnd_{name}.pkl")
        loaded[name] = Benchmark(name, truth.query_ids, truth.database_ids, truth.ground_truth)
    return loaded


@pytest.fixture(scope="session")
def planted(benchmarks):
    """name -> ranking by noise, with easy photos raised by 3.5, hard by 1.5, junk by 2.5."""
    rng = np.random.default_rng(0)
    rankings = {}
    for name, benchmark in benchmarks.items():
        shape = len(benchmark.database_ids), len(benchmark.query_ids)
        scores = rng.standard_normal(shape).T.copy()
        truth = benchmark.ground_truth
        for row, easy, hard, junk in zip(scores, truth.easy, truth.hard, truth.junk, strict=True):
            row[easy] += 3.5
            row[hard] += 1.5
            row[junk] += 2.5
        rankings[name] = benchmark.rank(scores)
    return rankings
