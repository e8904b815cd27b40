"""What every command shares: the program, its consoles, and how things are printed."""

import json
import logging
import math
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from meisho import __version__
from meisho.cores import rest_while_waiting
from meisho.errors import InterruptedRunError, MeishoError

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.run.indexing import SkippedPhoto

COMMANDS = {
    "demo": "meisho.cli.demo",
    "index": "meisho.cli.index",
    "add": "meisho.cli.add",
    "remove": "meisho.cli.remove",
    "search": "meisho.cli.search",
    "match": "meisho.cli.match",
    "evaluate": "meisho.cli.evaluate",
    "datasets": "meisho.cli.datasets_look",
    "train": "meisho.cli.train",
    "export": "meisho.cli.export",
    "submit": "meisho.cli.submit",
    "whiten": "meisho.cli.whiten",
    "info": "meisho.cli.info",
}
"""Command -> the module that adds it to `app`, in the order of --help."""
WELCOME = """\
meisho (名所) finds every photo of the same landmark or object.

  See it work:      meisho demo
  Your own photos:  meisho index PATH/TO/PHOTOS --to my.meisho
  Ask them:         meisho search my.meisho QUERY.jpg --html answer.html
  All commands:     meisho --help"""


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, ctx: object) -> list[str]:
        return sorted(self.commands, key=list(COMMANDS).index)


app = typer.Typer(
    cls=_InOrder,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="meisho (名所): find every photo of the same landmark or object.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"meisho {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _begin(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        say(WELCOME)


INTERRUPTED = 130
sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  # a shell may close it: `>&-`
sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
out = Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)


def main() -> None:
    """Run the command line; errors are one line on stderr and an exit code that means something."""
    logging.basicConfig(level=logging.ERROR)
    rest_while_waiting()  # before PyTorch or FAISS is imported
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # odd file names must print
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends jobs is what Ctrl-C is
    try:
        load_commands(sys.argv[1:])
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


def load_commands(words: Sequence[str] = ()) -> None:
    """Import the command that the words call, or all of them where they call none, as --help does."""
    called = words[0] if words else ""
    for name in [called] if called in COMMANDS else COMMANDS:
        import_module(COMMANDS[name])


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


def print_json(value: object) -> None:
    """Print a value as JSON, for machines."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, indent=2) + "\n")


def _plain(value: object) -> object:
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


def print_skipped(skipped: "Iterable[SkippedPhoto]") -> None:
    """Say on stderr which photos were skipped, and why."""
    for photo in skipped:
        err.print(Text.assemble(("skipped ", "yellow"), f"{photo.id}: {photo.reason}"))


def note(text: str) -> None:
    """Say on stderr what is worth knowing."""
    err.print(Text.assemble(("note: ", "bold yellow"), text))


def own_command() -> str:
    """Return how this program can be started again from here."""
    if shutil.which("meisho"):
        return "meisho"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def shell_line(*words: str | Path) -> str:
    """Return a command line that can be copied into a shell."""
    return shlex.join(map(str, words))
