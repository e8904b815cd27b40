"""What stands in a leaderboard: best, baseline, differences and failures, whatever the cells hold."""

import csv
import io
import json
import math

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.evaluate.comparison import compare_reports
from meisho.evaluate.leaderboard import Cell, Leaderboard
from meisho.evaluate.leaderboard_files import board_csv, board_markdown, board_values, row_texts
from meisho.evaluate.leaderboard_settings import BaselineEntry
from meisho.evaluate.protocols import evaluate_ranking
from meisho.ground_truth import GroundTruth

from .builders import ranking_of

BASELINE = BaselineEntry("m", "none")
TRUTH = GroundTruth([np.array([0]), np.array([1]), np.array([2])], [np.array([], int)] * 3)
RIGHT, HALF = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
NOTHING = GroundTruth([np.array([], int)] * 3, [np.array([], int)] * 3)


def cell(rows, model="m", chain="none", dataset="d", truth=TRUTH):
    return Cell(dataset, model, chain, evaluate_ranking(ranking_of(rows, 3), truth))


def failed(model, reason="it | fell <b>", dataset="d"):
    return Cell(dataset, model, "none", None, failure=reason)


def board_of(*cells):
    return Leaderboard.of(cells, BASELINE, seed=3)


def test_rows_are_compared_with_the_baseline_of_their_own_data_set():
    cells = [cell(HALF), cell(RIGHT, "n"), cell(RIGHT, dataset="e"), cell(HALF, "n", dataset="e")]
    rows = board_of(*cells).rows
    assert [row.cell for row in rows] == cells
    assert [row.is_best for row in rows] == [False, True, True, False]
    assert [row.is_baseline for row in rows] == [True, False, True, False]
    expected = compare_reports(cells[0].report, cells[1].report, np.random.default_rng(3))
    assert rows[1].comparison == expected.setups[0]
    assert rows[1].comparison.difference == -rows[3].comparison.difference > 0


def test_equals_are_both_the_best():
    assert [row.is_best for row in board_of(cell(RIGHT), cell(RIGHT, "n"), cell(HALF, "o")).rows] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "cells",
    [
        (failed("m"), cell(RIGHT, "n")),
        (cell(RIGHT, "n"),),
        (cell(RIGHT), failed("n"), cell(HALF, "o", truth=TRUTH)),
        (failed("m"), failed("n")),
        (cell(RIGHT, truth=NOTHING), cell(HALF, "n", truth=NOTHING)),
    ],
    ids=["the baseline failed", "there is none", "another failed", "all failed", "no query counts"],
)
def test_whatever_is_missing_the_files_are_whole(cells):
    board = board_of(*cells)
    assert board.failed == tuple(each for each in cells if each.report is None)
    values = json.loads(json.dumps(board_values(board), allow_nan=False))
    assert [c["failure"] for c in values["cells"]] == [each.failure for each in cells]
    rows = list(csv.DictReader(io.StringIO(board_csv(board))))
    assert [row["failure"] for row in rows] == [each.failure for each in cells]
    assert "nan" not in board_csv(board).lower()
    lines = [line for line in board_markdown(board).splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {10}
    assert len(lines) == 2 + len(cells)
    for row, each in zip(board.rows, cells, strict=True):
        assert len(row_texts(row)) == 7
        assert not row.is_best or not math.isnan(each.report.headline.value)


def test_names_are_shown_as_they_are_by_markdown():
    page = board_markdown(board_of(cell(RIGHT), failed("a|b *c* `d` <i>\\")))
    assert "a\\|b \\*c\\* \\`d\\` \\<i>\\\\" in page


def test_nothing_is_no_leaderboard():
    with pytest.raises(InputError, match="at least one cell"):
        board_of()
