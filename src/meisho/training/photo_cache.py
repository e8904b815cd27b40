"""Photo cache: photos decoded once, at a reduced size, in one file that is mapped into memory.

`fill_cache` decodes what is missing; `CachedPhotos` then gives any photo quickly. The folder holds two files
that only grow: `photos.bin`, the pixels one photo after the other, and `photos.idx`, a record of each that is
written after its pixels. A kill at any moment loses the photo that was being written and nothing else. Pixels
that were damaged on the disk are found by their checksum; such a photo is decoded whenever it is asked for.
"""

import hashlib
import io
import mmap
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from meisho.arrays import UInt8Array, read_only
from meisho.decoding import load_images
from meisho.errors import ConfigError, ImageError, InputError
from meisho.files import replacing, write_bytes
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo

RECORD = np.dtype(
    [
        ("key", "V16"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("crc", "<u4"),
    ]
)
"""What is known of a cached photo; `length` 0 stands for one that is not cached."""

_JPEG_QUALITY = 95


@dataclass(frozen=True)
class CacheOptions:
    """How photos are kept.

    Attributes:
        image: The size at which they are kept.
        encoding: "jpeg" keeps them at quality 95; "raw" takes more space and no time to decode.
        max_bytes: Size of `photos.bin` at most. What finds no room is decoded whenever it is asked for.

    Raises:
        ConfigError: A value is out of its range.
    """

    image: ImageOptions = field(default_factory=lambda: ImageOptions(max_side_px=512, enlarge=False))
    encoding: Literal["jpeg", "raw"] = "jpeg"
    max_bytes: int = 50_000_000_000

    def __post_init__(self) -> None:
        if self.encoding not in ("jpeg", "raw"):
            raise ConfigError(f"photo cache: encoding {self.encoding!r} is neither 'jpeg' nor 'raw'")
        if self.max_bytes < 0:
            raise ConfigError(f"photo cache: max_bytes is {self.max_bytes}, it must not be negative")


@dataclass(frozen=True, eq=False)
class CacheEntries:
    """The whole records of a cache.

    Attributes:
        records: (N,) of key, offset, length, height, width, checksum.
        rows: Key -> row.
        end: Where the last pixels end, bytes.
    """

    records: NDArray[np.void]
    rows: dict[bytes, int]
    end: int


def fill_cache(
    folder: Path, photos: Iterable[Photo], options: CacheOptions, *, num_workers: int | None = None
) -> Generator[ImageError | None]:
    """Decode the photos that the cache lacks; yields None for each photo, or why it cannot be read.

    The first that finds no room ends it: it and those after it are not looked at. Another process that fills
    the same cache is waited for. In a cache that is more than half full, photos that are not asked for make
    room.

    Args:
        folder: Folder of the cache; made if missing.
        photos: The photos that will be asked for.
        options: How they are kept.
        num_workers: Processes that decode, as for `load_images`.

    Raises:
        InputError: The cache cannot be written, because the disk is full for example.
    """
    photos = tuple(photos)
    with _explained(folder), _locked(folder):
        wanted = {photo_key(photo, options): photo for photo in photos}
        entries = _mend(folder)
        missing = [photo for key, photo in wanted.items() if key not in entries.rows]
        yield from (None for _ in range(len(photos) - len(missing)))
        if missing and entries.end > options.max_bytes // 2 and not entries.rows.keys() <= wanted.keys():
            entries = _keep_only(folder, entries, wanted.keys())
        yield from _append(folder, missing, options, entries.end, num_workers)


class CachedPhotos:
    """Photos out of a cache. It can be sent to other processes, and read by several threads.

    Args:
        folder: Folder of the cache. What `fill_cache` has not put there is decoded.
        options: How they are kept.
    """

    def __init__(self, folder: Path, options: CacheOptions) -> None:
        self.options, self._folder = options, folder
        self._map: mmap.mmap | None = None

    def find(self, photos: Iterable[Photo]) -> NDArray[np.void]:
        """Return the (N,) records of photos, as `load` needs them."""
        entries = read_entries(self._folder)
        rows = np.fromiter((entries.rows.get(photo_key(p, self.options), -1) for p in photos), np.int64)
        return np.append(entries.records, np.zeros(1, RECORD))[rows]  # the last is none's

    def load(self, photo: Photo, record: np.void) -> UInt8Array:
        """Return a photo's (H, W, 3) uint8 RGB pixels, read-only; the same whether it is cached or not.

        Raises:
            ImageError: It is not cached and cannot be read.
        """
        data = self._read(int(record["offset"]), int(record["length"]))
        if not data or zlib.crc32(data) != record["crc"]:
            pixels = load_image(photo, self.options.image)
            return _decode(_encode(pixels, self.options), pixels.shape, self.options)
        return _decode(data, (int(record["height"]), int(record["width"]), 3), self.options)

    def _read(self, offset: int, length: int) -> memoryview | bytes:
        if length == 0:
            return b""
        if self._map is None:
            with (self._folder / "photos.bin").open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)[offset : offset + length]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_map": None}


