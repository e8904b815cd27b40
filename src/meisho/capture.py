"""Capture: when and where a photo was taken, as its EXIF says; no pixel is decoded."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from PIL import ExifTags

from meisho.errors import ImageError
from meisho.image_files import open_photo, plain_errors
from meisho.photos import Photo

_DATE = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True)
class Capture:
    """When and where a photo was taken.

    Attributes:
        taken: By the camera's clock; None where it is not known.
        latitude: Degrees, north is positive; None where the place is not known.
        longitude: Degrees, east is positive; None likewise.
    """

    taken: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_capture(photo: Photo) -> Capture:
    """Read when and where a photo was taken; nothing of a photo that cannot be read or does not say it."""
    try:
        with plain_errors(photo.path), open_photo(photo) as image:
            exif = image.getexif()
            times, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
            return Capture(_read_time(times), *_read_place(place))
    except ImageError:
        return Capture()


def _read_time(tags: Mapping[int, object]) -> datetime | None:
    """Return when a photo was taken, or else scanned; the time of the last change says nothing."""
    for tag in (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized):
        found = _DATE.match(str(tags.get(tag, "")))
        try:
            if found:
                return datetime(*map(int, found.groups()))  # type: ignore[arg-type]
        except ValueError:  # "0000:00:00 00:00:00", as cameras without a clock write it
            continue
    return None


def _read_place(tags: Mapping[int, object]) -> tuple[float, float] | tuple[None, None]:
    latitude = _degrees(tags, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "S", 90)
    longitude = _degrees(tags, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "W", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:  # a receiver that saw nothing
        return None, None
    return latitude, longitude


def _degrees(
    tags: Mapping[int, object], value_tag: int, sign_tag: int, negative: str, most: float
) -> float | None:
    """Return degrees, minutes and seconds as degrees; None where they are none."""
    given, sign = tags.get(value_tag), tags.get(sign_tag)
    parts = given if isinstance(given, tuple) else (given,)  # degrees alone may stand without the rest
    try:
        numbers = [float(str(part)) for part in parts]
    except ValueError:
        return None
    degrees = math.fsum(number / 60.0**place for place, number in enumerate(numbers[:3]))
    if not 0 <= degrees <= most:
        return None
    text = sign.decode("ascii", "replace") if isinstance(sign, bytes) else str(sign)
    return -degrees if text.strip("\0 ").upper() == negative else degrees
