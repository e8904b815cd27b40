"""Engines: who searches a collection; the interface and the table of those known by name.

The collection stays the truth: an engine holds a search structure alone. It proposes rows, and their scores
are computed from the collection's own vectors, so that ties, verdicts and figures do not depend on it.

An engine is named by a text, its name and what stands behind the first colon: "local",
"milvus:http://127.0.0.1:19530?index=FLAT". A new one is one file in this folder and one line in `ENGINES`.
This one runs::

    class MyEngine:
        def __init__(self, place):
            self.text = "mine"

        def check(self):
            pass  # nothing to be reached

        def load(self, folder):
            return None  # nothing is saved: all rows are searched exactly

        def refresh(self, folder, photos, kind=None, report=lambda done, of: None):
            return LiveIndex.build("exact", photos.vectors, photos.keys, photos.version)

        @staticmethod
        def forget(folder):
            pass
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meisho.index.following import FollowingIndex
from meisho.index.keys import KeyArray
from meisho.stored_vectors import Vectors
from meisho.tables import load_named

ENGINES: dict[str, str] = {
    "local": "meisho.engines.local:LocalEngine",
    "milvus": "meisho.engines.milvus:MilvusEngine",
}
UNFINISHED = "unfinished"
"""Folder, beside what is saved, for what is not whole yet; it is emptied when all is in step."""

ENGINE_FILE = "engine/engine.json"
"""File, beside what else is saved, that an engine writes anew whenever what it holds elsewhere changed."""

Report = Callable[[int, int], None]
"""Told how many rows are done, and of how many."""


@dataclass(frozen=True, eq=False)
class PhotoVectors:
    """What an engine is brought in step with.

    Attributes:
        vectors: (N, D) float32.
        keys: (N,) uint64; a key stands for one vector for ever.
        version: The collection's version.
    """

    vectors: Vectors
    keys: KeyArray
    version: int


class Live(Protocol):
    """A search structure of an earlier state of a collection; `LiveIndex` is one."""

    @property
    def kind(self) -> str:
        """What it is, for people."""
        ...

    @property
    def version(self) -> int:
        """Version of the collection that it was last brought in step with."""
        ...

    def follow(self, vectors: Vectors, keys: KeyArray, version: int) -> FollowingIndex:
        """Return an index over the present vectors (N, D) with keys (N,), the collection's `version`."""
        ...


class Engine(Protocol):
    """Who searches a collection; `folder` is the collection's folder of what is derived from it.

    Attributes:
        text: What names it, as it is kept with a collection: a path in it is absolute.
    """

    text: str

    def __init__(self, place: str) -> None: ...

    def check(self) -> None:
        """Make sure that it can be used, before hours of work are done for it.

        Raises:
            MissingDependencyError: It needs a package that is not installed.
            UnreachableError: It cannot be reached.
        """
        ...

    def load(self, folder: Path) -> Live | None:
        """Return what is saved of it, without reaching it; None where there is nothing, or it is broken."""
        ...

    def refresh(
        self, folder: Path, photos: PhotoVectors, kind: str | None = None, report: Report = ...
    ) -> Live:
        """Bring it in step with the present photos; goes on from where it was interrupted.

        Args:
            folder: Where it is saved.
            photos: All that shall be found.
            kind: The structure that the user asked for; an engine with kinds of its own passes it over.
            report: Told as rows are taken in.

        Raises:
            EngineError: It cannot be reached, or refuses.
        """
        ...

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove what any engine of this class holds of the collection, as far as it can be reached."""
        ...


def open_engine(text: str | None) -> Engine:
    """Return the engine that a text names; None is the local one.

    Raises:
        ConfigError: There is no such engine, or what stands behind its name cannot be.
    """
    name, _, place = (text or "local").partition(":")
    engine_class: type[Engine] = load_named(name, ENGINES, what="engine")
    return engine_class(place)


def forget_others(engine: Engine, folder: Path) -> None:
    """Remove what other kinds of engines hold of the collection of a folder."""
    for name in ENGINES.keys() - {engine.text.partition(":")[0]}:
        other: type[Engine] = load_named(name, ENGINES, what="engine")
        other.forget(folder)
