"""Local extraction: photos x local extractor -> local features, in px of the whole upright photo."""

from collections.abc import Generator, Iterable
from contextlib import closing

import numpy as np

from meisho.decoding import load_images
from meisho.errors import ImageError
from meisho.extractors.local_base import LocalExtractor
from meisho.images import LoadedImage, Photo, load_sized_image
from meisho.local_features import LocalFeatures


def extract_local(photo: Photo, extractor: LocalExtractor) -> LocalFeatures:
    """Find the local features of one photo; of a photo with a box, those of the box alone.

    Raises:
        ImageError: The photo cannot be read.
    """
    return _extract(load_sized_image(photo, extractor.image_options), extractor)


def stream_local_features(
    photos: Iterable[Photo], extractor: LocalExtractor, *, num_workers: int | None = None
) -> Generator[tuple[Photo, LocalFeatures | ImageError]]:
    """Find the local features of photos, in their order; each comes with its features or its error.

    The photos are drawn as they are needed and a bounded number of images is held.

    Args:
        photos: Any number of photos; with a box, its features alone.
        extractor: What finds them, in this thread.
        num_workers: Processes that decode, as for `meisho.decoding.load_images`.

    Raises:
        ConfigError: `num_workers` is negative.
    """
    return _extract_loaded(load_images(photos, extractor.image_options, num_workers=num_workers), extractor)


def place_in_photo(features: LocalFeatures, image: LoadedImage) -> LocalFeatures:
    """Carry features from px of `image.pixels` over to px of the whole upright photo."""
    height, width = image.pixels.shape[:2]
    x0, y0, x1, y1 = image.crop_px
    enlargement = np.array([(x1 - x0) / width, (y1 - y0) / height])
    keypoints = np.array([x0, y0]) + (features.keypoints + 0.5) * enlargement - 0.5
    scales = None if features.scales is None else features.scales * np.sqrt(enlargement.prod())
    return LocalFeatures(keypoints, features.descriptors, features.scores, image.size_px, scales)


def _extract_loaded(
    loaded: Generator[tuple[Photo, LoadedImage | ImageError]], extractor: LocalExtractor
) -> Generator[tuple[Photo, LocalFeatures | ImageError]]:
    with closing(loaded):
        for photo, image in loaded:
            yield photo, image if isinstance(image, ImageError) else _extract(image, extractor)


def _extract(image: LoadedImage, extractor: LocalExtractor) -> LocalFeatures:
    return place_in_photo(extractor.extract(image.pixels), image)
