"""Photos: a file on disk -> an upright RGB array, cropped to a box and resized.

The order is always the same, for database and query alike: decode, turn upright by EXIF, crop to the
box (in pixels of the upright photo, at the photo's own scale), then resize.
"""

from dataclasses import dataclass
from pathlib import Path

from meisho.arrays import UInt8Array
from meisho.errors import ConfigError

PHOTO_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".ppm",
    }
)
"""Lower-case file endings that are taken for photos when a folder is walked."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the upright photo; edges may be fractional [x0, x1) × [y0, y1).

    Attributes:
        x0: Left edge, px.
        y0: Top edge, px.
        x1: Right edge, px, greater than x0.
        y1: Bottom edge, px, greater than y0.

    Raises:
        ConfigError: The box is empty or not finite.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 <= self.x1 - self.x0 < float("inf") and 0 <= self.y1 - self.y0 < float("inf")):
            raise ConfigError(f"box {self}: needs finite x0 < x1 and y0 < y1")


@dataclass(frozen=True)
class Photo:
    """One photo to be described.

    Attributes:
        id: Its unique name within its data set or collection; for a folder, the path below it with "/".
        path: The file.
        box: The part of it to use, or None for the whole photo.
    """

    id: str
    path: Path
    box: Box | None = None


@dataclass(frozen=True)
class ImageOptions:
    """How a photo is brought to its working size; part of the provenance of what is extracted from it.

    Attributes:
        max_side_px: The longer side becomes this many pixels; smaller photos are enlarged, so that the same
            thing is seen at the same scale.
        multiple_px: Both sides are rounded to a multiple of this, at least one: few distinct shapes make
            full batches.
    """

    max_side_px: int = 384
    multiple_px: int = 1


def load_image(photo: Photo, options: ImageOptions) -> UInt8Array:
    """Read one photo: upright, cropped to its box, resized. Returns (H, W, 3) uint8, RGB.

    Raises:
        ImageError: The photo cannot be read; the message says why.
    """
    raise NotImplementedError
