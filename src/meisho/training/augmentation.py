"""Augmentation: photos that are never seen twice the same.

A batch's random numbers are drawn first (`draw_changes`), on the CPU from one generator. Each photo is then
cropped to its shape (`crop_photo`), and all are changed as one batch on any device (`change_batch`). Pixels
come as uint8; they are normalised last.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from meisho.arrays import UInt8Array
from meisho.config import config_values, parse_config
from meisho.errors import ConfigError
from meisho.tables import require_name
from meisho.training.ranges import check_ranges
from meisho.training.recipe_tables import AugmentationRecipe

_CROP_TRIES = 10  # as torchvision's RandomResizedCrop
_BRIGHTNESS, _CONTRAST, _GAMMA = 1, 2, 3


def _check(is_right: bool, message: str) -> None:
    if not is_right:
        raise ConfigError(f"augmentation: {message}")


@dataclass(frozen=True)
class Augmentation:
    """How photos are changed at random; each change after the crop happens with its own probability.

    The defaults of sizes are those of script 12 of the chapter.

    Attributes:
        crop_area: Least and greatest share of the photo's area that is kept; None keeps the whole photo.
        crop_ratio: Least and greatest width / height of the crop, relative to that of the shape which it is
            resized to.
        colour: Probability that one of brightness, contrast and gamma is changed.
        brightness: The factor is drawn from 1 - brightness to 1 + brightness.
        contrast: The same for contrast.
        gamma: The same for the exponent.
        move: Probability of shift, scale and rotation together; the picture is mirrored beyond its border.
        shift: Greatest shift, a share of the side.
        scale: The factor is drawn from 1 - scale to 1 + scale.
        rotate_deg: Greatest rotation, degrees.
        cutout: Probability of black holes.
        holes: Their number.
        hole_px: Their side; less where they reach beyond the border.
        blur: Probability of a mean filter.
        blur_px: Its greatest side, odd; drawn from 3, 5, ... on.

    Raises:
        ConfigError: A value is out of its range.
    """

    crop_area: tuple[float, float] | None = (0.6, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    colour: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.1
    gamma: float = 0.2
    move: float = 0.0
    shift: float = 0.1
    scale: float = 0.5
    rotate_deg: float = 15.0
    cutout: float = 0.0
    holes: int = 2
    hole_px: int = 80
    blur: float = 0.0
    blur_px: int = 7

    def __post_init__(self) -> None:
        for name in ("colour", "move", "cutout", "blur"):
            _check(0 <= getattr(self, name) <= 1, f"{name} must be a probability, from 0 to 1")
        for name in ("brightness", "contrast", "gamma", "scale", "shift"):
            _check(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and less than 1")
        area = self.crop_area or (1.0, 1.0)
        _check(0 < area[0] <= area[1] <= 1, "crop_area must be two rising numbers, above 0 and at most 1")
        _check(0 < self.crop_ratio[0] <= self.crop_ratio[1], "crop_ratio must be two rising numbers above 0")
        _check(self.holes >= 1 and self.hole_px >= 1, "holes and hole_px must be at least 1")
        _check(self.blur_px >= 3 and self.blur_px % 2 == 1, "blur_px must be odd, at least 3")
        check_ranges(self)


AUGMENTATIONS = {
    "none": Augmentation(crop_area=None),
    "crop": Augmentation(),
    "scale_rotate": Augmentation(move=0.3),
    "colour": Augmentation(move=0.3, colour=0.3),
    "cutout": Augmentation(move=0.3, colour=0.3, cutout=0.5),
    "blur": Augmentation(move=0.3, colour=0.3, cutout=0.5, blur=0.3),
}
"""Name of a recipe -> the recipe. "crop" is script 07 of the chapter; each of the four after it adds
something to the one before, as the experiments of script 12 do."""


def augmentation_of(recipe: AugmentationRecipe) -> Augmentation:
    """Return the augmentation that a recipe asks for.

    Raises:
        ConfigError: There is none of that name, or an option is not known or out of its range.
    """
    require_name(recipe.name, AUGMENTATIONS, what="augmentation")
    base = config_values(AUGMENTATIONS[recipe.name])
    return parse_config({**base, **recipe.options}, Augmentation, source="[augmentation]")


@dataclass(frozen=True, eq=False)
class Changes:
    """The random numbers for B photos, all on the CPU; what is not to happen has the value of no change.

    Attributes:
        augmentation: What they were drawn for.
        crop_areas: (B, tries) shares of the area; the first crop that fits is taken.
        crop_ratios: (B, tries) width / height, relative to the shape.
        crop_places: (B, 2) where the crop lies, right and down, 0 to 1.
        tones: (B,) int64: 0 none, 1 brightness, 2 contrast, 3 gamma.
        tone_factors: (B,).
        angles_deg: (B,) clockwise.
        scales: (B,).
        shifts: (B, 2) right and down, shares of the sides.
        has_holes: (B,) bool.
        holes: (B, H, 2) centres, right and down, 0 to 1.
        blur_px: (B,) int64 sides of the mean filter, 1 for none.
    """

    augmentation: Augmentation
    crop_areas: Tensor
    crop_ratios: Tensor
    crop_places: Tensor
    tones: Tensor
    tone_factors: Tensor
    angles_deg: Tensor
    scales: Tensor
    shifts: Tensor
    has_holes: Tensor
    holes: Tensor
    blur_px: Tensor

    def __len__(self) -> int:
        return len(self.tones)

    def take(self, rows: slice | Tensor) -> "Changes":
        """Return the numbers for some of the photos: a rank's part of the batch, or one photo."""
        numbers = (getattr(self, field.name)[rows] for field in fields(self)[1:])
        return Changes(self.augmentation, *numbers)


