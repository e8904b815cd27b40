"""Record: what was got into a folder, and its digests, so that nothing is got twice or changes unseen.

Beside the photos, in `ROOT/.fetched`: `record.json`, and per unpacked archive a table of its members. Where a
publisher gives no checksum, the digest of the first download stands here and is what later ones must match.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from meisho.config import build, config_values, parse_config
from meisho.documents import one_line, read_json
from meisho.errors import ConfigError, DatasetError, FetchError
from meisho.fetching.archives import Member
from meisho.fetching.manifest import OWN_FOLDER
from meisho.fetching.partial import Digests
from meisho.files import write_text


@dataclass(frozen=True)
class FetchedFile:
    """A file that was got.

    Attributes:
        size_bytes: Its size.
        sha256: Its SHA-256 in hex digits.
        source: The address or path that gave it; "by hand" where it lay there already.
        num_members: Files that were unpacked from it; None when it was not unpacked.
        classes: The classes that alone were unpacked; None for all.
    """

    size_bytes: int
    sha256: str
    source: str
    num_members: int | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Saved:
    manifest: str
    selected: tuple[str, ...]
    files: dict[str, object]


class Record:
    """The record of one folder; every change is on the disk before it is relied on. Threads may share it."""

    def __init__(self, root: Path, manifest: str) -> None:
        self.root, self.folder = root, root / OWN_FOLDER
        self._path = self.folder / "record.json"
        self._lock = threading.Lock()
        self.selected: tuple[str, ...] = ()
        self.files: dict[str, FetchedFile] = {}
        if self._path.is_file():
            self._load(manifest)
        self.manifest = manifest

    def select(self, paths: Iterable[str]) -> None:
        """Note that these files are wanted, besides those asked for before."""
        with self._lock:
            self.selected = tuple(dict.fromkeys((*self.selected, *paths)))
            self._save()

    def add(self, path: str, digests: Digests, source: str) -> None:
        """Note that a file was got and verified."""
        with self._lock:
            self.files = {**self.files, path: FetchedFile(digests.size_bytes, digests.sha256, source)}
            self._save()

    def add_members(self, path: str, members: tuple[Member, ...], classes: tuple[str, ...] | None) -> None:
        """Note that an archive was unpacked: its members first, then that all of them are in place."""
        table = self.members_path(path)
        table.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{member.size_bytes}\t{member.sha256}\t{member.path}\n" for member in members)
        write_text(table, "".join(lines))
        with self._lock:
            done = replace(self.files[path], num_members=len(members), classes=classes)
            self.files = {**self.files, path: done}
            self._save()

    def members(self, path: str) -> tuple[Member, ...]:
        """Return what was unpacked from an archive.

        Raises:
            DatasetError: The table of its members cannot be read.
        """
        table = self.members_path(path)
        try:
            lines = table.read_text(encoding="utf-8").splitlines()
            return tuple(
                Member(name, int(size), sha256)
                for size, sha256, name in (line.split("\t", 2) for line in lines)
            )
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{table}: cannot be read ({error}); remove {self.folder} and get the data again"
            ) from error

    def members_path(self, path: str) -> Path:
        """Where the table of an archive's members lies."""
        return self.folder / "members" / f"{path}.tsv"

    def _load(self, manifest: str) -> None:
        try:
            saved = build(read_json(self._path, error=DatasetError), _Saved)
            self.files = {path: _fetched(path, value) for path, value in saved.files.items()}
        except (DatasetError, ConfigError) as error:
            raise DatasetError(
                f"{self._path}: is no record of what was got ({one_line(error)}); "
                f"remove the folder {self.folder} and run 'meisho datasets get' again"
            ) from error
        if saved.manifest != manifest:
            raise FetchError(
                f"{self.root}: holds the data set {one_line(saved.manifest, 100)}, not {manifest} "
                f"(says {self._path.name}); choose another folder"
            )
        self.selected = saved.selected

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {
            "manifest": self.manifest,
            "selected": self.selected,
            "files": {path: config_values(file) for path, file in self.files.items()},
        }
        write_text(self._path, json.dumps(values, indent=1) + "\n")


@contextmanager
def hold_folder(root: Path) -> Iterator[None]:
    """Let no other process get data into a folder meanwhile.

    Raises:
        FetchError: Another one does already.
    """
    (root / OWN_FOLDER).mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / OWN_FOLDER / "lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise FetchError(f"{root}: another process is getting data into it; wait for it to end") from error
    try:
        yield
    finally:
        lock.release()


def _fetched(path: str, value: object) -> FetchedFile:
    if not isinstance(value, Mapping):
        raise ConfigError(f"files.{path} is no table")
    return parse_config(value, FetchedFile, source=path)
