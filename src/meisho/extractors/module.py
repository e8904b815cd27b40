"""A torch module of your own as a global extractor."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import InputError
from meisho.extractors.devices import choose_device, computing_in
from meisho.extractors.timm_parts import check_images
from meisho.extractors.weights import digest_state
from meisho.images import ImageOptions

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ModuleExtractor:
    """A global extractor made of a torch module by `wrap_module`; see `extractors.base.GlobalExtractor`.

    Attributes:
        dim: D, the number of dimensions.
        provenance: The name, how images are fed, and the digest of the module's weights and buffers.
        image_options: How photos must be loaded.
        module: The module: a copy, in evaluation mode.
        device: Where it runs.
    """

    def __init__(
        self,
        module: nn.Module,
        image_options: ImageOptions,
        provenance: Provenance,
        normalization: tuple[tuple[float, ...], tuple[float, ...]],
        device: torch.device,
    ) -> None:
        self.image_options, self.provenance, self.device = image_options, provenance, device
        self.module = module.to(device)
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in normalization)
        self._gain, self._bias = 1 / (255 * std), -mean / std
        side = image_options.multiple_px * max(1, 64 // image_options.multiple_px)
        self.dim = self._compute(np.zeros((1, side, side, 3), np.uint8)).shape[1]

    def extract(self, images: UInt8Array) -> Float32Array:
        """Describe a batch: (B, H, W, 3) uint8 RGB -> (B, D) float32, L2-normalised rows.

        Raises:
            InputError: The images are of another shape or type, or the module gives no vector for each.
        """
        check_images(images)
        if len(images) == 0:
            return np.zeros((0, self.dim), np.float32)
        return normalize_rows(self._compute(images))

    @torch.inference_mode()
    def _compute(self, images: UInt8Array) -> Float32Array:
        pixels = torch.from_numpy(np.array(images, order="C")).to(
            self.device
        )  # torch warns of read-only ones
        with computing_in("float32", self.device):
            vectors = self.module(pixels.permute(0, 3, 1, 2).float() * self._gain + self._bias)
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != len(images):
            shape = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise InputError(
                f"{self.provenance.extractor}: gave {shape} for {len(images)} images; a module must turn "
                "(B, 3, H, W) into (B, D), so end it with a pooling"
            )
        computed: Float32Array = vectors.float().cpu().numpy()
        return computed


def wrap_module(
    module: nn.Module,
    name: str,
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    image_options: ImageOptions | None = None,
    device: str = "auto",
) -> ModuleExtractor:
    """Make a global extractor of a torch module.

    For example::

        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 64, 7, stride=4),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
        )
        extractor = meisho.wrap_module(network, "my-network")
        descriptors = meisho.Describer(extractor).describe(meisho.find_photos(folder).photos)

    A collection that it describes remembers the name, how images are fed, and the digest of the weights, but
    not the module: to ask or to refresh it, give the extractor again.

    Args:
        module: Takes (B, 3, H, W) float32 of any H and W that `image_options` gives, and returns (B, D); a
            row must not depend on the other images. It is copied, so that training it further does not change
            the extractor.
        name: Tells it from others of the same weights, such as the same network with another pooling.
        mean: One per channel, R, G, B, subtracted from pixels scaled to [0, 1].
        std: One per channel; the pixels are then divided by it.
        image_options: How photos are loaded; None takes 384 px on the longer side, sides multiples of 32 px.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: The module does not give a vector for each image.
        ConfigError: There is no such device.
    """
    image_options = image_options or ImageOptions(max_side_px=384, multiple_px=32, interpolation="bicubic")
    copied = copy.deepcopy(module).eval()
    options = {"mean": [float(v) for v in mean], "std": [float(v) for v in std], **image_options.values}
    provenance = Provenance.from_options(f"module:{name}", options, digest_state(copied.state_dict()))
    return ModuleExtractor(copied, image_options, provenance, (mean, std), choose_device(device))
