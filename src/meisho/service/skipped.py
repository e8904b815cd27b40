"""Skipped: the photos of a collection that could not be described, and why, as its records say it."""

import logging
import threading
from pathlib import Path

from meisho.errors import CollectionError
from meisho.run.summary import SkippedPhoto

_logger = logging.getLogger(__name__)


class Skipped:
    """The photos of one collection that could not be described, read once of each version.

    Args:
        collection: The collection's directory.
    """

    def __init__(self, collection: Path) -> None:
        self._collection, self._lock = collection, threading.Lock()
        self._known: tuple[int, tuple[SkippedPhoto, ...]] | None = None

    def read(self, version: int) -> tuple[SkippedPhoto, ...]:
        """Return them by id, as they are in a version or in a later one.

        Raises:
            CollectionError: The records cannot be read.
        """
        with self._lock:
            if self._known is None or self._known[0] != version:
                from meisho.store.collection import Collection  # it imports LanceDB

                found = Collection.open(self._collection).errors()
                self._known = version, tuple(SkippedPhoto(*each) for each in sorted(found))
            return self._known[1]

    def count(self, version: int) -> int | None:
        """Return how many there are; None where the records cannot be read, which `meisho check` explains."""
        try:
            return len(self.read(version))
        except CollectionError as error:
            _logger.warning("%s", error)
            return None
