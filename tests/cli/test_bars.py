"""Progress bars that name what a run waits for, once it has lasted a while."""

import pytest
from rich.progress import Progress

from meisho.cli.bars import CALM_SECONDS, Bottleneck, progress_bars
from meisho.progress import Stages


def shown(*steps, completed=3):
    """Return what the column says of a bar after steps of (stage, seconds); other time passed before."""
    now = [0.0]
    stages = Stages(lambda: now[0])
    with stages.at("what came before"):
        now[0] += 1000
    bars = Progress()
    bars.add_task("describe", total=10)
    column = Bottleneck(stages)
    column.render(bars.tasks[0])
    for stage, seconds in steps:
        with stages.at(stage):
            now[0] += seconds
    bars.update(bars.task_ids[0], completed=completed)
    return column.render(bars.tasks[0]).plain


@pytest.mark.parametrize(
    ("steps", "completed", "words"),
    [
        ([], 3, ""),
        ([("decoding", CALM_SECONDS / 2)], 3, ""),  # nobody asks yet
        ([("decoding", CALM_SECONDS)], 3, "limited by decoding"),
        ([("decoding", 9), ("describing", 4), ("decoding", 9)], 3, "limited by decoding"),
        ([("decoding", 9), ("describing", 20)], 3, "limited by describing"),
        ([("decoding", 9), ("describing", 9), ("reading", 9)], 3, ""),
        ([("decoding", 90)], 10, ""),  # done
    ],
)
def test_a_bar_names_its_bottleneck_when_it_has_lasted_a_while(steps, completed, words):
    assert shown(*steps, completed=completed) == words


@pytest.mark.parametrize(
    ("steps", "is_shown"), [([(0, 0)], False), ([(0, 0), (0, 3)], True), ([(1, 0)], True)]
)
def test_a_stage_with_nothing_to_do_shows_no_bar(capsys, steps, is_shown):
    with progress_bars() as report:
        for done, total in steps:
            report("describe", done, total)
    assert ("describe" in capsys.readouterr().err) is is_shown
