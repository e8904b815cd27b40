"""When and where the photos of a collection were taken: read once from their files, kept in the notebook."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import UInt64Array
from meisho.capture import Capture, read_capture
from meisho.photos import Photo, place_at
from meisho.progress import Progress, silent
from meisho.run.filters import Captures
from meisho.service.notebook import Notebook
from meisho.store.snapshot import Snapshot

READ_AT_ONCE = 256
"""Photos that are read between two writes into the notebook."""

STAGE = "read dates and places"


@dataclass(frozen=True, eq=False)
class _Loaded:
    keys: UInt64Array
    number: int
    captures: Captures
    missing: int


class CaptureReader:
    """What is known of when and where photos were taken, for any number of threads.

    Args:
        notebook: Keeps what was read.
        photo_root: The photo folder.
    """

    def __init__(self, notebook: Notebook, photo_root: Path) -> None:
        self._notebook, self._root = notebook, photo_root
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def load(self, snapshot: Snapshot) -> Captures:
        """Return what is known by now of the photos of a snapshot; no file is read."""
        return self._load(snapshot).captures

    def count_missing(self, snapshot: Snapshot) -> int:
        """Return the number of photos that were not looked at yet."""
        return self._load(snapshot).missing

    def read_missing(
        self, snapshot: Snapshot, *, most: int | None = None, progress: Progress = silent
    ) -> int:
        """Look at photos that were not looked at yet.

        Args:
            snapshot: A collection at one moment.
            most: How many at the most; None for all.
            progress: Told how many are done.

        Returns:
            How many are left.
        """
        known = self._notebook.read_captures()
        missing = [row for row, key in enumerate(snapshot.keys.tolist()) if key not in known]
        rows = missing[:most]
        for first in range(0, len(rows), READ_AT_ONCE):
            progress(STAGE, first, len(rows))
            block = rows[first : first + READ_AT_ONCE]
            self._notebook.keep_captures(
                (int(snapshot.keys[row]), self._read(snapshot, row)) for row in block
            )
        progress(STAGE, len(rows), len(rows))
        return len(missing) - len(rows)

    def _read(self, snapshot: Snapshot, row: int) -> Capture:
        return read_capture(Photo(snapshot.descriptors.ids[row], place_at(self._root, snapshot.files[row])))

    def _load(self, snapshot: Snapshot) -> _Loaded:
        with self._lock:
            loaded, number = self._loaded, self._notebook.count_captures()
            if loaded is None or loaded.number != number or not np.array_equal(loaded.keys, snapshot.keys):
                loaded = self._loaded = _arrange(snapshot.keys, self._notebook.read_captures())
            return loaded


def _arrange(keys: UInt64Array, known: dict[int, Capture]) -> _Loaded:
    """Put captures into the order of the photos."""
    unknown = Capture()
    found = [known.get(key) for key in keys.tolist()]
    captures = [each or unknown for each in found]
    taken = np.array([c.taken.date() if c.taken else "NaT" for c in captures], "datetime64[D]")
    latitude = np.array([np.nan if c.latitude is None else c.latitude for c in captures], np.float64)
    longitude = np.array([np.nan if c.longitude is None else c.longitude for c in captures], np.float64)
    return _Loaded(
        keys, len(known), Captures(taken, latitude, longitude), sum(each is None for each in found)
    )
