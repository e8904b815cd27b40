"""Easy, hard or junk: grading a database photo for a query of the same landmark, from the known geometry.

The query's facade pixels are the pixels in its box that show a facade of the landmark. For a database photo
of the same landmark we know

- common: the fraction of these pixels whose point on the facade is also visible in the database photo;
- angle: the angle between the directions from the landmark's centre to the two cameras;
- zoom: how many times larger the common part is in one photo than in the other, in px per metre on the facade
  (the median, at least 1);
- dim: whether the photo was taken at night, at dusk or through fog;
- share: the fraction of the database photo that the landmark's facades fill.

junk:  common < JUNK_COMMON or share < JUNK_SHARE: too little of the landmark is visible to expect the photo.
easy:  not junk, not dim, common >= EASY_COMMON, angle <= EASY_ANGLE_DEG and zoom <= EASY_ZOOM.
hard:  everything else.
"""

import math

import numpy as np

from meisho.arrays import BoolArray, Float64Array, UInt8Array
from meisho.toycity.camera import Camera
from meisho.toycity.records import FacadePlane, GradeRecord, PhotoRecord, SiteRecord

JUNK_COMMON = 0.45
JUNK_SHARE = 0.012
EASY_COMMON = 0.7
EASY_ANGLE_DEG = 25.0
EASY_ZOOM = 1.6
GRID_PX = 4
"""Every fourth pixel each way is asked."""


def project_visible(
    points: Float64Array, plane: FacadePlane, cameras: tuple[Camera, Camera], shown: UInt8Array
) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Map pixels from one photo to another by a facade's plane.

    Args:
        points: (P, 2) px of the first photo that show the plane.
        plane: The facade.
        cameras: The cameras of the first and the second photo.
        shown: (H, W) number of the facade that each pixel of the second photo shows.

    Returns:
        (P, 2) px in the second photo; (P,) its magnification relative to the first photo; (P,) whether it
        shows the point.
    """
    H_plane_to_a, H_plane_to_b = (plane.to_photo(camera) for camera in cameras)
    on_plane = np.column_stack([points, np.ones(len(points))]) @ np.linalg.inv(H_plane_to_a).T
    on_plane = on_plane / on_plane[:, 2:]
    depth_a = on_plane @ H_plane_to_a[2]
    there = on_plane @ H_plane_to_b.T
    depth_b = np.where(np.abs(there[:, 2]) < 1e-9, 1e-9, there[:, 2])
    pixels = there[:, :2] / depth_b[:, None]
    height, width = shown.shape
    inside = (depth_b > 0) & (pixels >= 0).all(axis=1) & (pixels <= [width - 1, height - 1]).all(axis=1)
    nearest = np.round(np.where(inside[:, None], pixels, 0)).astype(np.int64)
    visible = inside & (shown[nearest[:, 1], nearest[:, 0]] == plane.number)
    area = np.linalg.det(H_plane_to_b) / depth_b**3 / (np.linalg.det(H_plane_to_a) / depth_a**3)
    return pixels, np.sqrt(np.abs(area)), visible


def facade_pixels(
    shown: UInt8Array, box: tuple[float, float, float, float] | None, step_px: int
) -> Float64Array:
    """Return every `step_px`-th pixel within `box` that shows a facade: (P, 3) x px, y px, facade number."""
    part = shown[::step_px, ::step_px]
    y, x = np.nonzero(part)
    found = np.column_stack([x * step_px, y * step_px, part[y, x]]).astype(np.float64)
    if box is None:
        return found
    x0, y0, x1, y1 = box
    return found[(found[:, 0] >= x0) & (found[:, 0] < x1) & (found[:, 1] >= y0) & (found[:, 1] < y1)]


def grade_photo(
    site: SiteRecord, query: PhotoRecord, query_shown: UInt8Array, photo: PhotoRecord, photo_shown: UInt8Array
) -> GradeRecord:
    """Grade one database photo for one query of the same landmark, as the module's docstring explains."""
    cameras = query.camera.camera(), photo.camera.camera()
    pixels = facade_pixels(query_shown, query.box, GRID_PX)
    visible, scales = [], []
    for plane in site.planes:
        points = pixels[pixels[:, 2] == plane.number, :2]
        if not len(points):
            continue
        _, scale, seen = project_visible(points, plane, cameras, photo_shown)
        visible.append(seen)
        scales.append(scale[seen])
    common = float(np.concatenate(visible).mean()) if len(pixels) else 0.0
    scale_there = float(np.median(np.concatenate(scales))) if common else 1.0
    zoom = max(scale_there, 1 / scale_there)
    rays = [camera.position - np.array(site.center) for camera in cameras]
    cosine = float(rays[0] @ rays[1] / np.sqrt((rays[0] @ rays[0]) * (rays[1] @ rays[1])))
    angle = math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
    grade = _grade(common, angle, zoom, photo)
    return GradeRecord(query.id, photo.id, grade, round(common, 4), round(angle, 3), round(zoom, 4))


def _grade(common: float, angle_deg: float, zoom: float, photo: PhotoRecord) -> str:
    if common < JUNK_COMMON or photo.share < JUNK_SHARE:
        return "junk"
    clear = common >= EASY_COMMON and not photo.dim
    return "easy" if clear and angle_deg <= EASY_ANGLE_DEG and zoom <= EASY_ZOOM else "hard"
