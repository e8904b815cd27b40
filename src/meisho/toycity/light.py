"""Light, weather and sky."""

from dataclasses import dataclass

import cv2
import numpy as np

from meisho.arrays import Float32Array, Float64Array, UInt8Array
from meisho.toycity import materials
from meisho.toycity.camera import Camera
from meisho.toycity.surfaces import Surface

Tint = tuple[float, float, float]
WARM = np.array([255, 206, 128], dtype=np.float32)


@dataclass(frozen=True)
class Sky:
    """A kind of weather or time of day.

    Attributes:
        name: Name of the weather.
        share: Relative frequency.
        ambient: RGB factor of ambient light.
        sun: RGB factor of sunlight that hits a surface head-on.
        zenith: RGB of the sky overhead.
        horizon: RGB of the sky at the horizon, and of fog.
        clouds: Cloud cover, 0 to 1.
        cloud: RGB of clouds.
        sight_m: Distance at which fog hides half of the light, metres; 0 for clear air.
        glow: Brightness of lamps and windows, 0 to 1.
        falling: "", "rain" or "snow".
    """

    name: str
    share: float
    ambient: Tint
    sun: Tint
    zenith: Tint
    horizon: Tint
    clouds: float
    cloud: Tint
    sight_m: float = 0.0
    glow: float = 0.0
    falling: str = ""


SKIES: tuple[Sky, ...] = (
    Sky(
        "sunny",
        5,
        (0.56, 0.61, 0.70),
        (0.62, 0.57, 0.48),
        (64, 118, 192),
        (186, 212, 234),
        0.35,
        (250, 250, 252),
        900,
    ),
    Sky(
        "hazy",
        2,
        (0.66, 0.68, 0.70),
        (0.36, 0.33, 0.29),
        (140, 172, 206),
        (222, 224, 222),
        0.5,
        (242, 242, 240),
        260,
    ),
    Sky(
        "overcast",
        3.5,
        (0.78, 0.79, 0.81),
        (0.05, 0.05, 0.05),
        (166, 174, 184),
        (212, 216, 220),
        0.9,
        (226, 228, 232),
        500,
    ),
    Sky(
        "sunset",
        1.0,
        (0.46, 0.40, 0.44),
        (0.74, 0.50, 0.28),
        (84, 100, 156),
        (246, 184, 128),
        0.4,
        (244, 172, 140),
        500,
        0.3,
    ),
    Sky(
        "dusk",
        0.5,
        (0.34, 0.36, 0.50),
        (0.0, 0.0, 0.0),
        (34, 48, 98),
        (196, 132, 128),
        0.4,
        (92, 84, 120),
        500,
        0.75,
    ),
    Sky(
        "night",
        0.5,
        (0.24, 0.25, 0.36),
        (0.0, 0.0, 0.0),
        (10, 14, 34),
        (42, 44, 70),
        0.25,
        (40, 42, 58),
        500,
        1.0,
    ),
    Sky(
        "fog",
        0.4,
        (0.76, 0.77, 0.78),
        (0.0, 0.0, 0.0),
        (206, 210, 212),
        (216, 218, 218),
        0.9,
        (216, 218, 218),
        42,
        0.1,
    ),
    Sky(
        "rain",
        0.8,
        (0.54, 0.57, 0.62),
        (0.0, 0.0, 0.0),
        (112, 122, 134),
        (172, 180, 188),
        0.9,
        (142, 150, 160),
        110,
        0.3,
        "rain",
    ),
    Sky(
        "snow",
        0.6,
        (0.78, 0.80, 0.86),
        (0.04, 0.04, 0.04),
        (186, 194, 206),
        (224, 228, 234),
        0.9,
        (226, 230, 236),
        130,
        0.1,
        "snow",
    ),
)


SEASONS: tuple[Tint, ...] = ((1.0, 1.0, 1.0), (1.08, 1.14, 0.85), (1.7, 0.92, 0.45), (1.15, 0.86, 0.95))
"""RGB factors of leaves and grass in summer, spring, autumn and winter."""


