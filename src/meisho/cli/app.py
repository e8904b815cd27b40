"""What every command shares: the program, its consoles, and how things are printed."""

import codecs
import errno
import json
import logging
import math
import os
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from meisho import __version__
from meisho.cli.checks import check_words
from meisho.cli.terminal import NoReaderError, SafeConsole, abandon_output, open_streams, write_out
from meisho.cores import rest_while_waiting
from meisho.errors import (
    CollectionError,
    InputError,
    InterruptedRunError,
    MeishoError,
    MissingDependencyError,
    explain_os_error,
    is_panic,
    lacks_memory,
)
from meisho.texts import json_escaped, printable

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.run.summary import SkippedPhoto

COMMANDS = {
    "demo": "meisho.cli.demo",
    "index": "meisho.cli.index",
    "add": "meisho.cli.add",
    "remove": "meisho.cli.remove",
    "search": "meisho.cli.search",
    "match": "meisho.cli.match",
    "serve": "meisho.cli.serve",
    "groups": "meisho.cli.groups",
    "evaluate": "meisho.cli.evaluate",
    "leaderboard": "meisho.cli.leaderboard",
    "datasets": "meisho.cli.datasets_look",
    "train": "meisho.cli.train",
    "export": "meisho.cli.export",
    "submit": "meisho.cli.submit",
    "whiten": "meisho.cli.whiten",
    "check": "meisho.cli.check",
    "info": "meisho.cli.info",
    "doctor": "meisho.cli.doctor",
}
"""Command -> the module that adds it to `app`, in the order of --help."""
WELCOME = """\
meisho (名所) finds every photo of the same landmark or object.

  See it work:        meisho demo
  Your own photos:    meisho index PATH/TO/PHOTOS --to my.meisho
  Ask them:           meisho search my.meisho QUERY.jpg --html answer.html
  In your browser:    meisho serve my.meisho --open
  Is all installed?   meisho doctor
  All commands:       meisho --help"""
WELCOME_JA = """\
meisho（名所）は、同じランドマークや物体が写った写真をすべて探し出します。

  試してみる:         meisho demo
  自分の写真を登録:   meisho index 写真のフォルダ --to my.meisho
  写真で検索:         meisho search my.meisho 写真.jpg --html answer.html
  ブラウザーで使う:   meisho serve my.meisho --open
  環境を確認:         meisho doctor
  コマンドの一覧:     meisho --help"""


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, ctx: object) -> list[str]:
        return sorted(self.commands, key=list(COMMANDS).index)


_OfClick = Any  # a context or a formatter of click, which each typer keeps elsewhere


class _InWords(typer.core.TyperCommand):
    """A command whose help says what an argument is by its name alone: PHOTOS, not {PHOTOS} or <path>."""

    def collect_usage_pieces(self, ctx: _OfClick) -> list[str]:
        return [
            piece.translate({ord("{"): None, ord("}"): None}) for piece in super().collect_usage_pieces(ctx)
        ]

    def format_options(self, ctx: _OfClick, formatter: _OfClick) -> None:
        for param in self.params:
            if isinstance(param, typer.core.TyperArgument):
                param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        super().format_options(ctx, formatter)


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
        out.print(WELCOME_JA if _reads_japanese() else WELCOME)


def _reads_japanese() -> bool:
    """Say whether the user's language is Japanese, by the first variable that says one, as programs do."""
    said = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return next(filter(None, said), "").startswith("ja")


INTERRUPTED = 130
NO_READER = 141
"""Exit code where what reads the output has gone, as `| head -1` does: that of a program ended by SIGPIPE."""
_KEPT = "what was done so far is kept; run the same command to go on"
_UsageError = typer.BadParameter.__bases__[0]  # click's, which each typer keeps elsewhere

open_streams()
out, err = SafeConsole("stdout"), SafeConsole("stderr")


def main() -> None:
    """Run the command line; errors are one line on stderr and an exit code that means something."""
    logging.basicConfig(level=logging.ERROR)
    rest_while_waiting()  # before PyTorch or FAISS is imported
    open_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends jobs is what Ctrl-C is
    code = 0
    try:
        code = _run(sys.argv[1:])
        write_out("")
    except NoReaderError:
        code = NO_READER
        abandon_output()
    except OSError as error:
        code = code or report_error(f"the output cannot be written: {explain_os_error(error)}", 1)
        abandon_output()
    sys.exit(code)


