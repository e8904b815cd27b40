"""Look page: some landmarks of a data set with some of their photos, in one HTML file."""

from dataclasses import dataclass
from pathlib import Path

from meisho.datasets.looking import DatasetSample, LandmarkSample
from meisho.web.pages import write_page
from meisho.web.tiles import PagePhotos, Tile


@dataclass(frozen=True)
class _Row:
    """One landmark as it is shown."""

    title: str
    note: str
    tiles: tuple[Tile, ...]
    more: int


def write_look_page(path: str | Path, sample: DatasetSample, *, seed: int) -> int:
    """Write a sample of a data set; return how many photos could not be read.

    Args:
        path: The HTML file; thumbnails are inside it.
        sample: What is shown.
        seed: By which it was drawn, to be told.

    Raises:
        InputError: The file is there and is no page of meisho.
    """
    photos = PagePhotos(Path(path))
    write_page(
        photos.page,
        "look.html",
        sample=sample,
        rows=[_row(landmark, photos) for landmark in sample.landmarks],
        seed=seed,
        missing=photos.warning("'meisho datasets check' names all that are missing."),
    )
    photos.tidy()
    return len(photos.unread)


def _row(landmark: LandmarkSample, photos: PagePhotos) -> _Row:
    query = [] if landmark.query is None else [photos.query(landmark.query)]
    tiles = (*query, *(photos.plain(photo) for photo in landmark.photos))
    return _Row(landmark.title, landmark.note, tiles, landmark.more)
