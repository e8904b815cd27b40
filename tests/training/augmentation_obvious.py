"""The changes of a batch, photo by photo and by torchvision: slow, and obvious."""

import torch
from torchvision.transforms.v2 import functional as transforms

from meisho.training import augmentation


def change_image(image, changes, row, *, mean, std):
    """Change one photo and normalise it: (3, h, w) uint8 -> (3, h, w) float32.

    Args:
        image: What `crop_photo` gave; not written to.
        changes: Random numbers of the batch.
        row: Of the photo in the batch.
        mean: Per channel, of values from 0 to 1.
        std: Per channel, likewise.
    """
    change = changes.take(slice(row, row + 1))
    picture = transforms.to_dtype(image, torch.float32, scale=True)
    factor = float(change.tone_factors)
    tone = int(change.tones)
    if tone == augmentation._BRIGHTNESS:
        picture = transforms.adjust_brightness(picture, factor)
    elif tone == augmentation._CONTRAST:
        picture = transforms.adjust_contrast(picture, factor)
    elif tone == augmentation._GAMMA:
        picture = transforms.adjust_gamma(picture, factor)
    if bool(augmentation._is_moved(change)):
        picture = move_image(picture, change)
    if bool(change.has_holes):
        for x0, y0, x1, y1 in augmentation._hole_edges(change, picture.shape[-2:])[0].tolist():
            picture = transforms.erase(picture, y0, x0, y1 - y0, x1 - x0, picture.new_zeros(()))
    picture = augmentation._blur(picture[None], int(change.blur_px))[0]
    return transforms.normalize(picture, list(mean), list(std))


def move_image(picture, change):
    """Shift, scale and turn one (3, h, w) photo about its middle."""
    height, width = picture.shape[-2:]
    padded = transforms.pad(picture, [width, height], padding_mode="symmetric")
    moved = transforms.affine(
        padded,
        angle=float(change.angles_deg),
        translate=[float(change.shifts[0, 0] * width), float(change.shifts[0, 1] * height)],
        scale=float(change.scales),
        shear=[0.0, 0.0],
        interpolation=transforms.InterpolationMode.BILINEAR,
    )
    return transforms.center_crop(moved, [height, width])