def photo_key(photo: Photo, options: CacheOptions) -> bytes:
    """Return 16 bytes that change with the file's path, size and time, the box, and how the photo is kept."""
    try:
        status = photo.path.stat()
        state = (status.st_size, status.st_mtime_ns)
    except OSError:
        state = (-1, -1)  # reading it will say what is wrong
    text = repr((str(photo.path.absolute()), state, photo.box, options.image, options.encoding))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def read_entries(folder: Path) -> CacheEntries:
    """Read the records whose pixels are there; a folder without a cache has none."""
    try:
        data = (folder / "photos.idx").read_bytes()
        size = (folder / "photos.bin").stat().st_size
    except FileNotFoundError:
        data, size = b"", 0
    records = np.frombuffer(data, RECORD, count=len(data) // RECORD.itemsize).copy()
    ends = records["offset"] + records["length"]
    records = records[ends <= size]
    rows = {key.tobytes(): row for row, key in enumerate(records["key"])}
    return CacheEntries(records, rows, int(ends[ends <= size].max(initial=0)))


def _mend(folder: Path) -> CacheEntries:
    """Cut off what a kill has left half written, and return what is there."""
    entries = read_entries(folder)
    index = folder / "photos.idx"
    if not index.is_file() or index.stat().st_size != entries.records.nbytes:
        write_bytes(index, entries.records.tobytes())
    with (folder / "photos.bin").open("ab") as file:
        file.truncate(entries.end)
    return entries


def _append(
    folder: Path, photos: Sequence[Photo], options: CacheOptions, end: int, num_workers: int | None
) -> Generator[ImageError | None]:
    with (
        (folder / "photos.bin").open("ab") as pixels_file,
        (folder / "photos.idx").open("ab") as index_file,
    ):
        loading = load_images(photos, options.image, num_workers=num_workers)
        for done, (photo, image) in enumerate(loading):
            if isinstance(image, ImageError):
                yield image
                continue
            data = _encode(image.pixels, options)
            if end + len(data) > options.max_bytes:
                yield from (None for _ in range(done, len(photos)))
                return
            pixels_file.write(data)
            pixels_file.flush()  # before the record, in case of a kill between the two
            height, width = image.pixels.shape[:2]
            entry = (photo_key(photo, options), end, len(data), height, width, zlib.crc32(data))
            index_file.write(np.array([entry], RECORD).tobytes())
            index_file.flush()
            end += len(data)
            yield None


def _keep_only(folder: Path, entries: CacheEntries, keys: Set[bytes]) -> CacheEntries:
    """Write the cache anew without the photos that are not asked for.

    Records are removed first and written last: a kill leaves an empty cache, never records of other pixels.
    """
    kept = entries.records[[row for key, row in entries.rows.items() if key in keys]]
    source = folder / "photos.bin"
    with replacing(source) as part:
        with source.open("rb") as old, part.open("wb") as new:
            for record in kept:
                old.seek(int(record["offset"]))
                record["offset"] = new.tell()
                new.write(old.read(int(record["length"])))
        (folder / "photos.idx").unlink()
    write_bytes(folder / "photos.idx", kept.tobytes())
    return read_entries(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        yield


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{folder}: the photo cache cannot be written ({reason}); free space, give another folder, or "
            "train without a cache"
        ) from error


def _encode(pixels: UInt8Array, options: CacheOptions) -> bytes:
    if options.encoding == "raw":
        return pixels.tobytes()
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()


def _decode(data: bytes | memoryview, shape: tuple[int, ...], options: CacheOptions) -> UInt8Array:
    if options.encoding == "raw":
        return read_only(np.frombuffer(data, np.uint8).reshape(shape), np.uint8)
    with Image.open(io.BytesIO(data)) as image:
        return read_only(np.asarray(image), np.uint8)
