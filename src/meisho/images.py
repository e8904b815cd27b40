"""Images: a photo -> an upright RGB array, cropped to a box and resized.

The order is always the same, for database and query alike: decode, turn upright by EXIF, crop to the
box (in pixels of the upright photo, at the photo's own scale), then resize.

What is decided here, once:

- Transparent pixels are laid on white, 16-bit greys are scaled (not clipped), animations give their first
  frame.
- Colour profiles are not applied: as in the code of the benchmarks, the numbers in the file are the colours.
- A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as that leaves at least twice the working
  size.
- A file that ends too early is refused, not shown half grey.
"""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from meisho.arrays import UInt8Array, read_only
from meisho.buckets import BucketPath, as_place
from meisho.colours import drop_empty_alpha, to_resizable, to_rgb
from meisho.errors import ConfigError, ImageError, InputError
from meisho.image_files import find_orientation, open_photo, plain_errors, upright_size
from meisho.jpeg import decode_jpeg
from meisho.memory import Admit, refuse_cost
from meisho.netpbm import refuse_beyond
from meisho.orientations import UPRIGHT
from meisho.photos import Box, Photo
from meisho.png import decode_png

INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
"""Names for `ImageOptions.interpolation`; all of them average over the source pixels when they shrink."""

CROPS = ("own", "photo")
"""What `ImageOptions.crops` may be."""

_DRAFT_HEADROOM = 2  # 1/4 of 12 MP for 384 px: 50 dB to full decoding; 1/8, headroom 1.3: 38 dB, visible
_LARGE_PIXELS = 2**24  # from here on a copy of all pixels, to turn them, takes more than 64 MB
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # 4 for all others
_CODEC_BYTES = {"WEBP": 16, "JPEG2000": 20, "AVIF": 10, "HEIF": 10}
_REDUCING_GAP = 3.0  # 12 MP to 384 px: 21 ms and 53 dB to the exact filter, which takes 65 ms


@dataclass(frozen=True, repr=False)
class ImageOptions:
    """How a photo is brought to its working size; part of the provenance of what is extracted from it.

    Attributes:
        max_side_px: The longer side becomes this many pixels; smaller photos are enlarged, so that the same
            thing is seen at the same scale.
        multiple_px: Both sides are rounded to a multiple of this, at least one: few distinct shapes make
            full batches.
        min_side_px: The shorter side is never less than this (or than `max_side_px`, if that is smaller): a
            network of stride 32 sees at least one cell. Photos longer than 12:1 (at 384 px) are distorted.
        interpolation: One of `INTERPOLATIONS`.
        enlarge: False leaves smaller photos as small as they are, as far as the other options allow.
        crops: "own": the longer side of a crop becomes `max_side_px`, like that of a photo. "photo": a crop
            is resized by the factor of its whole photo, its longer side rounded down, as by cirtorch's
            `ImagesFromList` (filipradenovic/cnnimageretrieval-pytorch at 1e66a41).

    Raises:
        ConfigError: A size is not positive, or the interpolation or `crops` is unknown.
    """

    max_side_px: int = 384
    multiple_px: int = 1
    min_side_px: int = 32
    interpolation: str = "bicubic"
    enlarge: bool = True
    crops: str = "own"

    def __post_init__(self) -> None:
        for name in ("max_side_px", "multiple_px", "min_side_px"):
            if getattr(self, name) < 1:
                raise ConfigError(f"image options: {name} is {getattr(self, name)}, it must be at least 1")
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise ConfigError(f"image options: interpolation {self.interpolation!r} is none of {known}")
        if self.crops not in CROPS:
            raise ConfigError(f"image options: crops {self.crops!r} is none of {', '.join(CROPS)}")

    def __repr__(self) -> str:
        return f"ImageOptions({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"

    @property
    def values(self) -> dict[str, object]:
        """Every option; `crops`, which came later and stands in no older digest, only if it is not "own"."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("crops", "own")}


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A photo at its working size, and where that lies in the upright photo.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, read-only.
        size_px: Width and height of the whole upright photo, px.
        crop_px: (x0, y0, x1, y1), whole px of the upright photo: what `pixels` shows. The working pixel
            (x, y) lies at (x0 + (x + 0.5) * (x1 - x0) / W - 0.5, ...) of the upright photo.
    """

    pixels: UInt8Array
    size_px: tuple[int, int]
    crop_px: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", read_only(self.pixels, np.uint8))


