"""Opened: the collections of a service, each with what answers of it, by name."""

import bisect
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from meisho.errors import CollectionError, ImageError, MeishoError
from meisho.images import read_size
from meisho.photos import Photo
from meisho.recent import Recent
from meisho.run.finding import Finder
from meisho.run.state import State, StoredPhoto
from meisho.service.captures import CaptureReader
from meisho.service.notebook import Notebook
from meisho.service.problems import RefusedError
from meisho.service.settings import Settings
from meisho.service.skipped import Skipped
from meisho.store.metadata import read_metadata
from meisho.store.places import place_of

MOST_FOLDERS = 200
_SUFFIX = ".meisho"
_SIZES_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Listing:
    """The photos of one version, by id.

    Attributes:
        state: That version.
    """

    state: State

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all photos, sorted."""
        return sorted(self.state.snapshot.descriptors.ids)

    @cached_property
    def folders(self) -> list[str]:
        """The first folders below the photo folder that hold photos, sorted."""
        return sorted(
            {first for photo_id in self.ids for first, slash, _ in [photo_id.partition("/")] if slash}
        )

    def page(self, folder: str, after: str | None, limit: int) -> tuple[list[StoredPhoto], str | None]:
        """Return photos below a folder that come after an id, and the id of the last where there are more."""
        start = f"{folder.strip('/')}/" if folder.strip("/") else ""
        first = bisect.bisect_left(self.ids, start)
        if after is not None:
            first = max(first, bisect.bisect_right(self.ids, after))
        ids = [photo_id for photo_id in self.ids[first : first + limit + 1] if photo_id.startswith(start)]
        photos = [self.state.stored_photo(photo_id) for photo_id in ids[:limit]]
        return photos, ids[limit - 1] if len(ids) > limit else None


@dataclass(eq=False)
class OpenedCollection:
    """One collection that answers.

    Attributes:
        name: What it is called.
        finder: Answers of it.
        fault: Why it could not be followed the last time, or "".
    """

    name: str
    finder: Finder
    fault: str = ""
    _following: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _listing: Listing | None = field(default=None, repr=False)
    _sizes: Recent[int, tuple[int, int]] = field(
        default_factory=lambda: Recent[int, tuple[int, int]](_SIZES_BYTES, lambda size: 0), repr=False
    )

    @property
    def path(self) -> Path:
        """The collection's directory."""
        return self.finder.path

    @property
    def local_name(self) -> str | None:
        """The extractor of its local features; None where it holds none."""
        provenance = self.finder.metadata.local_provenance
        return None if provenance is None else provenance.extractor

    @cached_property
    def notebook(self) -> Notebook:
        """What is remembered of it beside what `meisho index` writes."""
        return Notebook.open(self.path)

    @cached_property
    def captures(self) -> CaptureReader:
        """What is known of when and where its photos were taken."""
        return CaptureReader(self.notebook, self.finder.photo_root)

    @cached_property
    def skipped(self) -> Skipped:
        """Its photos that could not be described."""
        return Skipped(self.path)

    @property
    def has_certainty(self) -> bool:
        """Whether answers that are verified come with a probability."""
        return self.finder.is_calibrated

    @property
    def listing(self) -> Listing:
        """Its photos, by id."""
        state, listing = self.finder.state, self._listing
        if listing is None or listing.state is not state:
            listing = self._listing = Listing(state)
        return listing

    def follow(self) -> None:
        """Take over what was written since; where another thread does that already, it is not waited for."""
        if not self._following.acquire(blocking=False):
            return
        try:
            self.finder.follow()
            self.fault = ""
        except CollectionError as error:  # the version that is open answers on
            self.fault = str(error)
        finally:
            self._following.release()

    def warm_up(self) -> None:
        """Load what the first verified question would load; who asks it is told what is wrong."""
        with suppress(MeishoError):
            self.finder.warm_up()

    def photo(self, photo_id: str) -> StoredPhoto:
        """Return a photo by its id.

        Raises:
            RefusedError: There is none.
        """
        photo = self.finder.state.find_photo(photo_id)
        if photo is None:
            raise RefusedError(
                "photo-not-found", f"{self.name}: holds no photo {photo_id!r:.200}", where="id"
            )
        return photo

    def size_of(self, photo: Photo, key: int, *, missing: bool | None = None) -> tuple[int, int] | None:
        """Return width and height of an upright photo, px; None where its file cannot be read.

        Args:
            photo: The photo.
            key: Its key.
            missing: Whether its file is gone, where that is known.
        """
        size = self._sizes.get(key)
        if size is None and not (is_missing(photo) if missing is None else missing):
            try:
                size = read_size(Photo(photo.id, photo.path))
            except ImageError:
                return None
            self._sizes.put(key, size)
        return size


def is_missing(photo: Photo) -> bool:
    """Whether a photo's file is not where it was."""
    return not photo.path.is_file()


class OpenedCollections(Mapping[str, OpenedCollection]):
    """All collections that are open, by name; the first answers where none is named."""

    def __init__(self, opened: Sequence[OpenedCollection]) -> None:
        self._by_name = {each.name: each for each in opened}

    @classmethod
    def open(cls, settings: Settings) -> "OpenedCollections":
        """Open the collections of a service.

        Raises:
            CollectionError: There is none, or it is damaged.
        """
        places = [place_of(path) for path in settings.collections]
        for path in places:
            read_metadata(path)  # all must be there before the first is opened, which takes time
        opened: dict[str, OpenedCollection] = {}
        for path in places:
            finder = Finder.open(path, device=settings.device, keep_bytes=settings.keep_bytes)
            name = _free_name(finder.path.name.removesuffix(_SUFFIX) or finder.path.name, opened)
            opened[name] = OpenedCollection(name, finder)
        return cls(tuple(opened.values()))

    def __getitem__(self, name: str) -> OpenedCollection:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def choose(self, name: str | None) -> OpenedCollection:
        """Return a collection as it is now, the first where none is named.

        Raises:
            RefusedError: None has that name.
        """
        if not name:
            found = next(iter(self._by_name.values()))
        elif name in self._by_name:
            found = self._by_name[name]
        else:
            known = ", ".join(self._by_name)
            raise RefusedError(
                "collection-not-found",
                f"no collection {name!r:.100} is open",
                remedy=f"name one of {known}",
                where="collection",
            )
        found.follow()
        return found


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free
