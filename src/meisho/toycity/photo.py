"""From a scene to a photo: rendering, air, lens, sensor, JPEG."""

import io
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from meisho.arrays import Float32Array, UInt8Array
from meisho.toycity.camera import Camera
from meisho.toycity.faults import spoil
from meisho.toycity.light import SEASONS, WARM, Light, draw_sky, pick_light
from meisho.toycity.raster import Drawing, draw_surfaces
from meisho.toycity.renderings import RENDERINGS
from meisho.toycity.site import Site
from meisho.toycity.variety import PLAIN, Variety
from meisho.toycity.views import POSTCARD, passers_by, pick_manner, place_camera

OVERSAMPLING = 2
EXIF_ORIENTATION = 0x0112
SHARE_TURNED = 0.03


@dataclass(frozen=True, eq=False)
class Shot:
    """One photo and its ground truth.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright.
        jpeg: The file's bytes.
        camera: The camera.
        shown: (H, W) uint8: 1 + position of the building's surface that fills the pixel, 0 for anything else.
        box: (x0, y0, x1, y1) px around the visible part of the building, including roofs; None if none is.
        sky: Name of the weather.
        manner: Name of the manner in which it was taken, or of the rendering that it is.
        dim: Whether night, dusk or fog hides the building.
    """

    pixels: UInt8Array
    jpeg: bytes
    camera: Camera
    shown: UInt8Array
    box: tuple[float, float, float, float] | None
    sky: str
    manner: str
    dim: bool


def take_photo(rng: np.random.Generator, site: Site, *, fair: bool, variety: Variety = PLAIN) -> Shot:
    """Take one photo of a site; a `fair` one shows the whole landmark from the front, by day.

    A fair photo has no faults and is no rendering. What a variety draws more has random numbers of its own:
    cameras, weather and people stay as they are.
    """
    extra = rng.spawn(1)[0]
    manner = POSTCARD if fair else pick_manner(rng)
    camera = place_camera(rng, site, manner)
    light = pick_light(rng, fair=fair, skies=site.stage.skies)
    if variety.seasons:
        light = replace(light, season=SEASONS[int(extra.integers(0, len(SEASONS)))])
    surfaces = (*site.surfaces, *passers_by(rng, site, camera, manner))
    large = camera.scaled(OVERSAMPLING)
    drawing = draw_surfaces(surfaces, large, light)
    pixels = _through_air(drawing, draw_sky(rng, camera, light.sky), light)
    pixels = _develop(rng, _fall(rng, _shine(pixels, site, camera, drawing, light), light), fair=fair)
    pixels, rendering = (pixels, "") if fair else _varied(extra, pixels, variety)
    distance = float(np.linalg.norm(camera.position - site.center))
    dim = light.sky.glow >= 0.7 or 0 < light.sky.sight_m < distance
    jpeg = _encode(rng, pixels, fair=fair)
    shown, box = _shown_facades(drawing, site), _building_box(drawing, site)
    return Shot(pixels, jpeg, camera, shown, box, light.sky.name, rendering or manner.name, dim)


def _varied(rng: np.random.Generator, pixels: UInt8Array, variety: Variety) -> tuple[UInt8Array, str]:
    """Return a photo as a rendering, with faults, or as it is; and the rendering's name or ""."""
    if rng.random() < variety.renderings:
        name = list(RENDERINGS)[int(rng.integers(0, len(RENDERINGS)))]
        return RENDERINGS[name](rng, pixels), name
    return (spoil(rng, pixels) if rng.random() < variety.faults else pixels), ""


def _shown_facades(drawing: Drawing, site: Site) -> UInt8Array:
    """Reduce to the photo's size; a pixel counts only if all of it shows one facade."""
    n = OVERSAMPLING
    parts = np.stack([drawing.shown[i::n, j::n] for i in range(n) for j in range(n)])
    first = parts[0]
    countable = np.array([s.facade for s in site.surfaces[:254]] + [False] * 255)
    index = np.where((first >= 0) & (first < 254), first, -1)
    kept = (parts == first).all(axis=0) & countable[index]
    shown: UInt8Array = np.where(kept, index + 1, 0).astype(np.uint8)
    return shown