def seeded_generator(*numbers: int) -> torch.Generator:
    """Return a generator that depends on these numbers alone, always as many: seed, epoch, batch."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def draw_changes(augmentation: Augmentation, count: int, generator: torch.Generator) -> Changes:
    """Draw the numbers for `count` photos."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    a = augmentation
    areas = uniform(*(a.crop_area or (1.0, 1.0)), _CROP_TRIES)
    crop_ratios = uniform(math.log(a.crop_ratio[0]), math.log(a.crop_ratio[1]), _CROP_TRIES).exp()
    places = uniform(0, 1, 2)
    toned = uniform(0, 1) < a.colour
    tones = torch.randint(_BRIGHTNESS, _GAMMA + 1, (count,), generator=generator)
    spread = torch.tensor([0.0, a.brightness, a.contrast, a.gamma])[tones]
    tone_factors = 1 + spread * uniform(-1, 1)
    moved = uniform(0, 1) < a.move
    angles, scales = uniform(-a.rotate_deg, a.rotate_deg), uniform(1 - a.scale, 1 + a.scale)
    shifts = uniform(-a.shift, a.shift, 2)
    has_holes, holes = uniform(0, 1) < a.cutout, uniform(0, 1, a.holes, 2)
    blurred = uniform(0, 1) < a.blur
    sides = 3 + 2 * torch.randint(0, (a.blur_px - 1) // 2, (count,), generator=generator)
    return Changes(
        augmentation,
        areas,
        crop_ratios,
        places,
        torch.where(toned, tones, 0),
        torch.where(toned, tone_factors, 1.0),
        torch.where(moved, angles, 0.0),
        torch.where(moved, scales, 1.0),
        shifts * moved[:, None],
        has_holes,
        holes,
        torch.where(blurred, sides, 1),
    )


def crop_photo(pixels: UInt8Array, changes: Changes, row: int, shape_px: tuple[int, int]) -> Tensor:
    """Crop one photo at random and resize it: (H, W, 3) uint8 -> (3, h, w) uint8.

    Args:
        pixels: The photo; not written to.
        changes: Random numbers of the batch.
        row: The photo's row in the batch.
        shape_px: (h, w).
    """
    height, width = pixels.shape[:2]
    x, y, box_width, box_height = crop_box((width, height), changes, row, shape_px)
    part = torch.from_numpy(pixels[y : y + box_height, x : x + box_width].copy())
    resized: Tensor = transforms.resize(part.permute(2, 0, 1), list(shape_px), antialias=True)
    return resized


def crop_box(
    size_px: tuple[int, int], changes: Changes, row: int, shape_px: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the crop (x, y, width, height), px, as torchvision's RandomResizedCrop chooses it.

    Args:
        size_px: (width, height) of the photo.
        changes: Random numbers of the batch.
        row: The photo's row in the batch.
        shape_px: (height, width) of what the crop is resized to.
    """
    width, height = size_px
    if changes.augmentation.crop_area is None:
        return 0, 0, width, height
    aspect = shape_px[1] / shape_px[0]
    ratios = changes.crop_ratios[row].numpy() * aspect
    areas = changes.crop_areas[row].numpy() * (width * height)
    widths, heights = np.round(np.sqrt(areas * ratios)), np.round(np.sqrt(areas / ratios))
    fitting = np.flatnonzero((widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height))
    if len(fitting) == 0:  # the photo is far longer than the shape: the middle of it, at full height or width
        narrowest, widest = (aspect * limit for limit in changes.augmentation.crop_ratio)
        box_width, box_height = min(width, round(height * widest)), min(height, round(width / narrowest))
        return (width - box_width) // 2, (height - box_height) // 2, max(1, box_width), max(1, box_height)
    box_width, box_height = int(widths[fitting[0]]), int(heights[fitting[0]])
    right, down = changes.crop_places[row].tolist()
    return int(right * (width - box_width + 1)), int(down * (height - box_height + 1)), box_width, box_height


def change_batch(images: Tensor, changes: Changes, *, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Change a batch and normalise it, on its device: (B, 3, h, w) uint8 -> (B, 3, h, w) float32.

    Each photo has its own random numbers.

    Args:
        images: What `crop_photo` gave; not written to.
        changes: Random numbers of the batch.
        mean: Per channel, of values from 0 to 1.
        std: Per channel, likewise.
    """
    pixels = images.to(torch.float32, copy=True).div_(255)
    for change, chosen in (
        (_change_tones, changes.tones > 0),
        (_move_batch, _is_moved(changes)),
        (_cut_holes, changes.has_holes),
        (_blur_batch, changes.blur_px > 1),
    ):
        rows = torch.nonzero(chosen)[:, 0]  # on the CPU: the device need not be waited for
        if len(rows):
            on_device = rows.to(pixels.device, non_blocking=True)
            pixels[on_device] = change(pixels[on_device], changes.take(rows))
    shift, factor = (pixels.new_tensor(list(values)).view(1, 3, 1, 1) for values in (mean, std))
    return pixels.sub_(shift).div_(factor)


def _change_tones(pixels: Tensor, changes: Changes) -> Tensor:
    tones, factors = (v.to(pixels.device).view(-1, 1, 1, 1) for v in (changes.tones, changes.tone_factors))
    grey = transforms.rgb_to_grayscale(pixels).mean(dim=(1, 2, 3), keepdim=True)
    linear = pixels * factors + torch.where(tones == _CONTRAST, (1 - factors) * grey, 0)
    return torch.where(tones == _GAMMA, pixels**factors, linear).clamp_(0, 1)


def _move_batch(pixels: Tensor, changes: Changes) -> Tensor:
    """Shift, scale and turn each photo about its middle; beyond the border lies its mirror image."""
    height, width = pixels.shape[-2:]
    angles = torch.deg2rad(changes.angles_deg)
    cos, sin = angles.cos() / changes.scales, angles.sin() / changes.scales
    right, down = changes.shifts[:, 0] * width, changes.shifts[:, 1] * height  # px
    # a place in the new picture, in half sides from its middle as grid_sample counts -> the same in the old
    to_old = torch.stack(
        [
            torch.stack([cos, sin * height / width, -(cos * right + sin * down) * 2 / width], dim=1),
            torch.stack([-sin * width / height, cos, (sin * right - cos * down) * 2 / height], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(to_old.to(pixels.device), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def _cut_holes(pixels: Tensor, changes: Changes) -> Tensor:
    height, width = pixels.shape[-2:]
    x0, y0, x1, y1 = _hole_edges(changes, (height, width)).to(pixels.device).unbind(dim=-1)
    x, y = (torch.arange(side, device=pixels.device) for side in (width, height))
    columns = (x >= x0[..., None]) & (x < x1[..., None])
    rows = (y >= y0[..., None]) & (y < y1[..., None])
    is_hole = (rows[..., :, None] & columns[..., None, :]).any(dim=1, keepdim=True)
    return pixels.masked_fill_(is_hole, 0.0)  # a copy of some rows of the batch


def _hole_edges(changes: Changes, shape_px: Sequence[int]) -> Tensor:
    """Return (B, H, 4) int64 x0, y0, x1, y1 of the holes, cut at the border of (h, w) images."""
    size = torch.tensor([shape_px[1], shape_px[0]])
    first = (changes.holes * size).long() - changes.augmentation.hole_px // 2
    edges = torch.stack([first, first + changes.augmentation.hole_px], dim=2).clamp(min=0)
    return torch.minimum(edges, size).flatten(2)


def _blur_batch(pixels: Tensor, changes: Changes) -> Tensor:
    blurred = torch.empty_like(pixels)
    for side in set(changes.blur_px.tolist()):
        rows = torch.nonzero(changes.blur_px == side)[:, 0].to(pixels.device)
        blurred[rows] = _blur(pixels[rows], side)
    return blurred


def _blur(pixels: Tensor, side_px: int) -> Tensor:
    """Replace each pixel by the mean of the square about it; beyond the border lies the mirror image."""
    if side_px == 1:
        return pixels
    reach = side_px // 2
    padded = functional.pad(pixels, (reach, reach, reach, reach), mode="reflect")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (1, side_px), 1), (side_px, 1), 1)


def _is_moved(changes: Changes) -> Tensor:
    moved = (changes.angles_deg != 0) | (changes.scales != 1)
    return moved | (changes.shifts != 0).any(dim=1)
