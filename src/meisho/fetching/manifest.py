"""Manifest: every file that makes up a data set, where it is published, how large it is, and its checksum.

Manifests are JSON, in the folder `manifests` here or anywhere else. The keys are the attributes of the
classes below; a key that is not known, stands twice or is of the wrong type is an error::

    {
      "name": "street",
      "title": "Our street, 1,200 photos",
      "licence": "CC BY 4.0",
      "homepage": "https://example.org/street",
      "files": [
        {"path": "truth.csv", "size_bytes": 1731, "sha256": "64 hex digits",
         "urls": ["https://example.org/truth.csv"]},
        {"path": "photos_{shard}.tgz", "shards": {"first": 0, "last": 9, "digits": 3},
         "about_bytes": 90000000, "urls": ["https://example.org/photos_{shard}.tgz"],
         "unpack": {"to": "jpg", "only": ["*.jpg"], "max_members": 200, "max_bytes": 120000000}}
      ]
    }
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from meisho.config import build
from meisho.documents import one_line, read_json
from meisho.errors import ConfigError, DatasetError, InputError
from meisho.tables import say_nearest

OWN_FOLDER = ".fetched"
"""Where below a data set's folder it is recorded what was got; no published file may lie there."""

_LARGEST_BYTES = 4_000_000
_SHARD = "{shard}"
_DIGITS = {"md5": 32, "sha256": 64}
_KAGGLE_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9][A-Za-z0-9-]{0,99}")


@dataclass(frozen=True)
class Shards:
    """The numbers that stand for `{shard}`, `first` to `last`, written with at least so many digits."""

    first: int
    last: int
    digits: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last < 100_000 or not 1 <= self.digits <= 9:
            raise ConfigError(f"no shards {self.first} to {self.last} with {self.digits} digits")


@dataclass(frozen=True)
class Unpacking:
    """How an archive is unpacked, and what it may grow to at most.

    Attributes:
        max_members: Largest number of entries.
        max_bytes: Largest total size of its content.
        to: The folder that its content goes into, below the data set's.
        flatten: Drop the archive's own folders.
        only: Patterns of the members that are wanted, such as "*.jpg" or "full/*.jpg".
    """

    max_members: int
    max_bytes: int
    to: str = "."
    flatten: bool = False
    only: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if self.to != ".":
            check_relative(self.to)
        if self.max_members < 1 or self.max_bytes < 1:
            raise ConfigError("max_members and max_bytes must be positive")


@dataclass(frozen=True)
class DataFile:
    """One published file.

    Attributes:
        path: Its path below the data set's folder, with "/"; an archive's is below the folder `downloads`.
        urls: Where it is published, best first.
        kaggle: The Kaggle data set "owner/name" that it is, instead of `urls`.
        part: The part of the data set that it belongs to; parts are chosen by name.
        shards: Stands for one file per number, put in for "{shard}".
        shard: The number of this one, filled in by `Manifest`.
        size_bytes: Its exact size, where it is known.
        about_bytes: Its rough size, where the exact one is not known: for the space that is needed.
        sha256: Its SHA-256 in hex digits, where known.
        md5: Its MD5 in hex digits, where that is what the publisher gives.
        md5_in: The path of the file of this manifest in which the publisher gives its MD5.
        unpack: How it is unpacked; None for a file that is used as it is.
        classes_in: The path of the table (id, landmark_id) by which single classes are unpacked.
    """

    path: str
    urls: tuple[str, ...] = ()
    kaggle: str | None = None
    part: str = "all"
    shards: Shards | None = None
    shard: int | None = None
    size_bytes: int | None = None
    about_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    md5_in: str | None = None
    unpack: Unpacking | None = None
    classes_in: str | None = None

    def __post_init__(self) -> None:
        check_relative(self.path)
        if bool(self.urls) == bool(self.kaggle):
            raise ConfigError(f"{self.path}: give either urls or kaggle")
        for url in self.urls:
            _check_url(url)
        if self.kaggle and not _KAGGLE_HANDLE.fullmatch(self.kaggle):
            raise ConfigError(f"{self.path}: kaggle is {self.kaggle!r:.80}, expected owner/name")
        if (self.size_bytes is None) == (self.about_bytes is None):
            raise ConfigError(f"{self.path}: give size_bytes, or about_bytes where only that is known")
        if (self.size_bytes or self.about_bytes or 0) < 0:
            raise ConfigError(f"{self.path}: a size is not negative")
        for name, digits in _DIGITS.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
                raise ConfigError(f"{self.path}: {name} is {value!r:.80}, expected {digits} hex digits")

    @property
    def expected_bytes(self) -> int:
        """Its size, or about that."""
        return self.about_bytes if self.size_bytes is None else self.size_bytes  # type: ignore[return-value]

    @property
    def names_checksum(self) -> bool:
        """Whether the manifest or the publisher gives a checksum; else the first download is trusted."""
        return bool(self.sha256 or self.md5 or self.md5_in)

    def place(self, root: Path) -> Path:
        """Where it lies below the data set's folder, or would be put by hand."""
        return root / "downloads" / self.path if self.unpack else root / self.path

    def each(self) -> "tuple[DataFile, ...]":
        """Return the files that this entry stands for."""
        if self.shards is None:
            return (self,)
        numbers = range(self.shards.first, self.shards.last + 1)
        return tuple(self._numbered(number, f"{number:0{self.shards.digits}}") for number in numbers)

    def _numbered(self, number: int, text: str) -> "DataFile":
        return replace(
            self,
            path=self.path.replace(_SHARD, text),
            urls=tuple(url.replace(_SHARD, text) for url in self.urls),
            md5_in=self.md5_in.replace(_SHARD, text) if self.md5_in else None,
            shards=None,
            shard=number,
        )


