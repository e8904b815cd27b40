"""A small z-buffer: surfaces seen by a camera -> colours, and the surface that each pixel shows.

There are two passes. The first finds the nearest surface for each pixel; 1 / depth of a plane is linear in
the image, so this takes three multiplications per pixel. The second looks up each surface's texture where the
surface is visible.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from meisho.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from meisho.toycity.camera import Camera
from meisho.toycity.light import Light
from meisho.toycity.surfaces import Surface

NEAR_M = 0.3
Int16Array = np.ndarray[tuple[int, ...], np.dtype[np.int16]]
Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a camera sees.

    Attributes:
        color: (H, W, 4) uint8: RGB, and how much a pixel glows at night; 0 for pixels without a surface.
        inverse_depth: (H, W) float32, 1/m; 0 for pixels without a surface.
        shown: (H, W) int16: position of the surface that a pixel shows, or -1.
    """

    color: UInt8Array
    inverse_depth: Float32Array
    shown: Int16Array


@dataclass(frozen=True, eq=False)
class _Seen:
    number: int
    surface: Surface
    window: Window
    inside: BoolArray
    inverse_depth: Float32Array
    to_plane: Float64Array


def draw_surfaces(surfaces: Sequence[Surface], camera: Camera, light: Light) -> Drawing:
    """Draw `surfaces`; if some are equally near, the first is shown."""
    shape = (camera.height, camera.width)
    nearest = np.zeros(shape, dtype=np.float32)
    shown = np.full(shape, -1, dtype=np.int16)
    color = np.zeros((*shape, 4), dtype=np.uint8)
    candidates = [
        s for i in _turned_towards(surfaces, camera) if (s := _see(i, surfaces[i], camera)) is not None
    ]
    for seen in candidates:
        near = nearest[seen.window]
        closer = seen.inside & (seen.inverse_depth > near)
        np.copyto(near, seen.inverse_depth, where=closer)
        np.copyto(shown[seen.window], np.int16(seen.number), where=closer)
    for seen in candidates:
        visible = shown[seen.window] == seen.number
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        if len(rows):
            part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            _paint(color[seen.window][part], _cropped(seen, part), visible[part], light)
    return Drawing(color, nearest, shown)


def _turned_towards(surfaces: Sequence[Surface], camera: Camera) -> list[int]:
    """Return the positions of the surfaces that face the camera and are not beside or behind it."""
    normals = np.array([s.normal for s in surfaces])
    towards = camera.position - np.array([s.corners[0] for s in surfaces])
    facing = (normals * towards).sum(axis=1) > 0
    facing |= np.array([s.two_sided for s in surfaces])
    starts = np.cumsum([0] + [len(s.corners) for s in surfaces[:-1]])
    sides = _sides(camera_points(np.concatenate([s.corners for s in surfaces]), camera), camera)
    outside = np.logical_and.reduceat(sides < 0, starts).any(axis=1)
    return [int(i) for i in np.flatnonzero(facing & ~outside)]


def _cropped(seen: _Seen, part: Window) -> _Seen:
    top, left = seen.window[0].start, seen.window[1].start
    window = slice(top + part[0].start, top + part[0].stop), slice(left + part[1].start, left + part[1].stop)
    return replace(seen, window=window, inside=seen.inside[part], inverse_depth=seen.inverse_depth[part])


