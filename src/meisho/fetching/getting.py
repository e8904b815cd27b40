"""Get a data set: download, verify, unpack and record its files, each step only where it is not done."""

import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from meisho.errors import FetchError
from meisho.fetching.archives import Member, UnsafeArchiveError, unpack
from meisho.fetching.download import Expected, Patience, download
from meisho.fetching.kaggle_client import download_from_kaggle
from meisho.fetching.manifest import OWN_FOLDER, DataFile, Manifest, say_bytes
from meisho.fetching.parallel import run_parallel
from meisho.fetching.partial import Digests, digest_file, partial_bytes
from meisho.fetching.record import Record, hold_folder
from meisho.fetching.selection import Selection, read_ids_of_classes, select_files
from meisho.fetching.source import SourceFault, is_address
from meisho.progress import Progress, silent

BY_HAND = "by hand"
_SPARE_BYTES = 50_000_000
_MOST_TIMES_ABOUT = 4
"""How often a file may have the size that a manifest gives for about right."""
_SHOWN = 3

"""Called with a file's path, "download", "unpack" or "done", and the bytes so far and in all where known."""


@dataclass(frozen=True)
class FetchOptions:
    """How a data set is got.

    Attributes:
        mirror: A folder or address that holds the files instead of their publishers: PATH, NAME/PATH, or
            either below `downloads`.
        parallel: How many files at once.
        keep_archives: Keep archives once they are unpacked.
        check_space: Refuse to begin what will not fit on the disk; many sizes are known only roughly.
        patience: How long to wait for a source.
    """

    mirror: str | None = None
    parallel: int = 4
    keep_archives: bool = False
    check_space: bool = True
    patience: Patience = field(default_factory=Patience)


_ALL = Selection()
_DEFAULT = FetchOptions()


@dataclass(frozen=True)
class FetchSummary:
    """What was done.

    Attributes:
        root: The folder.
        fetched: Files that were downloaded or taken over, in the manifest's order.
        kept: Files that were there already.
        trusted: Those of `fetched` for which nobody gives a checksum: their digests are recorded now.
        num_members: Files that were unpacked.
        seconds: Time that it took.
    """

    root: Path
    fetched: tuple[str, ...]
    kept: tuple[str, ...]
    trusted: tuple[str, ...]
    num_members: int
    seconds: float


def get_dataset(
    manifest: Manifest,
    root: Path,
    selection: Selection = _ALL,
    options: FetchOptions = _DEFAULT,
    *,
    progress: Progress = silent,
) -> FetchSummary:
    """Bring the chosen files of a data set into a folder; what is there and whole is left alone.

    Run it again after any interruption: it goes on where it was.

    Args:
        manifest: The data set.
        root: Its folder; made when it is not there.
        selection: Which of its files.
        options: How.
        progress: Told, as "download PATH" and "unpack PATH", how many bytes of each file are done, and, as
            "done PATH", that it is whole; called from several threads.

    Raises:
        InputError: The selection does not fit the manifest.
        FetchError: A file cannot be had, is not what was expected, or cannot be unpacked; the message says
            how to supply it by hand. Files beside it are got all the same.
        MissingDependencyError: It is on Kaggle, and Kaggle's client is not installed.
        OSError: The disk is full, or a file cannot be written.
    """
    started = time.monotonic()
    files = select_files(manifest, selection)
    with hold_folder(root):
        record = Record(root, manifest.name)
        fetcher = _Fetcher(manifest, root, selection, options, progress, record)
        missing = [file for file in files if not fetcher.is_there(file)]
        fetcher.check_space(missing)
        record.select(file.path for file in files)
        with fetcher.tidying(files):
            fetcher.fetch([file for file in missing if file.unpack is None])
            fetcher.fetch([file for file in missing if file.unpack])
    order = [file.path for file in files]
    tables = {file.md5_in for file in files}
    return FetchSummary(
        root,
        tuple(path for path in order if path in fetcher.fetched),
        tuple(path for path in order if path not in fetcher.fetched),
        tuple(path for path in order if path in fetcher.fetched and _is_trusted(manifest, path, tables)),
        sum(fetcher.unpacked.values()),
        time.monotonic() - started,
    )


