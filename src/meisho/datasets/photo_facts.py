"""Facts about photo files: size, whether they can be read, and two digests that find copies.

The SHA-256 of the file finds exact copies. A perceptual hash finds near ones: the same photo at another size,
quality or format. Descriptors would find them too, but they also put different photos of one landmark close
together, need a model, and take a hundred times as long.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from meisho.arrays import Float64Array, UInt8Array
from meisho.datasets.base import load_dataset
from meisho.datasets.labels import is_labelled, load_labels, read_labels
from meisho.errors import ImageError
from meisho.images import ImageOptions, load_sized_image
from meisho.photos import Photo, content_sha256
from meisho.progress import Progress, silent

HASH_BITS = 64
_SIDE_PX = 32
_KEPT = 8
_OPTIONS = ImageOptions(max_side_px=2 * _SIDE_PX)
_IN_FLIGHT = 64


@dataclass(frozen=True)
class PhotoFacts:
    """What is known of one photo file.

    Attributes:
        path: The file.
        part: The part of the data set that it is in, such as "train".
        label: What it shows, "" where that is not known.
        size_bytes: Size of the file; 0 where there is none.
        size_px: Width and height of the upright photo; (0, 0) where it cannot be read.
        sha256: SHA-256 of the file; "" where it cannot be read.
        perceptual_hash: 64 bits, see `hash_picture`; None where the photo cannot be read.
        error: Why it cannot be read, "" where it can.
    """

    path: Path
    part: str
    label: str = ""
    size_bytes: int = 0
    size_px: tuple[int, int] = (0, 0)
    sha256: str = ""
    perceptual_hash: int | None = None
    error: str = ""


def list_photos(name: str, root: Path, *, beside: Sequence[Path] = ()) -> tuple[PhotoFacts, ...]:
    """List the photos of a data set, not yet examined, each with its part and label.

    Parts are the tables' names where there are several; else the roles of the photos, such as "query".

    Args:
        name: A name that `meisho.datasets.labels.load_labels` knows, or one of `DATASETS`.
        root: Its folder, or the table.
        beside: Further tables of labels, such as the other part of a split.

    Raises:
        DatasetError: As loading them does.
    """
    if not is_labelled(name):
        dataset = load_dataset(name, root)
        parts = (("database", dataset.database), ("query", dataset.queries))
        return tuple(PhotoFacts(photo.path, part) for part, photos in parts for photo in photos)
    tables = [load_labels(name, root), *(read_labels(path) for path in beside)]
    stems = [labels.source.stem for labels in tables] if beside else [""]
    return tuple(
        PhotoFacts(
            labels.path_of(row),
            stem or (labels.roles[row] if labels.roles else "") or "all",
            labels.class_names[labels.classes[row]],
        )
        for labels, stem in zip(tables, stems, strict=True)
        for row in range(len(labels))
    )


def examine_photos(
    photos: Sequence[PhotoFacts],
    *,
    num_workers: int = 2,
    progress: Progress = silent,
) -> tuple[PhotoFacts, ...]:
    """Read every photo and return its facts, in order.

    Args:
        photos: Photos of which path, part and label are known.
        num_workers: Threads; reading and decoding let each other run.
        progress: Told, as "read photos", how many are done.
    """
    found = []
    with ThreadPoolExecutor(max_workers=max(1, num_workers)) as pool:
        for facts in _map_in_order(pool, photos):
            found.append(facts)
            progress("read photos", len(found), len(photos))
    return tuple(found)


def examine_photo(photo: PhotoFacts) -> PhotoFacts:
    """Read one photo and return its facts."""
    size_bytes, sha256 = 0, ""
    try:
        sha256 = content_sha256(photo.path)
        size_bytes = photo.path.stat().st_size
        image = load_sized_image(Photo(str(photo.path), photo.path), _OPTIONS)
    except ImageError as error:
        return PhotoFacts(photo.path, photo.part, photo.label, size_bytes, (0, 0), sha256, None, error.reason)
    picture_hash = hash_picture(image.pixels)
    return PhotoFacts(photo.path, photo.part, photo.label, size_bytes, image.size_px, sha256, picture_hash)


def hash_photo(path: Path) -> int | None:
    """Return the perceptual hash of a photo file, see `hash_picture`; None where it cannot be read."""
    if not path.is_file():  # a drive may be off: told sooner than by reading
        return None
    try:
        return hash_picture(load_sized_image(Photo(str(path), path), _OPTIONS).pixels)
    except ImageError:
        return None


def _map_in_order(pool: ThreadPoolExecutor, photos: Sequence[PhotoFacts]) -> Iterator[PhotoFacts]:
    """Examine in the pool with a bounded number under way: millions of photos do not wait in memory."""
    left = iter(photos)
    waiting = [pool.submit(examine_photo, photo) for photo in islice(left, _IN_FLIGHT)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(examine_photo, photo) for photo in islice(left, 1)]


def hash_picture(pixels: UInt8Array) -> int:
    """Perceptual hash of a picture (H, W, 3) uint8: 64 bits that change little with size, quality or format.

    The picture is made grey and 32 x 32 px whatever its shape; of its cosine transform the 8 x 8 lowest
    frequencies are kept, and each bit says whether one of them is above their median. (The "pHash" of
    C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, with the lowest
    frequency counted in.)
    """
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
    cosines = _cosines()
    low = (cosines @ np.asarray(grey, np.float64) @ cosines.T).ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


@cache
def _cosines() -> Float64Array:
    """(8, 32): the lowest rows of the discrete cosine transform."""
    places = (2 * np.arange(_SIDE_PX) + 1) * np.pi / (2 * _SIDE_PX)
    rows: Float64Array = np.cos(np.arange(_KEPT)[:, None] * places)
    return rows
