"""What every command shares: the program, its consoles, option types, and how things are printed."""

import json
import logging
import math
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from meisho.errors import InterruptedRunError, MeishoError

COMMANDS = (
    "demo",
    "index",
    "search",
    "match",
    "evaluate",
    "datasets",
    "train",
    "export",
    "submit",
    "whiten",
    "info",
)
"""In the order of --help."""


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=COMMANDS.index)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="meisho (名所): find every photo of the same landmark or object.",
)
INTERRUPTED = 130
out = Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos per batch on a GPU; a CPU takes two at once.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Decoding workers; chosen when not given.")]


def main() -> None:
    """Run the command line; errors are one line on stderr and an exit code that means something."""
    logging.basicConfig(level=logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # odd file names must print
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends jobs is what Ctrl-C is
    try:
        app()
    except InterruptedRunError as stop:
        _tell_interrupted(str(stop))
        sys.exit(INTERRUPTED)
    except MeishoError as error:
        fail(str(error), error.exit_code)
    except OSError as error:  # a full disk, a forbidden folder
        fail(str(error), 1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _tell_interrupted("what was done so far is kept; run the same command to go on")
        raise


def _tell_interrupted(message: str) -> None:
    """Say what is kept; a signal from here on, when worker processes end, ends this one in silence."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    err.print(f"interrupted: {message}")


def fail(message: str, exit_code: int) -> NoReturn:
    """Print an error and exit."""
    err.print(Text.assemble(("error: ", "bold red"), message))
    sys.exit(exit_code)


def strong(what: object) -> tuple[str, str]:
    """Mark a piece of `say` as important."""
    return str(what), "bold"


def say(*pieces: str | tuple[str, str]) -> None:
    """Print pieces of text, never read as markup: a path may hold brackets."""
    out.print(Text.assemble(*pieces))


def print_json(value: Any) -> None:
    """Print a value as JSON, for machines."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, indent=2) + "\n")


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinity become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_skipped(skipped: Any) -> None:
    """Say on stderr which photos were skipped, and why."""
    for photo in skipped:
        err.print(Text.assemble(("skipped ", "yellow"), f"{photo.id}: {photo.reason}"))


def own_command() -> str:
    """Return how this program can be started again from here."""
    if shutil.which("meisho"):
        return "meisho"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def shell_line(*words: str | Path) -> str:
    """Return a command line that can be copied into a shell."""
    return shlex.join(map(str, words))


class _Rate(ProgressColumn):
    """Things per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        is_known = speed and (task.total or 0) > 1 and (task.elapsed or 0) > 1
        return Text(f"{speed:.1f}/s" if is_known else "", style="dim")


@contextmanager
def progress_bars() -> Iterator[Any]:
    """Show one bar per stage on stderr: how many, how fast, how long still."""
    bars = Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=err,
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        elif done < bars.tasks[tasks[stage]].completed:  # the stage has come again
            bars.reset(tasks[stage], total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield report
