"""Reading a built city: its Dataset, its labels, and true correspondences between its photos."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from meisho.arrays import BoolArray, Float64Array, Int64Array, UInt8Array
from meisho.datasets.base import Dataset
from meisho.errors import DatasetError, InputError
from meisho.ground_truth import GradedGroundTruth, database_rows
from meisho.photos import Box, Photo
from meisho.toycity.labels import facade_pixels, project_visible
from meisho.toycity.records import (
    GRADES,
    RECORDS_NAME,
    PhotoRecord,
    Records,
    SiteRecord,
    read_records,
)

FOLDERS = {"database": "database", "query": "queries"}


@dataclass(frozen=True, eq=False)
class FacadeHomography:
    """The map of one facade from one photo to another.

    Attributes:
        facade: The facade's number in `visible/*.png`.
        H_a_to_b: (3, 3) homography, homogeneous px of photo a -> px of photo b.
        num_common: Number of pixels of photo a whose facade point is also visible in photo b.
    """

    facade: int
    H_a_to_b: Float64Array
    num_common: int


def load_toycity(root: Path) -> Dataset:
    """Load the city that `build_toycity` drew to `root`; its protocol is "revisitop".

    Database and queries are ordered by id. A landmark's first query has a box around the landmark.

    Raises:
        DatasetError: `root` holds no complete city.
    """
    root = Path(root)
    records = read_records(root)
    database = [p for p in records.photos if p.role == "database"]
    queries = [p for p in records.photos if p.role == "query"]
    digest = hashlib.sha256((root / RECORDS_NAME).read_bytes()).hexdigest()
    return Dataset(
        "toycity",
        root,
        tuple(_photo(root, p) for p in database),
        tuple(_photo(root, p) for p in queries),
        _ground_truth(records, database, queries, digest),
        protocol="revisitop",
    )


def _ground_truth(
    records: Records, database: Sequence[PhotoRecord], queries: Sequence[PhotoRecord], digest: str
) -> GradedGroundTruth:
    rows = {photo.id: row for row, photo in enumerate(database)}
    graded: dict[tuple[str, str], list[int]] = {}
    for grade in records.grades:
        graded.setdefault((grade.query, grade.grade), []).append(rows[grade.photo])
    easy, hard, junk = (database_rows(graded.get((q.id, kind), []) for q in queries) for kind in GRADES)
    return GradedGroundTruth(easy, hard, junk, digest)


def _photo(root: Path, record: PhotoRecord) -> Photo:
    path = root / FOLDERS[record.role] / f"{record.id}.jpg"
    return Photo(record.id, path, None if record.box is None else Box(*record.box))


def landmark_labels(root: Path, role: str) -> Int64Array:
    """Return each photo's landmark number, -1 for none, in the order of `load_toycity`.

    For training: cities of different seeds share no landmark, nor do parts of one city that are split by
    these numbers. Landmarks whose numbers are equal modulo 12 share a style.

    Args:
        root: Folder of the city.
        role: "database" or "query".

    Raises:
        DatasetError: `root` holds no complete city.
        InputError: There is no such role.
    """
    if role not in FOLDERS:
        raise InputError(f"no photos have the role {role!r}; choose one of {', '.join(FOLDERS)}")
    return np.array([p.landmark for p in read_records(Path(root)).photos if p.role == role], dtype=np.int64)


def true_correspondences(root: Path, photo_id_a: str, photo_id_b: str, *, step_px: int = 4) -> Float64Array:
    """Return points of the landmark's facades that are visible and unobstructed in both photos.

    Args:
        root: Folder of the city.
        photo_id_a: Id of a database photo or query.
        photo_id_b: Id of another one.
        step_px: Spacing of the tested pixels of photo a, in x and y.

    Returns:
        (P, 4) float64: x_a, y_a, x_b, y_b, px of the upright, uncropped photos, with (0, 0) the centre of the
        top-left pixel; empty if the photos show different places.

    Raises:
        DatasetError: `root` holds no complete city, or the city has no such photo.
    """
    pairs = [np.zeros((0, 4))]
    for _, _, points, there, visible in _common_planes(Path(root), photo_id_a, photo_id_b, step_px):
        pairs.append(np.hstack([points, there])[visible])
    return np.concatenate(pairs)


def facade_homographies(root: Path, photo_id_a: str, photo_id_b: str) -> tuple[FacadeHomography, ...]:
    """Return the homography of each facade that is visible in both photos, the largest facade first.

    Raises:
        DatasetError: `root` holds no complete city, or the city has no such photo.
    """
    found = []
    for number, H_a_to_b, _, _, visible in _common_planes(Path(root), photo_id_a, photo_id_b, 1):
        if visible.any():
            found.append(FacadeHomography(number, H_a_to_b / H_a_to_b[2, 2], int(visible.sum())))
    return tuple(sorted(found, key=lambda h: -h.num_common))


_Common = tuple[int, Float64Array, Float64Array, Float64Array, BoolArray]


def _common_planes(root: Path, photo_id_a: str, photo_id_b: str, step_px: int) -> list[_Common]:
    """Yield for each facade of photo a: number, H_a_to_b, pixels in a and in b, whether b shows them."""
    records = read_records(root)
    a, b = _find(records, root, photo_id_a), _find(records, root, photo_id_b)
    if a.landmark < 0 or a.site != b.site:
        return []
    cameras = a.camera.camera(), b.camera.camera()
    pixels, shown = facade_pixels(_shown(root, a), None, step_px), _shown(root, b)
    found: list[_Common] = []
    for plane in _site(records, a).planes:
        points = pixels[pixels[:, 2] == plane.number, :2]
        if len(points):
            there, _, visible = project_visible(points, plane, cameras, shown)
            H_a_to_b = plane.to_photo(cameras[1]) @ np.linalg.inv(plane.to_photo(cameras[0]))
            found.append((plane.number, H_a_to_b, points, there, visible))
    return found


def _find(records: Records, root: Path, photo_id: str) -> PhotoRecord:
    for photo in records.photos:
        if photo.id == photo_id:
            return photo
    raise DatasetError(f"{root}: no photo has the id {photo_id!r}; ids are the file names without .jpg")


def _site(records: Records, photo: PhotoRecord) -> SiteRecord:
    return next(site for site in records.sites if site.name == photo.site)


def _shown(root: Path, photo: PhotoRecord) -> UInt8Array:
    path = root / "visible" / f"{photo.id}.png"
    shown: UInt8Array | None = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if shown is None:
        raise DatasetError(f"{path}: is missing or not a picture; delete {root} and build it again")
    return shown
