import csv
import math

import numpy as np
import pytest

from meisho.config import load_config
from meisho.descriptors import Provenance
from meisho.errors import ConfigError, InputError
from meisho.evaluate.report import Figure, Report
from meisho.evaluate.settings import EvaluationSettings
from meisho.evaluate.sweep import Sweep, SweepEntry, find_frontier


def report(value):
    figures = (
        Figure("revisitop_map", "easy", value / 2, 0, 1, 3),
        Figure("revisitop_map", "medium", value, value - 0.1, value + 0.1, 3),
    )
    return Report("toy", "revisitop", Provenance("x"), "", False, 9, 3, figures, ())


def slow_frontier(costs):
    def better(one, other):
        return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    return [not any(better(other, row) for other in costs) for row in costs]


SWEEP = Sweep(
    (
        SweepEntry("", report(0.5)),
        SweepEntry("alpha-qe", report(0.7), query_ms=2),
        SweepEntry("slower", report(0.7), query_ms=3),
        SweepEntry("dba", report(0.6), query_ms=1, once_seconds=4, bytes_per_photo=5120),
        SweepEntry("geometric", report(0.65), query_ms=900, bytes_per_photo=60_000),
    )
)


def test_the_frontier_is_what_nothing_else_beats():
    assert SWEEP.on_frontier == (True, True, False, True, False)
    assert SWEEP.best.reranking == "alpha-qe"


def test_the_frontier_agrees_with_a_slow_version():
    costs = np.random.default_rng(0).integers(0, 5, (40, 3)).astype(float)
    assert find_frontier(costs).tolist() == slow_frontier(costs.tolist())


def test_a_score_that_is_no_number_is_not_worth_anything():
    sweep = Sweep((SweepEntry("", report(math.nan)), SweepEntry("dba", report(0.2), query_ms=1)))
    assert sweep.on_frontier == (False, True)
    assert sweep.best.reranking == "dba"


def test_a_sweep_is_saved_as_a_table(tmp_path):
    with SWEEP.save(tmp_path / "new").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rerank"] for row in rows] == ["none", "alpha-qe", "slower", "dba", "geometric"]
    assert float(rows[3]["revisitop_map medium"]) == 0.6
    assert float(rows[3]["revisitop_map medium low"]) == pytest.approx(0.5)
    assert (rows[3]["once_seconds"], rows[3]["bytes_per_photo"], rows[3]["on_frontier"]) == (
        "4",
        "5120",
        "true",
    )
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["sweep.csv"]


def test_a_sweep_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one"):
        Sweep(())


def test_settings_are_read_back_as_they_were_saved(tmp_path):
    settings = EvaluationSettings(
        "toycity",
        tmp_path / "city",
        options={"max_side_px": 64, "scales": [1.0, 0.5]},
        rerank=({"name": "alpha-qe", "k": 5}, {"name": "geometric", "ransac": {"model": "affine"}}),
        sweep=("dba", "alpha-qe:k=5|10"),
    )
    assert load_config(settings.save(tmp_path), EvaluationSettings) == settings


def test_an_unknown_setting_is_named(tmp_path):
    (tmp_path / "run.toml").write_text('dataset = "toycity"\nrot = "."\n')
    with pytest.raises(ConfigError, match=r"'rot' is not known; the nearest is 'root'"):
        load_config(tmp_path / "run.toml", EvaluationSettings)