def _building_box(drawing: Drawing, site: Site) -> tuple[float, float, float, float] | None:
    seen = (drawing.shown >= 0) & (drawing.shown < site.num_building)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        return None
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    n = OVERSAMPLING
    return float(x0 // n), float(y0 // n), float(-(-x1 // n)), float(-(-y1 // n))


def _through_air(drawing: Drawing, sky: Float32Array, light: Light) -> UInt8Array:
    """Reduce to the photo's size, light the windows, and add mist in front and the sky (H, W, 3) behind."""
    size = sky.shape[1], sky.shape[0]
    reduced = cv2.resize(drawing.color, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    covered = cv2.resize((drawing.shown >= 0).astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    share = covered.astype(np.float32)[..., None] / np.float32(255)
    color = reduced[..., :3]
    if light.sky.glow:
        color += reduced[..., 3:] * np.float32(0.85 / 255) * (WARM - color)
    if light.sky.sight_m:
        # mist at distance d covers d² / (d² + sight²): half at the sight distance, exact arithmetic
        near = drawing.inverse_depth[::OVERSAMPLING, ::OVERSAMPLING] * np.float32(light.sky.sight_m)
        mist = np.float32(1) / (near * near + np.float32(1))
        color += mist[..., None] * (np.array(light.sky.horizon, dtype=np.float32) * share - color)
    mixed: UInt8Array = np.clip(color + sky * (1 - share) + np.float32(0.5), 0, 255).astype(np.uint8)
    return mixed


def _shine(pixels: UInt8Array, site: Site, camera: Camera, drawing: Drawing, light: Light) -> UInt8Array:
    """Add halos around lamps, and the bloom of bright windows at night."""
    if light.sky.glow < 0.3:
        return pixels
    spots = np.zeros(pixels.shape[:2], dtype=np.uint8)
    for x, y, depth in camera.project(np.array(site.lamps).reshape(-1, 3)):
        inside = depth > 1 and 0 <= x < camera.width and 0 <= y < camera.height
        if inside and 1 / depth > 0.97 * drawing.inverse_depth[int(y) * OVERSAMPLING, int(x) * OVERSAMPLING]:
            radius = max(2, round(camera.focal_px * 0.55 / depth))
            cv2.circle(spots, (round(x), round(y)), radius, 255, -1)
    halo = cv2.GaussianBlur(spots, (0, 0), 9).astype(np.float32) * np.float32(1.6 * light.sky.glow)
    bleed = cv2.GaussianBlur(cv2.subtract(pixels, (150, 150, 150, 0)), (0, 0), 5).astype(np.float32)
    lit = pixels + bleed * np.float32(0.6) + halo[..., None] * np.array([1.0, 0.82, 0.52], dtype=np.float32)
    shone: UInt8Array = np.clip(lit, 0, 255).astype(np.uint8)
    return shone


def _fall(rng: np.random.Generator, pixels: UInt8Array, light: Light) -> UInt8Array:
    """Add rain or snow."""
    if not light.sky.falling:
        return pixels
    height, width = pixels.shape[:2]
    layer = pixels.copy()
    slant = float(rng.uniform(-0.25, 0.25))
    for x, y, size in rng.random((260, 3)):
        at = int(x * width), int(y * height)
        if light.sky.falling == "snow":
            cv2.circle(layer, at, 1 + int(2.2 * size**3), (244, 246, 250), -1, cv2.LINE_AA)
        else:
            long = 8 + 20 * size
            cv2.line(
                layer, at, (int(at[0] + slant * long), int(at[1] + long)), (206, 212, 220), 1, cv2.LINE_AA
            )
    strength = np.uint16(
        218 if light.sky.falling == "snow" else 97
    )  # of 256; whole numbers are exact everywhere
    fallen: UInt8Array = ((layer * strength + pixels * (np.uint16(256) - strength)) >> 8).astype(np.uint8)
    return fallen


def _develop(rng: np.random.Generator, pixels: UInt8Array, *, fair: bool) -> UInt8Array:
    """Apply a camera's blur, exposure, white balance, contrast, vignette and noise."""
    wild = 0.4 if fair else 1.0
    pixels = _blurred(rng, pixels, wild)
    gain = (1 + wild * rng.uniform(-0.13, 0.13)) * (1 + wild * rng.uniform(-0.05, 0.05, 3))
    contrast = 1 + wild * rng.uniform(-0.18, 0.18)
    table = np.clip((np.arange(256)[:, None] * gain - 120) * contrast + 120, 0, 255)
    toned = cv2.LUT(pixels, np.round(table).astype(np.uint8)[None])
    dark = _vignette(toned.shape[:2]) * np.float32(wild * rng.uniform(0, 0.45))
    strength = int(rng.integers(1, 5 if fair else 15))
    speckle = rng.integers(-strength, strength + 1, size=toned.shape, dtype=np.int8)
    if not fair and rng.random() < 0.03:
        toned = np.repeat((toned @ np.array([77, 150, 29]) >> 8)[..., None], 3, axis=2)
    developed: UInt8Array = np.clip(toned * (1 - dark[..., None]) + speckle, 0, 255).astype(np.uint8)
    return developed


def _blurred(rng: np.random.Generator, pixels: UInt8Array, wild: float) -> UInt8Array:
    draw = rng.random()
    if draw < 0.3 * wild:
        blurred: UInt8Array = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.5, 1.9)))
        return blurred
    if draw < 0.38 * wild:
        return _moved(pixels, int(rng.integers(3, 8)), axis=1 if rng.random() < 0.7 else 0)
    return pixels


def _moved(pixels: UInt8Array, length: int, axis: int) -> UInt8Array:
    """Average each pixel with the `length` - 1 pixels before it, like a moving camera."""
    total = np.zeros(pixels.shape, dtype=np.uint16)
    for shift in range(length):
        total += np.roll(pixels, shift, axis=axis)
    moved: UInt8Array = (total // length).astype(np.uint8)
    return moved


def _vignette(shape: tuple[int, int]) -> Float32Array:
    """Return (H, W), from 0 in the middle to 1 in the corners."""
    y = (np.arange(shape[0], dtype=np.float32) / np.float32(shape[0]) - np.float32(0.5)) ** 2
    x = (np.arange(shape[1], dtype=np.float32) / np.float32(shape[1]) - np.float32(0.5)) ** 2
    return (y[:, None] + x[None, :]) * np.float32(2)


def _encode(rng: np.random.Generator, pixels: UInt8Array, *, fair: bool) -> bytes:
    """Encode as JPEG; a few photos are stored sideways with an EXIF orientation, like those of phones."""
    quality = int(rng.integers(80 if fair else 35, 96))
    turned = rng.random() < SHARE_TURNED and not fair
    exif = Image.Exif()
    if turned:
        exif[EXIF_ORIENTATION] = 6  # rotate clockwise by 90 degrees to view
    buffer = io.BytesIO()
    image = Image.fromarray(np.rot90(pixels) if turned else pixels)
    image.save(buffer, "JPEG", quality=quality, exif=exif.tobytes() if turned else b"")
    return buffer.getvalue()