def _run(words: Sequence[str]) -> int:
    """Run one command and return its exit code; what ended it is said."""
    try:
        check_words(words)
        load_commands(words)
        code = typer.main.get_command(app).main([*words], standalone_mode=False) or 0
        return _tell_interrupted(_KEPT) if code == INTERRUPTED else code
    except KeyboardInterrupt:
        return _tell_interrupted(_KEPT)
    except InterruptedRunError as stop:
        return _tell_interrupted(str(stop))
    except NoReaderError:
        raise
    except SystemExit:  # typer's, where --help met such a pipe: no command raises one
        raise NoReaderError from None
    except BaseException as error:  # a panic of Rust is no Exception
        if os.environ.get("MEISHO_TRACEBACK"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # its text is the help
            out.print(str(error))
            return InputError.exit_code
        return report_error(*_explain(error))


def _explain(error: BaseException) -> tuple[str, int]:
    """Say in one line why a command ended, and with which exit code."""
    if lacks_memory(error) and (
        isinstance(error, MissingDependencyError) or not isinstance(error, MeishoError)
    ):
        return "there is not enough memory; ask for less, or close other programs", MeishoError.exit_code
    if isinstance(error, MeishoError):
        return str(error), error.exit_code
    if isinstance(error, _UsageError):
        return _explain_usage(error), InputError.exit_code
    if isinstance(error, OSError):  # a full disk, a forbidden folder
        reason = explain_os_error(error)
        code = InputError.exit_code if error.errno == errno.ENAMETOOLONG else MeishoError.exit_code
        return (f"{error.filename}: {reason}" if error.filename else reason), code
    if is_panic(error):
        advice = (
            "a collection on a disk is damaged then: restore it, or delete it and index again; "
            "where it lies in a store, look at the variables AWS_* first"
        )
        return f"LanceDB panicked ({error}); {advice}", CollectionError.exit_code
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"unexpected {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}; this is "
        "a fault of meisho: please report it with what MEISHO_TRACEBACK=1 prints",
        MeishoError.exit_code,
    )


def _explain_usage(error: Any) -> str:
    """Return an error of click as one line, with the command that helps."""
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "meisho"
    return f"{message[:1].lower()}{message[1:]}; see {command} --help"


def load_commands(words: Sequence[str] = ()) -> None:
    """Import the command that the words call, or all of them where they call none, as --help does."""
    called = words[0] if words else ""
    for name in [called] if called in COMMANDS else COMMANDS:
        import_module(COMMANDS[name])
    for group in (app, *(each.typer_instance for each in app.registered_groups)):
        for command in group.registered_commands if group else ():
            command.cls = _InWords


def _tell_interrupted(message: str) -> int:
    """Say what is kept; a signal from here on, when worker processes end, ends this one in silence."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    tell(f"interrupted: {message}")
    return INTERRUPTED


def report_error(message: str, exit_code: int) -> int:
    """Print an error; return its exit code."""
    tell(("error: ", "bold red"), message)
    return exit_code


def strong(what: object) -> tuple[str, str]:
    """Mark a piece of `say` as important."""
    return str(what), "bold"


def say(*pieces: str | tuple[str, str]) -> None:
    """Print pieces of text, never read as markup, as one line whatever a name in them holds.

    A line feed that begins the first piece leaves a line empty.
    """
    if pieces and isinstance(pieces[0], str) and pieces[0].startswith("\n"):
        out.print()
        pieces = (pieces[0][1:], *pieces[1:])
    out.print(_line(pieces))


def tell(*pieces: str | tuple[str, str]) -> None:
    """Print pieces of text on stderr as one line."""
    err.print(_line(pieces))


def note(text: str) -> None:
    """Say on stderr what is worth knowing."""
    tell(("note: ", "bold yellow"), text)


def _line(pieces: Iterable[str | tuple[str, str]]) -> Text:
    styled = (piece if isinstance(piece, tuple) else (piece, "") for piece in pieces)
    return Text.assemble(*((_printable_lines(text), style) for text, style in styled))


def _printable_lines(text: str) -> str:
    """Return text as one line, or with the indented lines below it of a list that we wrote."""
    return "\n  ".join(map(printable, text.split("\n  ")))


def print_json(value: object) -> None:
    """Print a value as JSON, for programs, in UTF-8 or, where stdout has another encoding, in ASCII."""
    is_utf8 = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(_plain(value), ensure_ascii=not is_utf8, indent=2)
    write_out(json_escaped(text) + "\n")


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
        tell(("skipped ", "yellow"), f"{photo.id}: {photo.reason}")


def own_command() -> str:
    """Return how this program can be started again from here."""
    if shutil.which("meisho"):
        return "meisho"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def shell_line(*words: str | Path) -> str:
    """Return a command line that can be copied into a shell."""
    return shlex.join(map(str, words))
