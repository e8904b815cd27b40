"""The ground truth saved with the photos: cameras, facades and labels, as values and as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meisho.arrays import Float64Array
from meisho.datasets.photo_files import photo_name
from meisho.documents import one_line, read_json, shorten
from meisho.errors import ConfigError, DatasetError
from meisho.photos import Box
from meisho.toycity.camera import Camera
from meisho.toycity.variety import PLAIN, Variety

FORMAT = 2
"""Of the file; raise it when the records change their form."""
DRAWING = 1
"""Of the photos; raise it with every change of the drawing: a city that was drawn otherwise is not taken for
this one's, though its parameters are the same."""
RECORDS_NAME = "toycity.json"
ROLES = ("database", "query")
GRADES = ("easy", "hard", "junk")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a city; two builds with equal parameters have equal photos.

    Attributes:
        landmarks: Number of landmarks.
        views: Database photos per landmark.
        distractors: Database photos of other streets.
        seed: Seed; each gives a different city.
        drawing: `DRAWING` of the version that drew the city.
        variety: What is drawn beyond buildings in plain photos.
    """

    landmarks: int
    views: int
    distractors: int
    seed: int
    drawing: int
    variety: Variety = PLAIN


@dataclass(frozen=True)
class CameraRecord:
    """A `Camera` in plain numbers; see there for the fields."""

    width: int
    height: int
    focal_px: float
    principal: tuple[float, float]
    rotation: tuple[tuple[float, ...], ...]
    position: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_shape("camera's principal point", self.principal, (2,))
        _check_shape("camera's rotation", self.rotation, (3, 3))
        _check_shape("camera's position", self.position, (3,))

    def camera(self) -> Camera:
        """Return the camera."""
        rotation, position = np.array(self.rotation), np.array(self.position)
        cx, cy = self.principal
        return Camera(self.width, self.height, self.focal_px, (cx, cy), rotation, position)


@dataclass(frozen=True)
class PhotoRecord:
    """One photo.

    Attributes:
        id: The file's name without ".jpg"; unique among database and queries together.
        role: "database" or "query".
        site: Name of the landmark or street in the photo.
        landmark: The landmark's number, or -1.
        camera: The camera.
        sky: Weather or time of day.
        manner: Name of the manner in which it was taken, or of the rendering that it is.
        dim: Whether darkness or fog hides the building.
        share: Fraction of the photo that the landmark's facades fill.
        box: (x0, y0, x1, y1) px around the landmark, to which a query is cropped, or None.
    """

    id: str
    role: str
    site: str
    landmark: int
    camera: CameraRecord
    sky: str
    manner: str
    dim: bool
    share: float
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        photo_name(self.id)
        if self.role not in ROLES:
            raise ValueError(f"photo {self.id!r}: the role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.box is not None:
            Box(*self.box)


@dataclass(frozen=True)
class FacadePlane:
    """The plane of one facade.

    Attributes:
        number: The facade's value in `visible/*.png`.
        origin: (3,) origin of the plane, metres.
        u: (3,) unit vector to the right.
        v: (3,) unit vector downwards.
    """

    number: int
    origin: tuple[float, ...]
    u: tuple[float, ...]
    v: tuple[float, ...]

    def __post_init__(self) -> None:
        for values in (self.origin, self.u, self.v):
            _check_shape("facade's origin or axis", values, (3,))

    def to_photo(self, camera: Camera) -> Float64Array:
        """Return (3, 3): (u, v, 1) in metres on the plane -> homogeneous px, whose third entry is depth."""
        return camera.plane_frame_to_photo(np.array(self.origin), np.array(self.u), np.array(self.v))


@dataclass(frozen=True)
class SiteRecord:
    """A landmark or a street: its name, style family, facades and centre (x, y, z) in metres."""

    name: str
    family: str
    landmark: int
    center: tuple[float, ...]
    planes: tuple[FacadePlane, ...]


@dataclass(frozen=True)
class GradeRecord:
    """The grade of a database photo for a query of the same landmark; see `labels.grade_photo`."""

    query: str
    photo: str
    grade: str
    common: float
    angle_deg: float
    zoom: float


@dataclass(frozen=True)
class Records:
    """The ground truth of a built city."""

    parameters: Parameters
    sites: tuple[SiteRecord, ...]
    photos: tuple[PhotoRecord, ...]
    grades: tuple[GradeRecord, ...]

    def __post_init__(self) -> None:
        sites = {site.name for site in self.sites}
        roles = {photo.id: photo.role for photo in self.photos}
        for photo in self.photos:
            if photo.site not in sites:
                raise ValueError(f"photo {photo.id!r} names the site {photo.site!r}, which does not exist")
        for grade in self.grades:
            if (roles.get(grade.query), roles.get(grade.photo)) != ("query", "database"):
                raise ValueError(f"{grade} names a photo that does not exist")
            if grade.grade not in GRADES:
                raise ValueError(f"{grade}: a grade is one of {', '.join(GRADES)}")


def _check_shape(what: str, values: object, shape: tuple[int, ...]) -> None:
    if np.shape(np.array(values, dtype=np.float64)) != shape:
        raise ValueError(f"the {what} needs the shape {shape}, got {values!r:.80}")


def write_records(records: Records, root: Path) -> None:
    """Write `records` as JSON under `root`."""
    values = asdict(records)
    if records.parameters.variety == PLAIN:  # a plain city's file is as it was before there was a choice
        del values["parameters"]["variety"]
    text = json.dumps({"format": FORMAT, **values}, separators=(",", ":"))
    (root / RECORDS_NAME).write_text(text + "\n", encoding="utf-8")


def read_records(root: Path) -> Records:
    """Read the records written by `write_records`.

    Raises:
        DatasetError: `root` holds no complete city, or one in another format.
    """
    path = root / RECORDS_NAME
    if not path.exists():
        raise DatasetError(f"{root}: no toy city here; run 'meisho demo' or call build_toycity(root)")
    advice = f"delete {root} and build it again"
    try:
        data: dict[str, Any] = dict(read_json(path, error=DatasetError, advice=advice).values)
        if data["format"] != FORMAT:
            raise DatasetError(
                f"{path}: format {shorten(data['format'])}, this version reads {FORMAT}; delete {root} and "
                "build it again"
            )
        parameters = dict(data["parameters"])
        variety = Variety(**parameters.pop("variety", {}))
        return Records(Parameters(**parameters, variety=variety), *parse_parts(data))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
        raise DatasetError(
            f"{path}: not a toy city's records ({one_line(error)}); delete {root} and build it again"
        ) from error


def parse_parts(
    data: dict[str, Any],
) -> tuple[tuple[SiteRecord, ...], tuple[PhotoRecord, ...], tuple[GradeRecord, ...]]:
    """Make records from parsed JSON with the lists `sites`, `photos` and `grades`."""
    sites = [
        SiteRecord(**{**s, "planes": tuple(FacadePlane(**p) for p in s["planes"])}) for s in data["sites"]
    ]
    photos = [PhotoRecord(**{**p, "camera": CameraRecord(**p["camera"])}) for p in data["photos"]]
    return tuple(sites), tuple(photos), tuple(GradeRecord(**g) for g in data["grades"])
