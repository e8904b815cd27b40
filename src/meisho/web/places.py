"""Places page: the places of a collection, and photos that are there twice, in one HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meisho.photos import Photo
from meisho.run.grouping import Places
from meisho.run.state import load_state
from meisho.store.places import place_of
from meisho.texts import count
from meisho.web.pages import write_page
from meisho.web.tiles import PagePhotos, Tile


@dataclass(frozen=True)
class _Group:
    """One group as it is shown.

    Attributes:
        title: What stands above it.
        tiles: Its first photos.
        more: How many further photos it has.
    """

    title: str
    tiles: tuple[Tile, ...]
    more: int


def write_places_page(
    path: str | Path,
    found: Places,
    *,
    collection: str | Path,
    num_groups: int = 60,
    num_photos: int = 12,
) -> None:
    """Write the places of a collection.

    Args:
        path: The HTML file; thumbnails are inside it.
        found: The places.
        collection: Where they were found.
        num_groups: How many places are shown, and how many groups of copies.
        num_photos: How many photos of each.
    """
    photos, state = PagePhotos(Path(path)), load_state(place_of(collection))
    files = dict(zip(state.snapshot.descriptors.ids, state.paths, strict=True))

    def show(title: str, ids: Sequence[str]) -> _Group:
        here = [each for each in ids if each in files]
        tiles = tuple(photos.plain(Photo(each, files[each])) for each in here[:num_photos])
        return _Group(title, tiles, max(len(ids) - num_photos, 0))

    places = [show(count(place.size, "photo"), place.photos) for place in found.places[:num_groups]]
    titles = {"same": "the same file", "near": "near copies"}
    copies = [show(titles[group.kind], group.photos) for group in found.duplicates[:num_groups]]
    write_page(
        photos.page,
        "places.html",
        collection=collection,
        places=places,
        copies=copies,
        num_places=len(found.places),
        num_copies=len(found.duplicates),
        missing=photos.warning(
            f"If their folder was moved or renamed, run: meisho index NEW_FOLDER --to {collection} --moved"
        ),
    )
    photos.tidy()
