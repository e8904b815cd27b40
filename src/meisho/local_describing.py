"""Local describer: photos x local extractor -> local features, in px of the whole upright photo."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from meisho.decoding import check_num_workers, load_images
from meisho.errors import ImageError
from meisho.extractors.local_base import LocalExtractor
from meisho.images import LoadedImage, load_sized_image
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from meisho.progress import DECODING, DESCRIBING, Stages


@dataclass(frozen=True, eq=False)
class LocalDescriber:
    """An extractor of local features, and how photos are fed to it.

    Attributes:
        extractor: What finds the features, in the caller's thread.
        num_workers: Processes that decode; None chooses, as `meisho.decoding.load_images` does.
        memory_bytes: What photos may take while they are decoded; None: a quarter of the machine's memory.

    Raises:
        ConfigError: `num_workers` is less than 0.
    """

    extractor: LocalExtractor
    num_workers: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        check_num_workers(self.num_workers)

    def describe(self, photo: Photo) -> LocalFeatures:
        """Find the local features of one photo; of a photo with a box, those of the box alone.

        Raises:
            ImageError: The photo cannot be read.
        """
        return _extract(load_sized_image(photo, self.extractor.image_options), self.extractor)

    def stream(
        self, photos: Iterable[Photo], stages: Stages | None = None
    ) -> Generator[tuple[Photo, LocalFeatures | ImageError]]:
        """Find the local features of photos, in their order; each comes with its features or its error.

        The photos are drawn as they are needed and a bounded number of images is held.

        Args:
            photos: Any number of photos.
            stages: Told what the time is spent on.
        """
        loaded = load_images(
            photos,
            self.extractor.image_options,
            num_workers=self.num_workers,
            memory_bytes=self.memory_bytes,
        )
        return extract_loaded(loaded, self.extractor, stages or Stages())


def place_in_photo(features: LocalFeatures, image: LoadedImage) -> LocalFeatures:
    """Carry features from px of `image.pixels` over to px of the whole upright photo."""
    height, width = image.pixels.shape[:2]
    x0, y0, x1, y1 = image.crop_px
    enlargement = np.array([(x1 - x0) / width, (y1 - y0) / height])
    keypoints = np.array([x0, y0]) + (features.keypoints + 0.5) * enlargement - 0.5
    scales = None if features.scales is None else features.scales * np.sqrt(enlargement.prod())
    return LocalFeatures(keypoints, features.descriptors, features.scores, image.size_px, scales)


def extract_loaded(
    loaded: Generator[tuple[Photo, LoadedImage | ImageError]], extractor: LocalExtractor, stages: Stages
) -> Generator[tuple[Photo, LocalFeatures | ImageError]]:
    """Find the local features of images as they are loaded, in their order; see `LocalDescriber.stream`."""
    with closing(loaded):
        for photo, image in stages.waiting(DECODING, loaded):
            with stages.at(DESCRIBING):
                found = image if isinstance(image, ImageError) else _extract(image, extractor)
            yield photo, found


def _extract(image: LoadedImage, extractor: LocalExtractor) -> LocalFeatures:
    return place_in_photo(extractor.extract(image.pixels), image)