@dataclass(frozen=True)
class Manifest:
    """A published data set.

    Attributes:
        name: What it is called on the command line.
        title: What it is, in one line.
        licence: What its publisher says about use.
        homepage: The publisher's page.
        files: Its files, or entries that stand for several.
        default_parts: The parts that are got when none is chosen; () where one must be chosen.
        loaders: The data sets (`meisho.datasets.base.DATASETS`) that read its folder.
        loader_parts: The parts that these need; () for all.
        note: What a user should know before getting it.
    """

    name: str
    title: str
    licence: str
    homepage: str
    files: tuple[DataFile, ...]
    default_parts: tuple[str, ...] = ("all",)
    loaders: tuple[str, ...] = ()
    loader_parts: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,99}", self.name):
            raise ConfigError(f"name is {self.name!r:.80}, expected small letters, digits, - and _")
        if not self.files:
            raise ConfigError("files is empty; name at least one")
        paths = [file.path for file in self.all_files]
        twice = next((path for path in paths if paths.count(path) > 1), None) if _repeats(paths) else None
        if twice:
            raise ConfigError(f"the path {twice!r:.200} stands twice in files; remove one")
        for file in self.all_files:
            for path in filter(None, (file.md5_in, file.classes_in)):
                if path not in self.by_path:
                    raise ConfigError(f"{file.path}: {path!r:.200} is not a file of this manifest")
        for part in (*self.default_parts, *self.loader_parts):
            if part not in self.parts:
                raise ConfigError(f"no file belongs to the part {part!r:.80}")

    @cached_property
    def all_files(self) -> tuple[DataFile, ...]:
        """Its files, one by one."""
        return tuple(file for entry in self.files for file in entry.each())

    @cached_property
    def by_path(self) -> dict[str, DataFile]:
        """Path -> file."""
        return {file.path: file for file in self.all_files}

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts, in order."""
        return tuple(dict.fromkeys(file.part for file in self.all_files))

    def part_bytes(self, part: str) -> int:
        """About how many bytes a part takes to download."""
        return sum(file.expected_bytes for file in self.all_files if file.part == part)


def say_bytes(size: int) -> str:
    """Return a size in bytes as a person reads it: "1.94 GB"."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"


def manifest_names() -> tuple[str, ...]:
    """Return the names of the data sets whose manifests come with the package."""
    folder = resources.files("meisho.fetching") / "manifests"
    return tuple(sorted(entry.name.removesuffix(".json") for entry in folder.iterdir()))


def load_manifest(name: str) -> Manifest:
    """Load the manifest called `name`, or the one in the file `name` when that ends in ".json".

    Raises:
        InputError: There is no such data set.
        DatasetError: The file cannot be read, or is no manifest.
    """
    if name.endswith(".json"):
        return read_manifest(Path(name))
    if name not in manifest_names():
        raise InputError(
            f"no manifest is called {name!r:.80}; {say_nearest(name, manifest_names())}; or give a .json file"
        )
    with resources.as_file(resources.files("meisho.fetching") / "manifests" / f"{name}.json") as path:
        return read_manifest(path)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from its file.

    Raises:
        DatasetError: It cannot be read, or is no manifest; the message says where and what was expected.
    """
    try:
        return build(read_json(path, error=DatasetError, most_bytes=_LARGEST_BYTES), Manifest)
    except DatasetError as error:
        raise DatasetError(one_line(error, 600)) from error


def _repeats(values: list[str]) -> bool:
    return len(set(values)) < len(values)


def check_relative(path: str) -> None:
    """Check a path that is joined to a folder: it must stay below it on every system.

    Raises:
        ConfigError: It is empty, absolute, goes up, lies in our own folder, or holds a backslash, a colon or
            control characters.
    """
    parts = PurePosixPath(path).parts
    odd = any(sign in path for sign in "\\:") or any(ord(sign) < 32 for sign in path)
    odd = odd or OWN_FOLDER in parts
    if odd or not parts or path.startswith("/") or ".." in parts or len(path) > 1000:
        raise ConfigError(f"{path!r:.200} is not a path below the data set's folder")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise ConfigError(f"{url!r:.200} is not an https:// or http:// address")