@dataclass(frozen=True, eq=False)
class Light:
    """The light of one photo.

    Attributes:
        sky: The weather.
        sun: (3,) unit vector towards the sun.
        shadow: (a, b, c): a sunlit wall is in shadow where a * u + b * v > c; u, v in metres on the wall.
        season: RGB factor of leaves and grass.
    """

    sky: Sky
    sun: Float64Array
    shadow: tuple[float, float, float]
    season: Tint = (1.0, 1.0, 1.0)

    def shade(
        self, surface: Surface, texels: UInt8Array, columns: Float32Array, rows: Float32Array, px_per_m: float
    ) -> UInt8Array:
        """Light the texels (h, w, 4) of `surface`; `columns`, `rows` (h, w) are texture px at `px_per_m`."""
        facing = max(0.0, float(surface.normal @ self.sun)) if not surface.texture.cutout else 0.6
        lit: UInt8Array = cv2.LUT(texels, self._table(facing, surface))
        if facing > 0.12 and abs(surface.normal[2]) < 0.1 and self.sky.sun[0] > 0.3 and self.shadow[2] < 1e3:
            a, b, c = self.shadow
            hidden = columns * np.float32(a / px_per_m) + rows * np.float32(b / px_per_m) > c
            cv2.copyTo(cv2.LUT(texels, self._table(facing * 0.15, surface)), hidden.view(np.uint8), lit)
        return lit

    def _table(self, facing: float, surface: Surface) -> UInt8Array:
        """Return a (1, 256, 4) look-up table for each channel; `facing` is the cosine towards the sun."""
        gain = np.array(self.sky.ambient) + np.array(self.sky.sun) * facing
        if surface.normal[2] < -0.2:
            gain = gain * 0.6
        if surface.grows:
            gain = gain * np.array(self.season)
        table = np.zeros((1, 256, 4))
        table[..., :3] = np.clip(np.arange(256)[:, None] * gain, 0, 255)
        if self.sky.falling == "snow" and surface.normal[2] > 0.25 and not surface.texture.cutout:
            table[..., :3] = table[..., :3] * 0.25 + np.array([232, 238, 246]) * 0.75 * min(gain[0], 1.0)
        if not surface.texture.cutout:
            table[..., 3] = np.arange(256) * self.sky.glow
        return np.round(table).astype(np.uint8)


def pick_light(rng: np.random.Generator, *, fair: bool, skies: tuple[Sky, ...] = SKIES) -> Light:
    """Pick the weather of one photo at random; `fair` allows only the first three: daylight and clear air."""
    skies = skies[:3] if fair else skies
    shares = np.array([sky.share for sky in skies])
    sky = skies[int(np.searchsorted(np.cumsum(shares) / shares.sum(), rng.random()))]
    low = sky.name == "sunset"
    sun = np.array([rng.uniform(-1, 1), -rng.uniform(0.25, 1.0), 0.25 if low else rng.uniform(0.5, 1.3)])
    tilt = rng.uniform(-0.9, 0.9)
    shadow = (float(tilt), 1.0, float(rng.uniform(3, 22))) if rng.random() < 0.55 else (0.0, 1.0, 1e6)
    return Light(sky, np.round(sun / np.sqrt(sun @ sun), 6), shadow)


def draw_sky(rng: np.random.Generator, camera: Camera, sky: Sky) -> Float32Array:
    """Draw the sky: (H, W, 3), 0 to 255."""
    rows = np.arange(camera.height)
    upward = (camera.principal[1] - rows) / camera.focal_px + float(camera.rotation[2, 2])
    share = np.clip(upward * 1.6, 0, 1).astype(np.float32)[:, None, None]
    plain = np.array(sky.horizon, np.float32) * (1 - share) + np.array(sky.zenith, np.float32) * share
    shape = camera.height // 4, camera.width // 4
    spots = (
        materials.noise(rng, shape, camera.width / 9, octaves=4).astype(np.float32) + (sky.clouds - 0.5) * 150
    )
    small = np.clip(spots * np.float32(255 / 70), 0, 255).astype(np.uint8)
    large = cv2.resize(small, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR_EXACT)
    cover = large[..., None] * np.float32(0.85 / 255)
    drawn = plain * (1 - cover) + np.array(sky.cloud, np.float32) * cover
    if sky.name == "night":
        for x, y in rng.random((60, 2)):
            drawn[int(y * camera.height), int(x * camera.width)] = 190
    sky_above: Float32Array = drawn.astype(np.float32)
    return sky_above
