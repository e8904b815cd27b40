"""damaged.txt: says that somebody met damage while reading, so that the next `meisho index` looks for it."""

from contextlib import suppress
from pathlib import Path

from meisho.errors import StoreError
from meisho.files import write_text

DAMAGE_FILE = "damaged.txt"


def note_damage(path: Path, error: Exception) -> None:
    """Leave a note of the damage that was met; where nothing can be written, there is none."""
    with suppress(OSError, StoreError):
        write_text(path / DAMAGE_FILE, f"{error}\n", errors="backslashreplace")


def is_noted(path: Path) -> bool:
    """Return whether somebody has met damage since the last repair."""
    return (path / DAMAGE_FILE).exists()


def forget_damage(path: Path) -> None:
    """Remove the note, once everything is repaired."""
    (path / DAMAGE_FILE).unlink(missing_ok=True)
