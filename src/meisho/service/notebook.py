"""Notebook: what a service remembers of a collection, in one SQLite file in the collection's folder.

Nothing of it can be derived from the photos but the captures, which are kept since reading them takes long.
Any number of threads and processes may write to it; what was written stays written after a kill.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from meisho import __version__
from meisho.arrays import UInt64Array
from meisho.capture import Capture
from meisho.errors import CollectionError

NOTEBOOK_FILE = "service.sqlite"

SCHEMA_VERSION = 1
_WAIT_SECONDS = 30
_TABLES = """
CREATE TABLE captures (key INTEGER PRIMARY KEY, taken TEXT, latitude REAL, longitude REAL);
CREATE TABLE marks (
  kind TEXT NOT NULL, asked TEXT NOT NULL, box TEXT NOT NULL, answer TEXT NOT NULL, same INTEGER NOT NULL,
  at TEXT NOT NULL, version INTEGER NOT NULL, made_by TEXT NOT NULL,
  PRIMARY KEY (kind, asked, box, answer)
);
CREATE TABLE dismissals (kind TEXT NOT NULL, id TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE jobs (id TEXT PRIMARY KEY, begun TEXT NOT NULL, facts TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Mark:
    """What somebody said of an answer.

    Attributes:
        kind: "photo" where a photo of the collection was asked with, "query" for one that was uploaded.
        asked: The id of that photo, or the SHA-256 of the uploaded file.
        box: "x0,y0,x1,y1" px of the upright photo where a part was asked with, "" for the whole.
        answer: Id of the photo that was answered.
        same: Whether both show the same place.
        at: When it was said, UTC, ISO 8601.
        version: Version of the collection that answered.
        made_by: Who said it: the note of a token, or "".
    """

    kind: str
    asked: str
    box: str
    answer: str
    same: bool
    at: str
    version: int = 0
    made_by: str = ""


class Notebook:
    """What a service remembers of one collection; made by `open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection, self._lock = connection, threading.Lock()

    @classmethod
    def open(cls, collection: Path) -> "Notebook":
        """Open the notebook of a collection; it is made where there is none.

        Raises:
            CollectionError: It is damaged, of a newer version, or cannot be written.
        """
        path = collection / NOTEBOOK_FILE
        connection = None
        try:
            connection = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _make_tables(connection, path)
        except (sqlite3.Error, CollectionError) as error:
            if connection is not None:
                connection.close()
            raise _plain(error, path) from error
        return cls(path, connection)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    # --- when and where photos were taken

    def read_captures(self) -> dict[int, Capture]:
        """Return key -> capture of all photos that were looked at."""
        rows = self._read("SELECT key, taken, latitude, longitude FROM captures")
        return {key % 2**64: Capture(_time(taken), lat, lon) for key, taken, lat, lon in rows}

    def count_captures(self) -> int:
        """Return the number of photos that were looked at."""
        return int(self._read("SELECT count(*) FROM captures")[0][0])

    def keep_captures(self, captures: Iterable[tuple[int, Capture]]) -> None:
        """Keep (key, capture) of photos; a key of a snapshot changes with the photo's content."""
        rows = [
            (_signed(key), each.taken.isoformat() if each.taken else None, each.latitude, each.longitude)
            for key, each in captures
        ]
        self._write("INSERT OR REPLACE INTO captures VALUES (?, ?, ?, ?)", rows)

    def forget_captures(self, present: UInt64Array) -> None:
        """Forget the captures of photos that are not in the collection any more; N keys of those that are."""
        known = {key for (key,) in self._read("SELECT key FROM captures")}
        gone = known - {_signed(key) for key in present.tolist()}
        self._write("DELETE FROM captures WHERE key = ?", [(key,) for key in gone])

    # --- what people said of answers

    def mark(self, mark: Mark) -> None:
        """Keep a mark in place of what was said before of the same answer."""
        row = (
            mark.kind,
            mark.asked,
            mark.box,
            mark.answer,
            int(mark.same),
            mark.at,
            mark.version,
            mark.made_by,
        )
        self._write("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row])

    def unmark(self, kind: str, asked: str, box: str, answer: str) -> None:
        """Take back what was said of an answer."""
        rows = [(kind, asked, box, answer)]
        self._write("DELETE FROM marks WHERE kind = ? AND asked = ? AND box = ? AND answer = ?", rows)

    def marks(self, kind: str | None = None, asked: str | None = None) -> list[Mark]:
        """Return all marks, or those of one query whatever its box was; the oldest first."""
        where = " WHERE kind = ? AND asked = ?" if kind is not None else ""
        values = (kind, asked) if kind is not None else ()
        rows = self._read(f"SELECT * FROM marks{where} ORDER BY at, kind, asked, box, answer", values)
        return [
            Mark(kind, asked, box, answer, bool(same), at, version, made_by)
            for kind, asked, box, answer, same, at, version, made_by in rows
        ]

    # --- groups that nobody wants to see again

    def dismiss(self, kind: str, group: str, *, dismissed: bool) -> None:
        """Dismiss a group of photos, or take that back."""
        if dismissed:
            self._write("INSERT OR IGNORE INTO dismissals VALUES (?, ?, ?)", [(kind, group, now())])
        else:
            self._write("DELETE FROM dismissals WHERE kind = ? AND id = ?", [(kind, group)])

    def dismissed(self, kind: str) -> frozenset[str]:
        """Return the ids of the groups of a kind that were dismissed."""
        return frozenset(
            group for (group,) in self._read("SELECT id FROM dismissals WHERE kind = ?", (kind,))
        )

    # --- jobs

    def keep_job(self, job: str, begun: str, facts: str) -> None:
        """Keep the facts of a job, a JSON text, in place of those that were kept before."""
        self._write("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)", [(job, begun, facts)])

    def forget_jobs(self, most: int) -> None:
        """Forget all but the newest jobs."""
        oldest = "SELECT id FROM jobs ORDER BY begun DESC, rowid DESC LIMIT -1 OFFSET ?"
        self._write(f"DELETE FROM jobs WHERE id IN ({oldest})", [(most,)])

    def jobs(self) -> list[str]:
        """Return the facts of all jobs, the oldest first."""
        return [facts for (facts,) in self._read("SELECT facts FROM jobs ORDER BY begun, rowid")]

    def _read(self, statement: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._sound():
            return self._connection.execute(statement, values).fetchall()

    def _write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        with self._sound():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _sound(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise _plain(error, self.path) from error


def now() -> str:
    """Return the present moment, UTC, as ISO 8601 with microseconds: what was later is greater."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")  # two processes may open it for the first time
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise CollectionError(
            f"{path}: written by a newer meisho, in version {version}, but meisho {__version__} reads up "
            f"to {SCHEMA_VERSION}; upgrade it: pip install --upgrade meisho"
        )
    if version == 0:
        for statement in filter(None, map(str.strip, _TABLES.split(";"))):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _plain(error: Exception, path: Path) -> CollectionError:
    """Say in one line what is wrong with the file, and what to do."""
    if isinstance(error, CollectionError):
        return error
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return CollectionError(
            f"{path}: damaged ({error}); move it away: marks and dismissals in it are lost, nothing else"
        )
    return CollectionError(f"{path}: cannot be read or written ({error}); look at its folder and the disk")


def _signed(key: int) -> int:
    """Return an unsigned 64-bit key as SQLite keeps it."""
    return key - 2**64 if key >= 2**63 else key


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
