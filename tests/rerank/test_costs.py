from dataclasses import dataclass

import numpy as np
import pytest

from meisho.ranking import Ranking
from meisho.rerank import costs
from meisho.rerank.base import Reranker
from meisho.rerank.chain import Chain, Step, build_chain, parse_chain
from meisho.rerank.costs import count_kept_bytes, rerank_and_time
from meisho.rerank.evidence import Evidence
from meisho.rerank.grid import DEFAULT_CHAINS, DEFAULT_LOCAL_CHAINS, expand_grid


@pytest.fixture
def asked():
    """A ranking of 50 photos for 3 queries, and its evidence."""
    generator = np.random.default_rng(0)
    evidence = Evidence(generator.standard_normal((3, 8)), generator.standard_normal((50, 8)))
    names = [tuple(map(str, range(n))) for n in (3, 50)]
    return Ranking.from_scores(*names, evidence.queries @ evidence.database.T), evidence


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a reranker says so."""
    now = [0.0]
    monkeypatch.setattr(costs.time, "perf_counter", lambda: now[0])
    return now


@dataclass(frozen=True)
class Lists(Reranker):
    """Computes lists of the database in 10 s once, and answers in 2 s."""

    clock: list

    def rerank(self, ranking, evidence, *, skip=None):
        if "lists" not in evidence.of_database:
            evidence.of_database["lists"] = {"rows": np.zeros((50, 4), np.int32), "of": [evidence.database]}
            self.clock[0] += 10
        self.clock[0] += 2
        return ranking


@dataclass(frozen=True)
class Slow(Reranker):
    """Answers in 5 s and keeps nothing."""

    clock: list

    def rerank(self, ranking, evidence, *, skip=None):
        self.clock[0] += 5
        return ranking


def test_what_is_kept_for_the_database_is_counted_once(asked, clock):
    chain = Chain((Step("lists", Lists(clock)), Step("slow", Slow(clock))))
    _, cost = rerank_and_time(chain, *asked)
    assert (cost.once_seconds, cost.query_seconds, cost.kept_bytes) == (10, 7, 50 * 4 * 4)


def test_an_augmented_database_is_kept(asked):
    _, cost = rerank_and_time(build_chain(parse_chain("dba,alpha-qe")), *asked)
    assert cost.kept_bytes == 50 * 8 * 4
    _, cost = rerank_and_time(build_chain(parse_chain("alpha-qe")), *asked)
    assert (cost.kept_bytes, cost.once_seconds) == (0, 0)


@pytest.mark.parametrize("text", ["dba,alpha-qe:k=3", "superglobal:first=20", "k-reciprocal,average-qe"])
def test_the_ranking_is_that_of_the_chain(text, asked):
    chain = build_chain(parse_chain(text))
    timed, _ = rerank_and_time(chain, *asked)
    plain = chain.rerank(*asked)
    np.testing.assert_array_equal(timed.ranks, plain.ranks)
    np.testing.assert_array_equal(timed.scores, plain.scores)


def test_an_array_that_several_share_counts_once(asked):
    _, evidence = asked
    rows = np.zeros(100, np.int64)
    evidence.of_database.update(a=[rows, rows[:10]], b={"c": rows}, d=evidence.database[:5])
    assert count_kept_bytes(evidence) == rows.nbytes


def test_an_array_that_is_mapped_from_a_file_takes_no_memory(asked, tmp_path):
    _, evidence = asked
    np.save(tmp_path / "rows.npy", np.zeros(100))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    evidence.of_database.update(a=mapped, b=np.asarray(mapped)[3:], c=np.zeros(5, np.int8))
    assert count_kept_bytes(evidence) == 5


def test_a_grid_is_written_out():
    assert expand_grid("alpha-qe:k=5|10:alpha=1|3") == [
        "alpha-qe:k=5:alpha=1",
        "alpha-qe:k=5:alpha=3",
        "alpha-qe:k=10:alpha=1",
        "alpha-qe:k=10:alpha=3",
    ]
    assert expand_grid("dba:k=2|4,superglobal") == ["dba:k=2,superglobal", "dba:k=4,superglobal"]
    assert expand_grid("dba,geometric:ransac.model=affine") == ["dba,geometric:ransac.model=affine"]


@pytest.mark.parametrize("text", [*DEFAULT_CHAINS, *DEFAULT_LOCAL_CHAINS])
def test_every_common_chain_can_be_built(text):
    chain = build_chain(parse_chain(text))
    assert chain.needs_local == (text in DEFAULT_LOCAL_CHAINS)
