"""Progress bars on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from meisho.cli.app import err
from meisho.progress import Progress as ProgressReport
from meisho.progress import Stages, find_bottleneck
from meisho.texts import printable

CALM_SECONDS = 5.0
"""Before that nothing is said of what a bar waits for."""


class _Rate(ProgressColumn):
    """Things per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        is_known = speed and (task.total or 0) > 1 and (task.elapsed or 0) > 1
        return Text(f"{speed:.1f}/s" if is_known else "", style="dim")


class Bottleneck(ProgressColumn):
    """What a bar waits for most, once it has lasted a while."""

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self._stages = stages
        self._before: dict[TaskID, dict[str, float]] = {}

    def render(self, task: Task) -> Text:
        """Return the words; empty while nothing can be told."""
        now = self._stages.seconds()
        before = self._before.setdefault(task.id, now)
        since = {stage: seconds - before.get(stage, 0) for stage, seconds in now.items()}
        stage = None if task.finished else find_bottleneck(since, least_seconds=CALM_SECONDS)
        return Text(f"limited by {stage}" if stage else "", style="dim")


@contextmanager
def showing(bars: Progress) -> Iterator[None]:
    """Take bars away at the end, if they were started: what ends before any work shows none."""
    try:
        yield
    finally:
        if bars.live.is_started:
            bars.stop()


class _Bars(Progress):
    """Bars with something above them.

    Args:
        columns: What each bar shows.
        above: What stands above them, on a terminal.
    """

    def __init__(self, *columns: ProgressColumn, above: RenderableType | None) -> None:
        self._above = above if err.is_terminal else None  # first: within the next it is rendered
        super().__init__(*columns, console=err)

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield what is shown, from the top."""
        if self._above is not None:
            yield self._above
        yield from super().get_renderables()


@contextmanager
def progress_bars(
    stages: Stages | None = None, *, above: RenderableType | None = None
) -> Iterator[ProgressReport]:
    """Show one bar per stage on stderr: how many, how fast, how long still.

    Args:
        stages: What is told where the time goes; the bars name the bottleneck.
        above: What stands above the bars, on a terminal alone.
    """
    bars = _Bars(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        *([Bottleneck(stages)] if stages else []),
        above=above,
    )
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            if not done and not total:  # nothing to do, or nothing known yet
                return
            tasks[stage] = bars.add_task(printable(stage), total=total)
            bars.start()
        elif done < bars.tasks[tasks[stage]].completed:  # the stage has come again
            bars.reset(tasks[stage], total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with showing(bars):
        yield report
