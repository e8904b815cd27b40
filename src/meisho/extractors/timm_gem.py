"""Global descriptors from any timm backbone: features, pooling, projection, whitening, L2 normalisation."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.arrays import Float32Array, UInt8Array
from meisho.errors import ConfigError, InputError, MeishoError
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.devices import check_precision, choose_device, computing_in
from meisho.extractors.network import DescriptorNetwork, build_network
from meisho.extractors.options import SCALE_POWERS, TimmGeMOptions
from meisho.extractors.timm_parts import SHAPE_STEP_PX, describe_batch, image_options_of, trace_origin
from meisho.extractors.weights import digest_state

CPU_IMAGES_AT_ONCE = 2
"""On a CPU the activations of few images stay in its cache: 2 at once take half the time of 16, per image."""


class TimmGeM:
    """A global extractor on a timm backbone; see `extractors.base.GlobalExtractor`.

    Attributes:
        dim: D, the number of dimensions.
        provenance: Model, options and digest of the weights.
        image_options: How photos must be loaded.
        network: The torch part.
        whitening: What comes after it, or None.
        device: Where it runs.
    """

    kind = "timm"
    """The first word of its specification."""

    def __init__(
        self, name: str, network: DescriptorNetwork, options: TimmGeMOptions, *, device: str = "auto"
    ) -> None:
        self.device = choose_device(device)
        check_precision(options.precision, self.device)
        self._precision = options.precision
        multiple = options.multiple_px or _shape_step(network.traits.multiple_px)
        options = replace(options, multiple_px=multiple, projection_dim=_projection_dim(network))
        self.image_options = image_options_of(options)
        model, digest = f"{self.kind}:{name}", digest_state(network.state_dict())
        self.provenance, self.whitening = trace_origin(model, options, digest)
        self.dim = network.dim if self.whitening is None else self.whitening.dim
        self._scales = options.scales
        self._scale_power = SCALE_POWERS.get(options.pooling, 1.0)
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in _mean_std(network))
        self._gain, self._bias = 1 / (255 * std), -mean / std

    @torch.inference_mode()
    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB, any H, W ≥ 1 -> (B, D) float32, L2-normalised rows.

        Raises:
            InputError: The images are of another shape or type.
        """
        return describe_batch(images, self._extract_parts, dim=self.dim, whitening=self.whitening)

    def _extract_parts(self, images: UInt8Array) -> Float32Array:
        step = CPU_IMAGES_AT_ONCE if self.device.type == "cpu" else len(images)
        return np.concatenate(
            [self._extract_at_once(images[i : i + step]) for i in range(0, len(images), step)]
        )

    def _extract_at_once(self, images: UInt8Array) -> Float32Array:
        pixels = torch.from_numpy(np.array(images, order="C"))  # a copy: torch warns of read-only arrays
        pixels = pixels.to(self.device).permute(0, 3, 1, 2).float()  # channels_last by its strides
        pixels = pixels * self._gain + self._bias
        described = torch.stack(
            [self._describe(self.network.resize(pixels, scale)) for scale in self._scales]
        )
        pooled: Float32Array = self.network.join_scales(described, self._scale_power).cpu().numpy()
        return pooled

    def _describe(self, pixels: Tensor) -> Tensor:
        try:
            with computing_in(self._precision, self.device):
                return functional.normalize(self.network(pixels).float())
        except RuntimeError as error:
            height, width = pixels.shape[-2:]
            if isinstance(error, torch.OutOfMemoryError):
                raise MeishoError(
                    f"{self.device} ran out of memory on {len(pixels)} images of {width} × {height} px; "
                    "lower --batch-size or --size"
                ) from error
            raise ConfigError(
                f"{self.provenance.extractor} failed on an image of {width} × {height} px ({error}); "
                "if it takes only sides that are multiples of 32, set multiple_px=32"
            ) from error


def _shape_step(patch_px: int) -> int:
    return SHAPE_STEP_PX if SHAPE_STEP_PX % patch_px == 0 and patch_px < 16 else patch_px


def _projection_dim(network: DescriptorNetwork) -> int | None:
    return network.dim if isinstance(network.projection, nn.Linear) else None


def _mean_std(network: DescriptorNetwork) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return network.traits.mean, network.traits.std


def load_torch(name: str, *, device: str = "auto", **options: Any) -> TimmGeM:
    """Load an extractor on the timm backbone `name`; the options are those of `TimmGeMOptions`.

    Raises:
        InputError: timm has no such model.
        ConfigError: An option is not known or wrong.
        WeightsError: The weights cannot be had or do not fit.
    """
    resolved = TimmGeMOptions.from_mapping(options)
    check_precision(resolved.precision, choose_device(device))
    return TimmGeM(name, build_network(name, resolved), resolved, device=device)


def to_torch(extractor: GlobalExtractor, *, device: str = "auto") -> TimmGeM:
    """Return the extractor on torch that gives the same descriptors; one on torch is itself.

    Args:
        extractor: On a timm backbone.
        device: "auto", "cpu" or "cuda"; of what is loaded.

    Raises:
        InputError: It is of another kind, or was made from an exported file, which torch cannot read.
    """
    provenance = extractor.provenance
    kind, _, name = provenance.extractor.partition(":")
    if isinstance(extractor, TimmGeM) and kind == "timm":
        return extractor
    options = provenance.values
    if kind == "ensemble":
        raise InputError("several models side by side are no single network; name one of them, such as drawn")
    if kind != "timm" or options["weights"].endswith(".onnx"):
        raise InputError(f"{provenance.extractor}: is no timm model or checkpoint that torch can load")
    return load_torch(name, device=device, **options)
