"""Checks of what was given on the command line, made before any work begins."""

import math
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from meisho.errors import ConfigError, InputError

LARGEST_SCALE = 4.0
"""Larger than that a photo is only blurred, and the machine's memory fills."""
_LONGEST_WORD = 100_000


def check_words(words: Sequence[str]) -> None:
    """Refuse words of the command line that are no value of any option.

    Raises:
        InputError: One is empty, which would mean the current folder, holds a NUL, or has no end.
    """
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if not (equals and option.startswith("--")):
            option, value = before, word
        if fault := _find_fault(value):
            where = option if option.startswith("--") else "the command line"
            raise InputError(f"{where}: a word {fault}: {value!r:.80}")


def _find_fault(word: str) -> str:
    if not word:
        return "is empty"
    if "\0" in word:
        return "holds a NUL character"
    return f"is longer than {_LONGEST_WORD:,} letters" if len(word) > _LONGEST_WORD else ""


def check_output(to: Path, *, suffixes: Collection[str] = (), inputs: Iterable[Path] = ()) -> None:
    """Refuse a file that cannot be written; folders on the way to it may be missing.

    Args:
        to: The file.
        suffixes: The endings that it may have; any for none.
        inputs: Files that it must not overwrite.

    Raises:
        InputError: It cannot; the message says why.
    """
    if suffixes and to.suffix.lower() not in suffixes:
        raise InputError(
            f"{to}: cannot be written as {to.suffix or 'a name without an ending'}; "
            f"end it in {' or '.join(sorted(suffixes))}"
        )
    if to.is_dir():
        raise InputError(f"{to}: is a folder; name a file in it")
    if any(_is_same(to, file) for file in inputs):
        raise InputError(f"{to}: is one of the inputs, which would be overwritten; name another file")
    check_output_folder(to.parent)


def check_output_folder(to: Path) -> None:
    """Refuse a folder that can neither be made nor be written to.

    Raises:
        InputError: It cannot; the message says why.
    """
    there = next(folder for folder in (to.absolute(), *to.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise InputError(f"{to}: {there} is a file, not a folder")
    if not os.access(there, os.W_OK):
        raise InputError(f"{to}: {there} is not writable")


def check_query(path: Path) -> None:
    """Refuse a query that is not a file.

    Raises:
        InputError: It is a folder, or is not there.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the photos in it: {path / '*.jpg'}")
    if not path.exists():
        raise InputError(f"{path}: no such file")


def check_device(device: str) -> str:
    """Refuse a device that is no name of one."""
    from meisho.extractors.machine import split_device

    split_device(device)
    return device


def parse_scales(text: str | None) -> str | None:
    """Check the numbers of --scales, and return the text as it is."""
    if text is not None and not all(0 < scale <= LARGEST_SCALE for scale in parse_numbers("--scales", text)):
        raise ConfigError(f"--scales {text}: each must be more than 0 and at most {LARGEST_SCALE:g}")
    return text


def parse_box(text: str) -> list[float]:
    """Read x0,y0,x1,y1 of --box."""
    numbers = parse_numbers("--box", text)
    if len(numbers) != 4:
        raise ConfigError(f"--box {text}: give four numbers, x0,y0,x1,y1")
    return numbers


def parse_numbers(option: str, text: str) -> list[float]:
    """Read numbers with commas between."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{option} {text!r}: give numbers with commas between, without spaces")
    return numbers


def _is_same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
