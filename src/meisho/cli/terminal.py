"""The streams of the command line: nothing that a terminal obeys passes, and nothing is folded in a pipe."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from meisho.texts import printable

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 100_000  # cells of a line where no terminal shows it: no table is folded


class NoReaderError(Exception):
    """What reads the output has gone, as `| head -1` does."""


class SafeConsole(Console):
    """Prints text, never markup, and of what a terminal obeys only its own colours.

    Args:
        name: "stdout" or "stderr": the stream of `sys`, whichever it is at the time.
    """

    def __init__(self, name: str) -> None:
        stream = _Stream(name, forgiving=name == "stderr")
        width = None if stream.isatty() else _WIDEST
        super().__init__(
            file=cast(IO[str], stream),
            soft_wrap=True,
            markup=False,
            highlight=False,
            emoji=False,
            width=width,
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is printed: a line feed ends a line, all else that is no letter is escaped."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment("\n".join(map(printable, text.split("\n"))), segment.style)

    def print_table(self, table: "Table") -> None:
        """Print a table whose lines end with their last letter."""
        options = self.options.update(no_wrap=True, overflow="ignore")
        for line in self.render_lines(table, options, pad=False):
            text = Text.assemble(*((segment.text, segment.style or "") for segment in line))
            text.rstrip()
            self.print(text)

    def on_broken_pipe(self) -> None:
        """Leave it to `main`."""
        raise NoReaderError


class _Stream:
    """A stream of `sys` as rich takes it; a forgiving one drops what cannot be written, and no work ends."""

    def __init__(self, name: str, *, forgiving: bool) -> None:
        self._name, self._forgiven = name, (OSError,) if forgiving else ()

    def write(self, text: str) -> int:
        with suppress(*self._forgiven):
            return self._now.write(text)
        return 0

    def flush(self) -> None:
        with suppress(*self._forgiven):
            self._now.flush()

    @property
    def _now(self) -> TextIO:
        stream = getattr(sys, self._name)
        return cast(TextIO, getattr(stream, "rich_proxied_file", stream))  # progress bars stand before it

    def __getattr__(self, name: str) -> object:
        return getattr(self._now, name)

    def isatty(self) -> bool:
        return self._now.isatty()


def open_streams() -> None:
    """Give a program streams that it can write any name to; a shell may have closed them: `>&-`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_out(text: str) -> None:
    """Write text to stdout as it is, and all that waits there.

    Raises:
        NoReaderError: Nobody reads it.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise NoReaderError from None


def abandon_output() -> None:
    """Let what is still unwritten go nowhere, so that Python's end does not try, fail and say so."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
