"""Checks of what was given on the command line, made before any work begins."""

import math
import stat
from collections.abc import Sequence
from pathlib import Path

import typer

from meisho.buckets import as_place
from meisho.documents import parse_numbers
from meisho.errors import ConfigError, InputError, explain_os_error
from meisho.extractors.options import LARGEST_SCALE
from meisho.memory import parse_bytes
from meisho.schemes import refuse_other_schemes

SMALLEST_SCALE = 0.03
"""A photo of 1024 px is 31 px wide then; less of it shows nothing."""
MOST_SCALES = 16
_LONGEST_WORD = 100_000
_ADDRESSES = frozenset({"--mirror", "--engine", "--cluster"})
"""Options that say themselves which addresses they take."""
_MAY_BE_EMPTY = frozenset({"--exclude"})
"""Options that an empty word clears; to others it would mean the current folder."""


def check_words(words: Sequence[str]) -> None:
    """Refuse words of the command line that are no value of any option.

    Raises:
        InputError: One is empty, which would mean the current folder, holds a NUL or has no end, names a
            pipe or device, which could be read for ever, or a place in a store that is not s3://.
    """
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if not (equals and option.startswith("--")):
            option, value = before, word
        if not value and option in _MAY_BE_EMPTY:
            continue
        if fault := _find_fault(value):
            where = option if option.startswith("--") else "the command line"
            raise InputError(f"{where}: a word {fault}: {value!r:.80}")
        if option not in _ADDRESSES:
            refuse_other_schemes(value)


def _find_fault(word: str) -> str:
    if not word:
        return "is empty"
    if "\0" in word:
        return "holds a NUL character"
    try:
        mode = Path(word).stat().st_mode
    except (OSError, ValueError):
        mode = stat.S_IFREG
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "is a pipe, socket or device; give a file or folder"
    return f"is longer than {_LONGEST_WORD:,} letters" if len(word) > _LONGEST_WORD else ""


def check_query(path: Path) -> None:
    """Refuse a query that is not a file.

    Raises:
        InputError: It is a folder, or is not there.
        StoreError: It lies in a bucket, and the store does not answer, or refuses.
    """
    path = as_place(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the photos in it: {path / '*.jpg'}")
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a loop of links, a shut folder
        raise InputError(f"{path}: {explain_os_error(error)}") from error


def check_number(number: float | None) -> float | None:
    """Refuse "nan", which no range of an option refuses."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a number")
    return number


def check_memory(text: str | None) -> str | None:
    """Check the size of --memory, and return the text as it is."""
    if text is not None:
        parse_bytes(text)
    return text


def check_device(device: str) -> str:
    """Refuse a device that is no name of one."""
    from meisho.extractors.machine import split_device

    split_device(device)
    return device


def parse_scales(text: str | None) -> str | None:
    """Check the numbers of --scales, and return the text as it is."""
    if text is not None and text.count(",") >= MOST_SCALES:
        raise ConfigError(f"--scales {text[:80]}: give at most {MOST_SCALES}")
    if text is not None and not all(
        SMALLEST_SCALE <= scale <= LARGEST_SCALE for scale in parse_numbers(text, source="--scales")
    ):
        raise ConfigError(f"--scales {text}: give numbers from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}")
    return text
