"""Local feature extractors: the interface, and the table of named extractors.

To add one, add a file to this folder and a line to `LOCAL_EXTRACTORS`::

    class Brightest:
        dim = 3
        provenance = Provenance.from_options("brightest", {})
        image_options = ImageOptions(max_side_px=64)

        def extract(self, image: UInt8Array) -> LocalFeatures:
            height, width = image.shape[:2]
            best = np.argsort(-image.sum(axis=2, dtype=np.int64), axis=None, kind="stable")[:10]
            y, x = np.unravel_index(best, (height, width))
            colors = image[y, x].astype(np.float32)
            return LocalFeatures(np.column_stack([x, y]), colors, colors.sum(axis=1), (width, height))
"""

import difflib
import inspect
from importlib import import_module
from typing import Any, Protocol

from meisho.arrays import UInt8Array
from meisho.descriptors import Provenance
from meisho.errors import ConfigError
from meisho.extractors.local_checkpoint import find_local
from meisho.images import ImageOptions
from meisho.local_features import LocalFeatures

LOCAL_EXTRACTORS: dict[str, str] = {
    "sift": "meisho.extractors.sift:Sift",
    "xfeat": "meisho.extractors.xfeat:XFeat",
    "aliked": "meisho.extractors.aliked:Aliked",
    "delg": "meisho.extractors.delg:Delg",
}
"""Name -> "module:Class". The class is called with the options; its arguments are the only defaults."""


class LocalExtractor(Protocol):
    """Finds and describes the local features of one image.

    Attributes:
        dim: D, the dimensions of a feature's descriptor.
        provenance: Saved with the features; `load_local_extractor(p.extractor, **json.loads(p.options))`
            makes the same extractor again.
        image_options: How photos must be loaded for this extractor.
    """

    dim: int
    provenance: Provenance
    image_options: ImageOptions

    def extract(self, image: UInt8Array) -> LocalFeatures:
        """Find the features of an image (H, W, 3) uint8 RGB, any H, W ≥ 1; best first, perhaps none.

        Keypoints and scales are in px of `image`, with (0, 0) the centre of its top-left pixel, and `size_px`
        is (W, H); `meisho.local_describing` maps them to the whole upright photo.
        """
        ...


def load_local_extractor(name: str, **options: Any) -> LocalExtractor:
    """Load a local feature extractor by name, or a trained DELG head by its folder.

    Raises:
        InputError: There is no such extractor or folder.
        ConfigError: An option is unknown or invalid.
        MissingDependencyError: The package with its weights is not installed.
        WeightsError: Its weights are missing or do not fit.
    """
    name, options = find_local(name, options, LOCAL_EXTRACTORS)
    module, class_name = LOCAL_EXTRACTORS[name].split(":")
    factory = getattr(import_module(module), class_name)
    known = list(inspect.signature(factory).parameters)
    if unknown := [option for option in options if option not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0)[0]
        raise ConfigError(f"{name}: no option {unknown[0]!r}; the nearest is {near!r}; options: {known}")
    extractor: LocalExtractor = factory(**options)
    return extractor