@dataclass(frozen=True)
class GuardedPhoto(Photo):
    """A photo that something else decodes, such as a process that may die of it.

    Attributes:
        content_name: Tells its content from others, so that what is computed of it can be remembered.
        load: Does for this photo, with any box, what `load_sized_image` does for others.
    """

    content_name: str = ""
    load: Callable[[Photo, ImageOptions], LoadedImage] | None = field(default=None, compare=False, repr=False)


PhotoLike = Photo | str | Path | bytes | Image.Image | UInt8Array
"""What people have: a photo, its file, the bytes of its file, a PIL image, or upright RGB (H, W, 3) uint8."""


_KINDS = (Photo, str, Path, bytes, Image.Image, np.ndarray)


def as_photos(sources: PhotoLike | Iterable[PhotoLike]) -> tuple[Photo, ...]:
    """Return photos, whatever was given: one or several of `PhotoLike`.

    A file's id is its path, with its place behind it where the file is given again; photos in memory are
    called "photo 1", "photo 2" and so on by their place.

    Raises:
        InputError: A source is nothing that can be a photo, or two `Photo` values have the same id.
    """
    several = sources if isinstance(sources, Iterable) and not isinstance(sources, _KINDS) else [sources]
    photos: dict[str, Photo] = {}
    for number, source in enumerate(several, start=1):
        photo = _as_photo(source, f"photo {number}")
        while photo.id in photos and not isinstance(source, Photo):
            photo = replace(photo, id=f"{photo.id} ({number})")
        if photo.id in photos:
            raise InputError(f"{photo.path}: the id {photo.id!r} belongs to another photo already")
        photos[photo.id] = photo
    return tuple(photos.values())


def _as_photo(source: PhotoLike, name: str) -> Photo:
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | Path | BucketPath):
        place = as_place(source)
        return Photo(str(place if isinstance(place, BucketPath) else source), place)
    if isinstance(source, Image.Image):
        with plain_errors(Path(name)):
            source = drop_empty_alpha(ImageOps.exif_transpose(source))
            source = np.asarray(to_rgb(to_resizable(source)))
    if isinstance(source, bytes) and source:
        return Photo(name, Path(name), content=source)
    if (
        isinstance(source, np.ndarray)
        and source.dtype == np.uint8
        and source.shape[2:] == (3,)
        and source.size
    ):
        return Photo(name, Path(name), content=read_only(source.copy(), np.uint8))
    what = f"{source.dtype} {source.shape}" if isinstance(source, np.ndarray) else type(source).__name__
    raise InputError(
        f"{name}: cannot be read from {what}; give a path, the bytes of an image file, a PIL image "
        "or an array (H, W, 3) uint8 RGB"
    )


def load_image(photo: Photo, options: ImageOptions) -> UInt8Array:
    """Read one photo: upright, cropped to its box, resized. Returns (H, W, 3) uint8, RGB, free to be changed.

    Raises:
        ImageError: The photo cannot be read; the message says why.
    """
    return load_sized_image(photo, options).pixels.copy()


def load_sized_image(photo: Photo, options: ImageOptions, *, admit: Admit = refuse_cost) -> LoadedImage:
    """Read one photo like `load_image`, and keep its full size and the crop.

    The box is rounded to whole pixels as PIL's `crop` does it (to even at .5, so that crops equal those of
    the benchmarks' code, github.com/filipradenovic/cnnimageretrieval-pytorch) and cut at the photo's border.

    Args:
        photo: The photo.
        options: How it is brought to its working size.
        admit: Called before it is decoded with what that takes, see `meisho.memory`.

    Raises:
        ImageError: The photo cannot be read, or the box lies outside it; the message says why.
    """
    if isinstance(photo, GuardedPhoto) and photo.load is not None:
        return photo.load(photo, options)
    with plain_errors(photo.path), open_photo(photo) as image:
        size = upright_size(image)
        crop = _whole_pixels(photo.box, size, photo.path)
        working = working_size(crop[2] - crop[0], crop[3] - crop[1], options, max(size))
        admit(photo.path, _estimate_bytes(image, _reduction(image, crop, working)))
        picture = _render(image, size, crop, working, INTERPOLATIONS[options.interpolation])
        return LoadedImage(np.asarray(picture), size, crop)


