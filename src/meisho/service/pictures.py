"""Pictures: photos as JPEG to look at, drawn in processes that may die, kept in memory up to a limit."""

import hashlib
from dataclasses import dataclass

from meisho.decoding import GuardedDecoder
from meisho.photos import Photo
from meisho.recent import Recent
from meisho.service.metrics import timed
from meisho.service.problems import RefusedError

SIDES_PX = (160, 240, 480, 960)
"""Longer sides of thumbnails."""
FULL_SIDE_PX = 2560
_FULL_QUALITY = 90
_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """How a photo is to be drawn.

    Attributes:
        photo: The photo.
        side_px: The longer side at the most.
        tag: Tells its content and size from others.
    """

    photo: Photo
    side_px: int
    tag: str


class Pictures:
    """Draws pictures, and keeps those that were asked for last; any number of threads may ask.

    Args:
        max_bytes: Memory for what is kept.
        decoder: Draws them.
    """

    def __init__(self, max_bytes: int, decoder: GuardedDecoder) -> None:
        self._decoder = decoder
        self._drawn = Recent[str, bytes](max_bytes, len)

    def of_stored(self, photo: Photo, side_px: int) -> Picture:
        """Return how a photo of a collection is drawn; it costs a look at its file.

        Raises:
            RefusedError: Its file is not there.
        """
        try:
            status = photo.path.stat()
        except OSError as error:
            raise RefusedError(
                "photo-missing",
                f"{photo.id}: its file is not where it was",
                remedy="if the folder was moved, run meisho index NEW_FOLDER --to COLLECTION --moved",
                where="id",
            ) from error
        content = f"{photo.path}\0{status.st_mtime_ns}\0{status.st_size}"
        return Picture(photo, side_px, _tag(content, side_px))

    def of_upload(self, photo: Photo, side_px: int) -> Picture:
        """Return how a query photo is drawn."""
        return Picture(photo, side_px, _tag(photo.id, side_px))

    def known(self, picture: Picture) -> bytes | None:
        """Return the JPEG if it is kept."""
        return self._drawn.get(picture.tag)

    def draw(self, picture: Picture) -> bytes:
        """Return the JPEG.

        Raises:
            ImageError: The photo cannot be read.
        """
        drawn = self.known(picture)
        if drawn is None:
            quality = _FULL_QUALITY if picture.side_px > SIDES_PX[-1] else _QUALITY
            with timed("draw"):
                drawn = self._decoder.draw(picture.photo, picture.side_px, quality)
            self._drawn.put(picture.tag, drawn)
        return drawn


def _tag(content: str, side_px: int) -> str:
    return hashlib.sha256(f"{content}\0{side_px}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
