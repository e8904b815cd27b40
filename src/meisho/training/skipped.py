"""Skipped photos: what a run could not read, said once and kept in its folder."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from meisho.datasets.photo_files import list_errors
from meisho.documents import one_line
from meisho.errors import DatasetError, ImageError
from meisho.files import replacing
from meisho.training.distribution import gather_values, is_first_process

SKIPPED_NAME = "skipped.csv"
"""In a run's folder."""

_FEW = 3  # photos of a small data set may be more than a tenth of it


class SkippedPhotos:
    """The photos that a run cannot read, the same in all of its processes.

    Args:
        folder: Folder of the run.
        num_photos: Photos that the run has.
        find_all: The command that finds all that cannot be read.
        say: Called with lines for people.
    """

    def __init__(self, folder: Path, num_photos: int, *, find_all: str, say: Callable[[str], None]) -> None:
        self._path, self._num_photos = folder / SKIPPED_NAME, num_photos
        self._find_all, self._say = find_all, say
        self._errors: dict[Path, ImageError] = {}

    def __len__(self) -> int:
        return len(self._errors)

    def resume(self) -> None:
        """Take over those that the folder tells of.

        Raises:
            DatasetError: The table is damaged.
        """
        if not self._path.is_file():
            return
        try:
            with self._path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                errors = [ImageError(Path(row["path"]), row["reason"] or "") for row in csv.DictReader(file)]
        except (OSError, LookupError, TypeError, ValueError, csv.Error) as error:
            raise DatasetError(
                f"{self._path}: cannot be read ({one_line(error)}); remove it: what it lists will be "
                "found anew"
            ) from error
        self._errors = {error.path: error for error in errors}

    def note(self, errors: Iterable[ImageError]) -> None:
        """Say and keep what is new; each process calls this with what it could not read.

        Raises:
            DatasetError: They are too many, see `check_share`; they are not kept then.
        """
        found = {error.path: error for part in gather_values(tuple(errors)) for error in part}
        new = [error for path, error in found.items() if path not in self._errors]
        if not new:
            return
        check_share(new, len(self) + len(new), self._num_photos)
        self._errors |= {error.path: error for error in new}
        if is_first_process():
            self._write()
        count = "1 photo" if len(new) == 1 else f"{len(new)} photos"
        advice = f"the run goes on without (to find all: {self._find_all})"
        self._say(f"{count} cannot be read, {advice}:{list_errors(new)}")

    def _write(self) -> None:
        with (
            replacing(self._path) as part,
            part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["path", "reason"])
            writer.writerows((error.path, error.reason) for error in self._errors.values())


def check_share(errors: Sequence[ImageError], num_unreadable: int, num_photos: int) -> None:
    """Stop where more than a tenth of the photos cannot be read: that is no broken photo, but a lost drive.

    Args:
        errors: Some of the photos that cannot be read.
        num_unreadable: How many cannot be read.
        num_photos: How many photos there are.

    Raises:
        DatasetError: They are too many.
    """
    if num_unreadable > max(_FEW, num_photos // 10):
        raise DatasetError(
            f"{num_unreadable} of {num_photos} photos cannot be read; is the drive there that holds them? "
            f"Mend them, or take them out of the data set:{list_errors(errors)}"
        )
