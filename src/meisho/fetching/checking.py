"""Check: whether what was got of a data set is still all there, and still what its publisher gave."""

from dataclasses import dataclass
from pathlib import Path

from meisho.fetching.download import Expected
from meisho.fetching.manifest import DataFile, Manifest
from meisho.fetching.partial import digest_file, partial_bytes
from meisho.fetching.record import FetchedFile, Record

_SHOWN = 3


@dataclass(frozen=True)
class FileStatus:
    """The state of one file of a manifest.

    Attributes:
        path: Its path in the manifest.
        is_good: Whether all is well; None where that cannot be said, because it was not got by a manifest.
        state: In a few words.
    """

    path: str
    is_good: bool | None
    state: str


def check_files(manifest: Manifest, root: Path, *, deep: bool = False) -> tuple[FileStatus, ...]:
    """Check the files that were chosen for a folder; all of the default parts where nothing is recorded.

    Args:
        manifest: The data set.
        root: Its folder.
        deep: Read every file and compare its digest, instead of its size alone.

    Raises:
        DatasetError: The record cannot be read.
        FetchError: The folder holds another data set.
    """
    record = Record(root, manifest.name)
    chosen = [manifest.by_path[path] for path in record.selected if path in manifest.by_path]
    files = chosen or [file for file in manifest.all_files if file.part in manifest.default_parts]
    return tuple(_status(file, root, record, deep) for file in files)


def is_loadable(manifest: Manifest, root: Path) -> bool:
    """Whether all that the loaders of a data set need was chosen for a folder, or nothing is recorded."""
    selected = set(Record(root, manifest.name).selected)
    parts = manifest.loader_parts or manifest.parts
    return not selected or selected >= {file.path for file in manifest.all_files if file.part in parts}


def _status(file: DataFile, root: Path, record: Record, deep: bool) -> FileStatus:
    done = record.files.get(file.path)
    place = file.place(root)
    if done and done.num_members is not None and file.unpack:
        return _status_of_members(file, root / file.unpack.to, record, done, deep)
    if place.is_file():
        return _status_of_file(file, place, done, deep)
    if came := partial_bytes(place):
        return FileStatus(file.path, False, f"{came:,} bytes have come; get it again to go on")
    if file.unpack and not record.selected:
        return FileStatus(file.path, None, "not downloaded here; its photos may have come another way")
    return FileStatus(file.path, False, "missing")


def _status_of_file(file: DataFile, place: Path, done: FetchedFile | None, deep: bool) -> FileStatus:
    size = place.stat().st_size
    wanted = done.size_bytes if done else file.size_bytes
    if wanted is not None and size != wanted:
        return FileStatus(file.path, False, f"expected {wanted:,} bytes, has {size:,}")
    if not deep:
        return FileStatus(file.path, True, "there")
    sha256 = file.sha256 or (done.sha256 if done else None)
    if difference := Expected(None, sha256, file.md5, said_by="recorded").difference(
        digest_file(place, md5=bool(file.md5))
    ):
        return FileStatus(file.path, False, difference)
    compared = "its checksum is right" if sha256 or file.md5 else "nobody gives a checksum"
    return FileStatus(file.path, True, f"there; {compared}")


def _status_of_members(
    file: DataFile, folder: Path, record: Record, done: FetchedFile, deep: bool
) -> FileStatus:
    missing, altered = [], []
    for member in record.members(file.path):
        path = folder / member.path
        if not path.is_file():
            missing.append(path)
        elif path.stat().st_size != member.size_bytes or (deep and digest_file(path).sha256 != member.sha256):
            altered.append(path)
    faults = [
        f"of {done.num_members:,} unpacked files {len(paths):,} {what}: {_some(paths)}"
        for what, paths in (("missing", missing), ("changed", altered))
        if paths
    ]
    if faults:
        return FileStatus(file.path, False, "; ".join(faults))
    only = f" of {len(done.classes)} classes" if done.classes else ""
    read = "; their checksums are right" if deep else ""
    return FileStatus(file.path, True, f"unpacked, all {done.num_members:,} files{only} there{read}")


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    return ", ".join(str(path) for path in paths[:_SHOWN]) + more