def working_size(
    width: int, height: int, options: ImageOptions, photo_side_px: int | None = None
) -> tuple[int, int]:
    """Return the (width, height), px, to which a photo or crop of `width` × `height` px is resized.

    Args:
        width: Width of the photo or crop, px.
        height: Its height, px.
        options: How it is brought to its working size.
        photo_side_px: The longer side of the photo that it was cut out of; None where it is whole.
    """
    longer_px = max(width, height)
    whole_px = longer_px if photo_side_px is None or options.crops == "own" else photo_side_px
    # a crop of a photo of 1024 px at 1024 px stays as it is, to the pixel: whole numbers are not rounded
    scale = (options.max_side_px * longer_px // whole_px) / longer_px
    if not options.enlarge:
        scale = min(scale, 1.0)
    shortest = min(options.min_side_px, options.max_side_px)
    least = math.ceil(shortest / options.multiple_px)

    def rounded(side: int) -> int:
        return options.multiple_px * max(least, math.floor(side * scale / options.multiple_px + 0.5))

    return rounded(width), rounded(height)


def read_size(photo: Photo) -> tuple[int, int]:
    """Return the (width, height), px, of the whole upright photo from its header alone.

    Raises:
        ImageError: The header cannot be read.
    """
    with plain_errors(photo.path), open_photo(photo) as image:
        return upright_size(image)


@dataclass(frozen=True)
class Header:
    """What the header of a photo's file says.

    Attributes:
        size_px: Width and height of the whole upright photo.
        format: Name of the file's format, such as "JPEG".
    """

    size_px: tuple[int, int]
    format: str


def read_header(photo: Photo, *, admit: Admit = refuse_cost) -> Header:
    """Read what the header of a photo says, and refuse what cannot be decoded for its size.

    Raises:
        ImageError: The header cannot be read, or decoding takes more memory than `admit` allows.
    """
    with plain_errors(photo.path), open_photo(photo) as image:
        admit(photo.path, _estimate_bytes(image, 8 if image.format in ("JPEG", "MPO") else 1))
        return Header(upright_size(image), image.format or "")


def make_thumbnail(
    photo: Photo, max_side_px: int = 256, quality: int = 80, *, admit: Admit = refuse_cost
) -> bytes:
    """Return a small JPEG of the whole upright photo, its box outlined; it is never enlarged.

    Args:
        photo: The photo; its box is drawn, not cropped to.
        max_side_px: The longer side of the thumbnail, at most.
        quality: JPEG quality, 1 to 95.
        admit: Called before it is decoded with what that takes, see `meisho.memory`.

    Raises:
        ImageError: The photo cannot be read.
    """
    with plain_errors(photo.path), open_photo(photo) as image:
        width, height = upright_size(image)
        scale = min(1.0, max_side_px / max(width, height))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        whole = (0, 0, width, height)
        admit(photo.path, _estimate_bytes(image, _reduction(image, whole, small)))
        picture = _render(image, (width, height), whole, small, Image.Resampling.BICUBIC)
        if photo.box is not None:
            _outline_box(picture, _whole_pixels(photo.box, (width, height), photo.path), scale)
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=quality)
        return jpeg.getvalue()


def _whole_pixels(box: Box | None, size: tuple[int, int], path: Path) -> tuple[int, int, int, int]:
    """Round a box to whole pixels and cut it at the border of a photo of `size` = (width, height)."""
    width, height = size
    if box is None:
        return 0, 0, width, height
    if box.x0 >= width or box.y0 >= height or box.x1 <= 0 or box.y1 <= 0:
        edges = f"{box.x0:g},{box.y0:g},{box.x1:g},{box.y1:g}"
        raise ImageError(path, f"the box {edges} lies outside the photo of {width} × {height} px")
    x0, x1 = _whole_edges(box.x0, box.x1, width)
    y0, y1 = _whole_edges(box.y0, box.y1, height)
    return x0, y0, x1, y1


def _whole_edges(low: float, high: float, side: int) -> tuple[int, int]:
    first = min(max(round(low), 0), side - 1)
    last = min(max(round(high), 0), side)
    return first, max(last, first + 1)  # a box thinner than a pixel still shows one


