"""commits.json: digests of the small files by which LanceDB knows which rows a table has.

The rows themselves carry digests (`meisho.store.digests`). Which rows there are stands in the manifest of a
table's newest version and in its files of deleted rows, which LanceDB does not checksum either: a changed one
would lose rows, or bring back old ones, in silence. The writer notes their digests after each commit. A file
that was not noted yet, because a kill came between, is believed.
"""

from functools import lru_cache
from pathlib import Path

import xxhash

from meisho.buckets import BucketPath
from meisho.errors import DamagedError
from meisho.sealed import read_sealed, write_sealed
from meisho.store.snapshot import newest_manifest

COMMITS_FILE = "commits.json"


def note_commits(path: Path, table: str) -> None:
    """Note the newest commit of a table; only the writer may call this."""
    noted = _read(path)
    others = {name: value for name, value in noted.items() if not name.startswith(f"{table}.lance/")}
    files = {str(file.relative_to(path)): _digest(file) for file in _small_files(path, table)}
    if (now := {**others, **files}) != noted:
        write_sealed(path / COMMITS_FILE, now)


def check_commits(path: Path, table: str) -> None:
    """Compare the files of the newest commit of a table with what was noted.

    Raises:
        DamagedError: One has changed.
    """
    noted = _read(path)
    _refuse_older(path, table, noted)
    for file in _small_files(path, table):
        name = str(file.relative_to(path))
        try:
            same = noted.get(name) in (None, _digest(file))
        except FileNotFoundError:  # tidied away by the writer meanwhile
            continue
        if not same:
            raise DamagedError(
                f"{file}: changed on the disk since it was written, so that rows may be missing; "
                "run 'meisho index' to put it right"
            )


def find_damaged_commits(path: Path) -> tuple[str, ...]:
    """Say whether commits.json itself is damaged; what it noted is not compared with anything then."""
    try:
        read_sealed(path / COMMITS_FILE)
    except (OSError, ValueError):
        return (f"{COMMITS_FILE} is damaged",)
    return ()


def _refuse_older(path: Path, table: str, noted: dict[str, object]) -> None:
    """Refuse a table that has lost its newest commit: an older one would be read in its place."""
    newest = newest_manifest(path, table)
    versions = [Path(name).name for name in noted if name.startswith(f"{table}.lance/_versions/")]
    if any(len(name) == len(newest) and name < newest for name in versions):  # a newer one sorts first
        raise DamagedError(
            f"{path}: the newest commit of its {table.replace('_', ' ')} is gone from the disk, so that "
            "older rows would be read; run 'meisho index' to put it right"
        )


def _small_files(path: Path, table: str) -> list[Path]:
    folder = path / f"{table}.lance"
    newest = newest_manifest(path, table)
    manifests = [folder / "_versions" / newest] if newest else []
    return [*manifests, *sorted((folder / "_deletions").glob("*"))]


def _read(path: Path) -> dict[str, object]:
    """Return what was noted; nothing where the file is not there, or damaged itself."""
    try:
        return read_sealed(path / COMMITS_FILE)
    except (OSError, ValueError):
        return {}


def _digest(file: Path) -> str:
    if isinstance(file, BucketPath):
        return _digest_of(file, file.look().etag)
    return xxhash.xxh3_64_hexdigest(file.read_bytes())


@lru_cache(maxsize=4096)
def _digest_of(file: BucketPath, _etag: str) -> str:
    """Digest an object; read once, as the store says by its etag whether it has changed."""
    return xxhash.xxh3_64_hexdigest(file.read_bytes())
