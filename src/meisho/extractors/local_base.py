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

from typing import Protocol

from meisho.arrays import UInt8Array
from meisho.descriptors import Provenance
from meisho.extractors.local_checkpoint import find_local
from meisho.extractors.local_input import require_extra
from meisho.images import ImageOptions
from meisho.local_features import LocalFeatures
from meisho.tables import make_named

LOCAL_EXTRACTORS: dict[str, str] = {
    "sift": "meisho.extractors.sift:Sift",
    "xfeat": "meisho.extractors.xfeat:XFeat",
    "aliked": "meisho.extractors.aliked:Aliked",
    "delg": "meisho.extractors.delg:Delg",
}
"""Name -> "module:Class". The class is called with the options, and with `device` if it takes one; its
arguments are the only defaults."""


class LocalExtractor(Protocol):
    """Finds and describes the local features of one image.

    Attributes:
        dim: D, the dimensions of a feature's descriptor.
        provenance: Saved with the features; `load_local_extractor(p.extractor, **p.values)`
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


def load_local_extractor(name: str, *, device: str = "auto", **options: object) -> LocalExtractor:
    """Load a local feature extractor by name, or a trained DELG head by its folder.

    Args:
        name: One of `LOCAL_EXTRACTORS`, or the folder.
        device: "auto", "cpu" or "cuda"; extractors without a network, such as SIFT, always run on the CPU.
        **options: Options of the extractor, for example `max_keypoints=2000`.

    Raises:
        InputError: There is no such extractor or folder, or an option is unknown or invalid.
        MeishoError: A package it needs is not installed, or its weights are missing or do not fit.
    """
    name, options = find_local(name, options, LOCAL_EXTRACTORS)
    require_extra(name)
    extractor: LocalExtractor = make_named(
        name, LOCAL_EXTRACTORS, options, what="extractor of local features", device=device
    )
    return extractor
