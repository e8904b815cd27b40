"""Merging is bounded: few fragments, small steps, and each row is written few times."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meisho.store import merging
from meisho.store.manifests import Fragment
from meisho.store.merging import FAN_OUT, STEP_BYTES, choose_step, plan_steps
from meisho.store.tidying import LOOK_COMMITS

LEVELS = 8  # of 1 row, 8, ..., 2 million


def do_step(fragments, step):
    """Return the fragments after a step, and how many bytes it wrote."""
    number, taken, left = max(f.number for f in fragments) + 1, [], []
    ranges = dict(step)
    for fragment in fragments:
        start, end = fragment.number << 32, (fragment.number << 32) + fragment.num_rows
        if ranges.get(start) == end:
            taken.append(fragment)
        else:
            left.append(fragment)
    rows = sum(f.num_live for f in taken)
    written = sum(f.size_bytes * f.num_live // f.num_rows for f in taken)
    assert len(taken) == len(ranges)
    return [*left, Fragment(number, rows, 0, written)], written


@settings(max_examples=40)
@given(
    row_bytes=st.sampled_from([40, 300, 5_200, 200_000]),
    batches=st.lists(st.integers(1, 200), min_size=1, max_size=12),
)
def test_many_appends_leave_few_fragments_and_write_each_row_few_times(row_bytes, batches):
    fragments, added, written = [Fragment(0, 1, 0, row_bytes)], 0, 0
    for commit in range(1500):
        rows = batches[commit % len(batches)]
        if commit % LOOK_COMMITS == 0 and (step := choose_step(fragments)):
            fragments, step_bytes = do_step(fragments, step)
            assert step_bytes <= STEP_BYTES
            written += step_bytes
        fragments.append(Fragment(fragments[-1].number + 1, rows, 0, rows * row_bytes))
        added += rows * row_bytes
    small = [fragment for fragment in fragments if fragment.size_bytes < STEP_BYTES / 2]
    assert len(small) <= 2 * FAN_OUT * LEVELS
    assert len(fragments) - len(small) <= 2 * added / STEP_BYTES + 1
    assert written <= 6 * added
    steps = plan_steps(fragments)
    while steps:
        for step in steps:
            fragments, step_bytes = do_step(fragments, step)
            assert step_bytes <= STEP_BYTES
        steps = plan_steps(fragments)
    assert sum(fragment.size_bytes < STEP_BYTES / 2 for fragment in fragments) <= 1
    assert sum(fragment.num_rows for fragment in fragments) * row_bytes == added + row_bytes


HALF = Fragment(3, 1000, 0, STEP_BYTES // 2)
SMALL = Fragment(4, 10, 0, 1000)


@pytest.mark.parametrize(
    ("fragments", "ranges"),
    [
        ([], 0),
        ([SMALL], 0),
        ([SMALL, replace(SMALL, number=5)], 2),
        ([HALF, SMALL], 0),
        ([replace(HALF, num_deleted=251)], 1),
        ([replace(HALF, num_deleted=250)], 0),
        ([replace(HALF, num_deleted=251), SMALL], 2),
        ([replace(SMALL, size_bytes=0), replace(SMALL, size_bytes=0)], 0),  # of unknown size
        ([Fragment(7, 1000, 251, 10 * STEP_BYTES)], 10),  # pieces
        ([Fragment(7, 1000, 250, 10 * STEP_BYTES)], 0),
    ],
)
def test_what_tidying_writes_anew(fragments, ranges):
    steps = plan_steps(fragments)
    assert sum(len(step) for step in steps) == ranges


def test_the_pieces_of_a_large_fragment_are_all_of_it():
    ranges = [one for step in plan_steps([Fragment(7, 1001, 800, 10 * STEP_BYTES)]) for one in step]
    assert ranges[0][0] == 7 << 32
    assert ranges[-1][1] == (7 << 32) + 1001
    assert all(end == start for (_, end), (start, _) in pairwise(ranges))


def test_the_condition_of_a_step_stays_short():
    fragments = [Fragment(n, 10, 0, 100) for n in range(1000)]
    assert len(choose_step(fragments)) == merging.MOST_FRAGMENTS
    assert max(len(step) for step in plan_steps(fragments)) == merging.MOST_FRAGMENTS
