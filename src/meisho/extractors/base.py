"""Extractors of global descriptors: the interface, and the table of those that are known by name.

A timm backbone needs no new file: `load_extractor("timm:resnet34")`. Another kind of extractor is one file
in this folder and one line in `EXTRACTORS`, `"mean_color": "meisho.extractors.mean_color:MeanColor"`::

    class MeanColor:
        dim = 3
        provenance = Provenance.from_options("mean_color", {})
        image_options = ImageOptions(max_side_px=64)

        def __init__(self, rest: str = "", *, device: str = "auto") -> None:
            '''Take what stands after "mean_color:", and where to compute.'''

        def extract(self, images: UInt8Array) -> Float32Array:
            return normalize_rows(images.mean(axis=(1, 2), dtype=np.float32))
"""

from typing import Protocol

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance
from meisho.images import ImageOptions
from meisho.tables import load_named

EXTRACTORS: dict[str, str] = {
    "default": "meisho.extractors.timm_models:load_drawn",
    "drawn": "meisho.extractors.timm_models:load_drawn",
    "imagenet": "meisho.extractors.timm_models:load_imagenet",
    "small": "meisho.extractors.timm_models:load_small",
    "large": "meisho.extractors.timm_models:load_large",
    "timm": "meisho.extractors.timm_models:load_timm",
    "onnx": "meisho.extractors.onnx_file:load_onnx",
    "published": "meisho.extractors.published.loading:load_published",
    "checkpoint": "meisho.extractors.checkpoint:load_checkpoint",
    "ensemble": "meisho.extractors.ensemble:load_ensemble",
}
"""Name before the colon of a model specification -> loader(rest of it, device=..., **options)."""


class GlobalExtractor(Protocol):
    """What turns a batch of images into global descriptors.

    Attributes:
        dim: D, the number of dimensions.
        provenance: What is kept with the descriptors: the model's specification and every option that changes
            the result. `load_extractor(p.extractor, **p.values)` makes the same extractor again.
        image_options: How photos must be loaded for it.
    """

    dim: int
    provenance: Provenance
    image_options: ImageOptions

    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB -> (B, D) float32, L2-normalised rows.

        A row does not depend on the other images of the batch (to 1e-5 in float32).
        """
        ...


def load_extractor(model: str = "default", **options: object) -> GlobalExtractor:
    """Load an extractor by its specification.

    Args:
        model: "default" ("drawn"), "imagenet", "small", "large" (offline, without torch), "timm:NAME", a
            checkpoint, "onnx:FILE" (exported), or several: "ensemble:default+timm:resnet34".
        **options: Options of the extractor, for example `pooling="avg"`, `device="cuda"`.

    Raises:
        InputError: No such extractor.
        WeightsError: Its weights cannot be had or do not fit.
        MissingDependencyError: It needs a package that is not installed.
    """
    kind, _, rest = model.partition(":")
    if kind not in EXTRACTORS:
        kind, rest = "checkpoint", model
    extractor: GlobalExtractor = load_named(kind, EXTRACTORS, what="model")(rest, **options)
    return extractor