@dataclass
class _Fetcher:
    manifest: Manifest
    root: Path
    selection: Selection
    options: FetchOptions
    progress: Progress
    record: Record
    stop: threading.Event = field(default_factory=threading.Event)
    fetched: set[str] = field(default_factory=set)
    unpacked: dict[str, int] = field(default_factory=dict)
    _wanted: dict[str, frozenset[str]] = field(default_factory=dict)

    @contextmanager
    def tidying(self, files: Sequence[DataFile]) -> Iterator[None]:
        """Leave no empty folder and nothing half unpacked: not from here, nor from a run that was killed."""
        shutil.rmtree(self._unpacking, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(self._unpacking, ignore_errors=True)
            for folder in {file.place(self.root).parent for file in files}:
                _remove_empty(folder, above=self.root)

    def check_space(self, missing: Sequence[DataFile]) -> None:
        """Refuse to begin what will not fit on the disk."""
        needed = _needed_bytes(self.root, missing, self.options, self.selection)
        free = shutil.disk_usage(self.root).free
        if self.options.check_space and needed + _SPARE_BYTES > free:
            raise FetchError(
                f"{self.root}: about {say_bytes(needed)} are needed and {say_bytes(free)} are free; "
                "make room, choose another folder (--to) or fewer files (--part, --shards); --ignore-space "
                "tries it all the same"
            )

    def fetch(self, files: Sequence[DataFile]) -> None:
        """Get some files, several at once; all are tried before the first error is raised."""
        for table in sorted({f.classes_in for f in files if f.classes_in and self.selection.classes}):
            place = self.manifest.by_path[table].place(self.root)
            self._wanted[table] = read_ids_of_classes(place, self.selection.classes or ())
        errors = run_parallel(self._fetch_one, files, self.options.parallel, self.stop)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            shown = [str(error) for error in errors[:_SHOWN]]
            more = [f"... and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
            raise FetchError(
                "\n  ".join([f"{self.manifest.name}: {len(errors)} files cannot be had:", *shown, *more])
            ) from errors[0]

    def _fetch_one(self, file: DataFile) -> None:
        self._bring(file)
        self.fetched.add(file.path)
        self.progress(f"done {file.path}", 1, 1)

    def is_there(self, file: DataFile) -> bool:
        """Whether a file was got, and it, or all that was unpacked from it, is still in place."""
        done = self.record.files.get(file.path)
        if done is None:
            return False
        if file.unpack is None:
            return _has_size(file.place(self.root), done.size_bytes)
        if done.num_members is None or not self.selection.covers(done.classes):
            return False
        folder = self.root / file.unpack.to
        return all(_has_size(folder / m.path, m.size_bytes) for m in self.record.members(file.path))

    def _bring(self, file: DataFile) -> None:
        place = file.place(self.root)
        expected = self._expected(file)
        if place.is_file():
            digests, source = self._take_over(file, place, expected), BY_HAND
        else:
            digests, source = self._download(file, place, expected)
        if file.unpack:
            members = self._unpack(file, place)
            self.record.add(file.path, digests, source)
            self.record.add_members(file.path, members, self.selection.classes if file.classes_in else None)
            self.unpacked[file.path] = len(members)
            if not self.options.keep_archives and source != BY_HAND:
                place.unlink()
        else:
            self.record.add(file.path, digests, source)

    def _expected(self, file: DataFile) -> Expected:
        most = _MOST_TIMES_ABOUT * file.expected_bytes + _SPARE_BYTES
        if file.md5_in:
            table = self.manifest.by_path[file.md5_in].place(self.root)
            md5 = _read_md5(table, file)
            return Expected(file.size_bytes, file.sha256, md5, said_by=table.name, most_bytes=most)
        before = self.record.files.get(file.path)
        if before and not file.names_checksum:
            return Expected(before.size_bytes, before.sha256, said_by="the first download")
        return Expected(file.size_bytes, file.sha256, file.md5, most_bytes=most)

    def _take_over(self, file: DataFile, place: Path, expected: Expected) -> Digests:
        digests = digest_file(place, md5=bool(expected.md5))
        if difference := expected.difference(digests):
            raise FetchError(
                f"{place}: is not the {file.path} of {self.manifest.name}: {difference}. It is left as it "
                "is; remove it to have it downloaded, or put the right file there"
            )
        return digests

    def _download(self, file: DataFile, place: Path, expected: Expected) -> tuple[Digests, str]:
        def report(stage: str, done: int, total: int) -> None:
            self.progress(f"{stage} {file.path}", done, total or file.expected_bytes)

        try:
            if file.kaggle and not self.options.mirror:
                return self._download_from_kaggle(file, place, expected, report)
            return download(
                place,
                _sources(self.manifest.name, file, self.options.mirror),
                expected,
                patience=self.options.patience,
                progress=report,
                stop=self.stop,
            )
        except SourceFault as fault:
            raise FetchError(self._how_to_supply(file, place, fault)) from fault

    def _download_from_kaggle(
        self, file: DataFile, place: Path, expected: Expected, report: Progress
    ) -> tuple[Digests, str]:
        folder = self.root / OWN_FOLDER / "kaggle"
        folder.mkdir(parents=True, exist_ok=True)
        archive = download_from_kaggle(
            file.kaggle or "", folder, progress=report, about_bytes=file.expected_bytes
        )
        digests = digest_file(archive, md5=bool(expected.md5))
        if difference := expected.difference(digests):
            archive.unlink()
            raise SourceFault(f"Kaggle: {difference}")
        place.parent.mkdir(parents=True, exist_ok=True)
        archive.replace(place)
        return digests, f"kaggle:{file.kaggle}"

    def _how_to_supply(self, file: DataFile, place: Path, fault: SourceFault) -> str:
        name = self.manifest.name
        return (
            f"{name}: {file.path} cannot be had:\n  {fault}\n"
            f"  Get it by other means (see {self.manifest.homepage}), put it at {place} and run the same "
            "command again; or name a folder or address that has it: --mirror PLACE with "
            f"PLACE/{name}/{file.path}"
        )

    def _unpack(self, file: DataFile, place: Path) -> tuple[Member, ...]:
        assert file.unpack is not None
        folder = self._unpacking / re.sub("[^A-Za-z0-9.]", "_", file.path)
        folder.mkdir(parents=True)
        try:
            members = unpack(
                place,
                folder,
                file.unpack,
                wanted=self._wanted.get(file.classes_in or ""),
                progress=lambda stage, done, total: self.progress(f"{stage} {file.path}", done, total),
                stop=self.stop,
            )
            to = self.root / file.unpack.to
            before = self.record.members(file.path) if file.path in self.record.files else ()
            _check_strangers(members, to, known={member.path for member in before})
            _move(members, folder, to)
        except UnsafeArchiveError as error:
            raise UnsafeArchiveError(f"{error}. Remove it to have it downloaded again") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return members

    @property
    def _unpacking(self) -> Path:
        return self.root / OWN_FOLDER / "unpacking"


def _is_trusted(manifest: Manifest, path: str, tables: Collection[str | None]) -> bool:
    """Whether nobody gives a checksum of a file that does not give them itself."""
    return path not in tables and not manifest.by_path[path].names_checksum


def _sources(name: str, file: DataFile, mirror: str | None) -> tuple[str, ...]:
    if mirror is None:
        return file.urls
    path = quote(file.path) if is_address(mirror) else file.path
    base = mirror.rstrip("/") if is_address(mirror) else str(Path(mirror))
    places = tuple(
        f"{base}/{before}{path}" for before in (f"{name}/", "", f"{name}/downloads/", "downloads/")
    )
    if is_address(mirror):
        return places
    return tuple(place for place in places if Path(place).is_file()) or places[:2]


def _read_md5(table: Path, file: DataFile) -> str:
    """Read a publisher's file of MD5 sums: "digest  name" per line, or one digest alone."""
    name = file.path.rpartition("/")[2]
    try:
        lines = [line.split() for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FetchError(
            f"{table}: cannot be read ({error}); remove it to have it downloaded again"
        ) from error
    for words in lines:
        is_its = len(words) == 1 or words[-1].lstrip("*").rpartition("/")[2] == name
        if is_its and re.fullmatch("[0-9a-fA-F]{32}", words[0]):
            return words[0].lower()
    raise FetchError(f"{table}: gives no MD5 of {name}; remove it to have it downloaded again")


def _needed_bytes(
    root: Path, missing: Sequence[DataFile], options: FetchOptions, selection: Selection
) -> int:
    """Return about how many bytes more will be on the disk at the worst moment."""
    to_come = [(file, _bytes_to_come(root, file)) for file in missing]
    plain = sum(size for file, size in to_come if not file.unpack)
    archives = sorted(size for file, size in to_come if file.unpack)
    at_once = archives if options.keep_archives else archives[-options.parallel :]
    by_class = bool(selection.classes)  # then hardly anything is unpacked
    unpacked = sum(f.expected_bytes for f in missing if f.unpack and not (by_class and f.classes_in))
    return plain + sum(at_once) + unpacked


def _bytes_to_come(root: Path, file: DataFile) -> int:
    place = file.place(root)
    present = place.stat().st_size if place.is_file() else partial_bytes(place)
    return max(0, file.expected_bytes - present)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size and path.is_file()
    except OSError:
        return False


def _check_strangers(members: Iterable[Member], to: Path, *, known: Collection[str]) -> None:
    """Refuse to replace a file that no archive gave: it is not of the data set, or is yours."""
    for member in members:
        target = to / member.path
        if member.path in known or not os.path.lexists(target):
            continue
        if not _has_size(target, member.size_bytes) or digest_file(target).sha256 != member.sha256:
            raise FetchError(
                f"{target}: is there already and is not what the archive holds; move it, or choose another "
                "folder with --to"
            )


def _move(members: Iterable[Member], folder: Path, to: Path) -> None:
    made: set[Path] = set()
    for member in members:
        target = to / member.path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        (folder / member.path).replace(target)


def _remove_empty(folder: Path, *, above: Path) -> None:
    while folder != above and folder.is_relative_to(above):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
