"""A pinhole camera. Pixels: (0, 0) is the centre of the top-left pixel; camera axes: right, down, forward."""

import math
from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float64Array
from meisho.toycity.surfaces import Surface


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera at the moment of a photo.

    Attributes:
        width: Width of the photo, px.
        height: Height of the photo, px.
        focal_px: Focal length, px.
        principal: (cx, cy) principal point, px; off-centre if the photo is a crop.
        rotation: (3, 3) world -> camera.
        position: (3,) position of the camera in the world, metres.
    """

    width: int
    height: int
    focal_px: float
    principal: tuple[float, float]
    rotation: Float64Array
    position: Float64Array

    @property
    def intrinsics(self) -> Float64Array:
        """(3, 3) matrix: camera axes -> homogeneous px."""
        cx, cy = self.principal
        return np.array([[self.focal_px, 0.0, cx], [0.0, self.focal_px, cy], [0.0, 0.0, 1.0]])

    def scaled(self, factor: int) -> "Camera":
        """Return the same camera with `factor` times as many pixels each way."""
        cx, cy = ((c + 0.5) * factor - 0.5 for c in self.principal)
        size = self.width * factor, self.height * factor
        return Camera(*size, self.focal_px * factor, (cx, cy), self.rotation, self.position)

    def project(self, points: Float64Array) -> Float64Array:
        """Project world points (N, 3): (N, 3) x px, y px, depth in metres (behind the camera if <= 0)."""
        seen = (points - self.position) @ self.rotation.T
        depth = seen[:, 2:]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        return np.hstack([seen[:, :2] / safe * self.focal_px + np.array(self.principal), depth])

    def plane_to_photo(self, surface: Surface) -> Float64Array:
        """Return (3, 3): (u, v, 1) in metres on the surface -> homogeneous px, whose third entry is depth."""
        return self.plane_frame_to_photo(surface.origin, surface.u, surface.v)

    def plane_frame_to_photo(self, origin: Float64Array, u: Float64Array, v: Float64Array) -> Float64Array:
        """Return the same for a plane given by its frame, three vectors (3,)."""
        frame = np.stack([u, v, origin - self.position], axis=1)
        homography: Float64Array = self.intrinsics @ self.rotation @ frame
        return homography


def look_at(position: Float64Array, target: Float64Array, roll_rad: float) -> Float64Array:
    """Return the rotation (3, 3) world -> camera for looking from `position` at `target`, rounded to 1e-9."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = math.cos(roll_rad), math.sin(roll_rad)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
    return np.round(rotation, 9)