def _render(
    image: Image.Image,
    size: tuple[int, int],
    crop: tuple[int, int, int, int],
    working: tuple[int, int],
    resampling: Image.Resampling,
) -> Image.Image:
    """Decode an opened photo of upright `size` and bring `crop` of it to the `working` size, RGB.

    A photo reduced by s holds ceil(side / s) pixels, the last of them partly beyond the border, which is the
    left or upper border if the photo is turned: so edges are divided by s, not scaled to the reduced size.
    """
    orientation = find_orientation(image)
    reduction = _reduction(image, crop, working)
    picture = _decode(image, reduction)
    if orientation in UPRIGHT:
        picture, factor = _shrink_large(picture, _room(crop, working) // reduction)
        picture, reduction = picture.transpose(UPRIGHT[orientation]), reduction * factor
    beyond_x = -size[0] % reduction if orientation in (2, 3, 6, 7) else 0
    beyond_y = -size[1] % reduction if orientation in (3, 4, 7, 8) else 0
    shifts = (beyond_x, beyond_y, beyond_x, beyond_y)
    x0, y0, x1, y1 = ((edge + shift) / reduction for edge, shift in zip(crop, shifts, strict=True))
    left, top = math.floor(x0), math.floor(y0)
    whole = (left, top, min(math.ceil(x1), picture.width), min(math.ceil(y1), picture.height))
    # cut out first: resizing alone would blend in what lies outside
    part = picture if whole == (0, 0, *picture.size) else picture.crop(whole)
    box = (x0 - left, y0 - top, min(x1 - left, part.width), min(y1 - top, part.height))
    return to_rgb(to_resizable(part).resize(working, resampling, box, _REDUCING_GAP))


def _shrink_large(picture: Image.Image, room: int) -> tuple[Image.Image, int]:
    """Average squares of a large picture that is about to be copied; returns it and by how much it shrank."""
    if room < 2 or picture.width * picture.height < _LARGE_PIXELS:
        return picture, 1
    return to_resizable(picture).reduce(room), room


def _decode(image: Image.Image, reduction: int) -> Image.Image:
    """Return the pixels of an opened photo as they are stored, a JPEG at 1/`reduction` of its size."""
    if image.format in ("JPEG", "MPO"):
        return decode_jpeg(image, image.size, reduction)
    if image.format == "PNG":
        decode_png(image)
    elif image.format == "PPM":
        refuse_beyond(image)
    image.load()
    return drop_empty_alpha(image)


def _estimate_bytes(image: Image.Image, reduction: int) -> int:
    """Return what decoding an opened photo takes, bytes; measured by benchmarks/bench_memory.py.

    The pixels as they are decoded and 4 bytes of each while they are worked on, or what the codec takes where
    that is more; and a progressive JPEG, whose coefficients are all held at once, however far it is reduced.
    """
    num_pixels = image.width * image.height
    decoded = _CODEC_BYTES.get(image.format or "", _PIXEL_BYTES.get(image.mode, 4) + 4)
    coefficients = 2 * len(image.getbands()) * num_pixels if image.info.get("progressive") else 0
    return decoded * num_pixels // reduction**2 + coefficients


def _reduction(image: Image.Image, crop: tuple[int, int, int, int], working: tuple[int, int]) -> int:
    """Return by how much a JPEG may be reduced, 1, 2, 4 or 8, so that the crop has enough pixels."""
    return _room(crop, working) if image.format in ("JPEG", "MPO") else 1


def _room(crop: tuple[int, int, int, int], working: tuple[int, int]) -> int:
    """Return by how much a photo may be reduced, 1, 2, 4 or 8, so that the crop has enough for `working`."""
    room = min((crop[2] - crop[0]) / working[0], (crop[3] - crop[1]) / working[1]) / _DRAFT_HEADROOM
    return next((s for s in (8, 4, 2) if s <= room), 1)


def _outline_box(picture: Image.Image, crop: tuple[int, int, int, int], scale: float) -> None:
    """Draw a box of the full-size photo on its thumbnail, dark beside bright: seen on any ground."""
    x0, y0, x1, y1 = (round(edge * scale) for edge in crop)
    draw = ImageDraw.Draw(picture)
    for inset, colour in ((0, "black"), (1, "yellow"), (2, "yellow"), (3, "black")):
        if x1 - x0 > 2 * inset + 1 and y1 - y0 > 2 * inset + 1:
            draw.rectangle((x0 + inset, y0 + inset, x1 - 1 - inset, y1 - 1 - inset), outline=colour)
