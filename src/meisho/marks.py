"""The mark of pictures that meisho draws, by which they are never taken for photos.

A drawing often lies beside the photos that it shows. Whatever saves one marks it, and what walks a folder of
photos passes it over; what deletes the drawings of an earlier page deletes nothing else.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meisho.errors import InputError
from meisho.files import read_ends, replacing

if TYPE_CHECKING:  # a walk of photos reads marks, and draws nothing
    from PIL.Image import Image

MARK = "drawn by meisho, not a photo"
FIGURE_METADATA = {"Description": MARK}
"""What marks a PNG or SVG that matplotlib saves: its argument `metadata`."""
_DESCRIPTION = 0x010E  # EXIF's ImageDescription


def _comment() -> dict[str, Any]:
    return {"comment": MARK}


def _text() -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Description", MARK)
    return {"pnginfo": text}


def _exif() -> dict[str, Any]:
    from PIL.Image import Exif

    exif = Exif()
    exif[_DESCRIPTION] = MARK
    return {"exif": exif.tobytes()}


_MARKS = {".jpg": _comment, ".jpeg": _comment, ".png": _text, ".webp": _exif}
PICTURE_SUFFIXES = frozenset(_MARKS)
"""Lower-case endings of the files that a drawing can be saved to."""


def save_drawing(picture: "Image", path: Path, *, quality: int = 85) -> None:
    """Save a drawing with its mark, whole or not at all.

    Args:
        picture: The drawing, RGB.
        path: The file; its ending, one of `PICTURE_SUFFIXES`, says the format.
        quality: Quality of a JPEG or WebP, 1 to 95; PNG has none.

    Raises:
        InputError: The ending is another.
    """
    if path.suffix.lower() not in _MARKS:
        raise InputError(
            f"{path}: a drawing cannot be saved as {path.suffix or 'a name without an ending'}; "
            f"end it in {' or '.join(sorted(PICTURE_SUFFIXES))}"
        )
    with replacing(path) as part:
        picture.save(part, quality=quality, **_MARKS[path.suffix.lower()]())


def is_our_drawing(path: Path) -> bool:
    """Whether a file is a picture that meisho drew, by its mark; what cannot be read is none.

    The mark stands within the first or, in a WebP, the last 4 KB.
    """
    return MARK.encode() in read_ends(path)