def _see(number: int, surface: Surface, camera: Camera) -> _Seen | None:
    corners = _clip(camera_points(surface.corners, camera), camera)
    if len(corners) < 3:
        return None
    pixels = corners[:, :2] / corners[:, 2:] * camera.focal_px + np.array(camera.principal)
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 1, [camera.width, camera.height])
    if (high <= low).any():
        return None
    window = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.round((pixels - low) * 16).astype(np.int32), 1, lineType=8, shift=4)
    to_plane = np.linalg.inv(camera.plane_to_photo(surface)).astype(np.float64)
    seen = _Seen(number, surface, window, mask.view(np.bool_), _linear(to_plane[2], window), to_plane)
    if not surface.texture.cutout:
        return seen
    level, columns, rows = _texture_map(seen)
    opacity = cv2.remap(level[..., 3], columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return replace(seen, inside=seen.inside & (opacity > 127))


def camera_points(points: Float64Array, camera: Camera) -> Float64Array:
    """Transform world points (N, 3) to camera axes (N, 3), metres."""
    seen: Float64Array = (points - camera.position) @ camera.rotation.T
    return seen


def _frustum(camera: Camera) -> Float64Array:
    """Return the frustum with a margin: (5, 4) planes in camera axes, all >= 0 inside."""
    (cx, cy), f, margin = camera.principal, camera.focal_px, 2.0
    return np.array(
        [
            [0, 0, 1, -NEAR_M],
            [f, 0, cx + margin, 0],
            [-f, 0, camera.width - cx + margin, 0],
            [0, f, cy + margin, 0],
            [0, -f, camera.height - cy + margin, 0],
        ]
    )


def _sides(points: Float64Array, camera: Camera) -> Float64Array:
    """Return (N, 5) values of `_frustum`'s planes at points (N, 3) in camera axes."""
    planes = _frustum(camera)
    values: Float64Array = points @ planes[:, :3].T + planes[:, 3]
    return values


def _clip(points: Float64Array, camera: Camera) -> Float64Array:
    """Clip a polygon in camera axes to the frustum."""
    crossed = (_sides(points, camera) < 0).any(axis=0)
    for plane in _frustum(camera)[crossed]:
        points = _cut(points, points @ plane[:3] + plane[3])
    return points


def _cut(points: Float64Array, side: Float64Array) -> Float64Array:
    """Keep the part of a polygon where a linear function, with the corner values `side`, is >= 0."""
    kept = []
    for i in range(len(points)):
        a, b = side[i - 1], side[i]
        if (a < 0) != (b < 0):
            kept.append(points[i - 1] + (points[i] - points[i - 1]) * (a / (a - b)))
        if b >= 0:
            kept.append(points[i])
    return np.array(kept).reshape(-1, 3)


def _linear(row: Float64Array, window: Window) -> Float32Array:
    """Return row[0] x + row[1] y + row[2] for the pixels of `window`."""
    rows, columns = window
    x = row[0] * np.arange(columns.start, columns.stop) + row[2]
    y = row[1] * np.arange(rows.start, rows.stop)
    values: Float32Array = x.astype(np.float32)[None, :] + y.astype(np.float32)[:, None]
    return values


def _texture_map(seen: _Seen) -> tuple[UInt8Array, Float32Array, Float32Array]:
    """Return the texture level that fits the scale, and its column and row for each pixel."""
    texture = seen.surface.texture
    depth: Float32Array = np.reciprocal(np.maximum(seen.inverse_depth, np.float32(1e-4)))
    u: Float32Array = _linear(seen.to_plane[0], seen.window) * depth
    v: Float32Array = _linear(seen.to_plane[1], seen.window) * depth
    y, x = u.shape[0] // 2, u.shape[1] // 2
    texels = max(abs(float(u[y, x] - u[y, x - 1])), abs(float(v[y, x] - v[y - 1, x]))) * texture.px_per_m
    number = min(int(np.log2(max(texels, 1.0)) + 0.3), len(texture.levels) - 1) if min(y, x) > 0 else 0
    scale = np.float32(texture.px_per_m / 2**number)
    u *= scale
    v *= scale
    return texture.levels[number], u - np.float32(0.5), v - np.float32(0.5)


def _paint(color: UInt8Array, seen: _Seen, visible: BoolArray, light: Light) -> None:
    """Paint `seen` on `color` (h, w, 4) where it is visible (h, w)."""
    surface = seen.surface
    level, columns, rows = _texture_map(seen)
    columns *= visible
    rows *= visible
    border = cv2.BORDER_REPLICATE if surface.texture.cutout else cv2.BORDER_REFLECT
    texels = cv2.remap(level, columns, rows, cv2.INTER_LINEAR, borderMode=border)
    px_per_m = surface.texture.px_per_m * level.shape[1] / surface.texture.image.shape[1]
    cv2.copyTo(light.shade(surface, texels, columns, rows, px_per_m), visible.view(np.uint8), color)
