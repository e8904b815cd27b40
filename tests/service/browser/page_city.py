"""A small toy city as a collection that the page can show everything of: folders, dates, places, copies."""

import shutil
from pathlib import Path

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import GPS, IFD, Base

from meisho.toycity import build_toycity

HOSTILE = "<img src=x onerror=alert(1)>&\"'.jpg"
"""A file name that would run as a script, were it ever read as HTML."""

LANDMARKS, VIEWS, STREETS = 5, 6, 12
SPACING_DEGREES = 0.02  # between landmarks, eastwards: about 2 km
SOUTH_WEST = (35.68, 139.70)


def write_facts(path: Path, landmark: int, view: int) -> None:
    """Give a photo the time and place that a camera would have written."""
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal.value] = f"{2018 + view}:05:{landmark + 1:02d} 10:00:00"
    gps = exif.get_ifd(IFD.GPSInfo)
    latitude, longitude = SOUTH_WEST[0] + 0.001 * view, SOUTH_WEST[1] + SPACING_DEGREES * landmark
    gps[GPS.GPSLatitudeRef.value], gps[GPS.GPSLongitudeRef.value] = "N", "E"
    gps[GPS.GPSLatitude.value], gps[GPS.GPSLongitude.value] = _sexagesimal(latitude), _sexagesimal(longitude)
    with Image.open(path) as image:
        image.save(path, exif=exif, quality="keep")


def _sexagesimal(degrees: float) -> tuple[TiffImagePlugin.IFDRational, ...]:
    minutes = (degrees % 1) * 60
    parts = ((int(degrees), 1), (int(minutes), 1), (round((minutes % 1) * 60_000), 1000))
    return tuple(TiffImagePlugin.IFDRational(*part) for part in parts)


def draw_photos(root: Path) -> tuple[Path, Path]:
    """Draw the city; returns the folder of its photos and that of its queries.

    Each landmark has a folder, streets share one, a museum photo is there twice, a street photo has a hostile
    name, and the last landmark has queries alone: its place is not in the collection.
    """
    city = root / "city"
    build_toycity(city, landmarks=LANDMARKS, views=VIEWS, distractors=STREETS, num_workers=0)
    photos = root / "photos"
    names = sorted({path.name.rsplit("_", 1)[0] for path in (city / "database").glob("*_place_*")})
    absent = names[-1]
    for path in sorted((city / "database").iterdir()):
        site, view = path.stem.rsplit("_", 1)
        if site == absent:
            continue
        folder = photos / (site.split("_place_")[0] if "_place_" in site else "streets")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
        if site in names:
            write_facts(folder / path.name, names.index(site), int(view))
    streets = sorted((photos / "streets").iterdir())
    streets[0].rename(streets[0].with_name(HOSTILE))
    first = sorted((photos / names[0].split("_place_")[0]).iterdir())[0]
    shutil.copy(first, photos / "streets" / "the same again.jpg")
    return photos, city / "queries"
