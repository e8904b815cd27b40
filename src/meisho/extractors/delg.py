"""DELG: a global descriptor and local features from one network, on any timm backbone with feature maps.

The official weights (r50delg_gldv2clean and others) are for TensorFlow and are not available here. The trunk
starts from any weights that `TimmGeMOptions.weights` names. The local head is random until it is trained, and
its features are of little use before that. To train it, add `LocalMaps.reconstruction_error` and a
classifier's loss on `LocalMaps.pooled` to the global loss; neither sends a gradient into the trunk.
`load_local_extractor` loads a folder written by `save_delg`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from meisho.arrays import UInt8Array
from meisho.config import parse_config
from meisho.descriptors import Provenance
from meisho.errors import ConfigError, InputError
from meisho.extractors.backbone import fit_images
from meisho.extractors.devices import choose_device
from meisho.extractors.local_checkpoint import HEAD_NAME, LIST_NAME
from meisho.extractors.local_input import check_positive, check_whole
from meisho.extractors.local_tensors import lies_within, to_features, to_pixels
from meisho.extractors.network import DescriptorNetwork, build_network
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.weights import check_fit, digest_state, read_state_dict
from meisho.files import replacing, write_text
from meisho.images import ImageOptions
from meisho.layers.local_head import LocalHead, LocalMaps
from meisho.local_features import LocalFeatures

SCALES = (0.25, 2**-1.5, 0.5, 2**-0.5, 1.0, 2**0.5, 2.0)
"""The paper's image pyramid, relative to the working size."""


@dataclass(frozen=True, eq=False)
class DelgOutput:
    """The output of a `DelgNetwork` for B images.

    Attributes:
        vectors: (B, D) global descriptors, float32, not L2-normalised.
        local: Local maps, from the second-to-last feature map.
    """

    vectors: Tensor
    local: LocalMaps


class DelgNetwork(nn.Module):
    """Trunk, global branch and local branch, for training and extraction.

    Args:
        global_branch: Backbone, pooling and projection; its backbone is the trunk of both branches.
        dim: Dimensions of the local descriptors.

    Raises:
        InputError: The backbone has no feature maps; a plain vision transformer has none.
    """

    def __init__(self, global_branch: DescriptorNetwork, dim: int = 128) -> None:
        super().__init__()
        stages = getattr(global_branch.backbone, "feature_info", [])
        reductions = [stage["reduction"] for stage in stages[-2:]]
        traits = global_branch.traits
        if len(set(reductions)) < 2 or traits.fixed_size_px is not None or traits.multiple_px > 1:
            raise InputError(
                "delg: this backbone has no feature maps at several scales; choose a ResNet, such as resnet50"
            )
        self.global_branch = global_branch
        self.stride_px: int = stages[-2]["reduction"]
        self.local_head = LocalHead(stages[-2]["num_chs"], dim)

    def forward(self, images: Tensor) -> DelgOutput:
        """Describe (B, 3, H, W) images, normalised by `global_branch.traits`."""
        branch = self.global_branch
        maps = branch.backbone.forward_intermediates(  # type: ignore[operator]
            fit_images(images, branch.traits), indices=2, intermediates_only=True
        )
        return DelgOutput(branch.projection(branch.pooling(maps[1])), self.local_head(maps[0]))

    def find_local(self, images: Tensor) -> LocalMaps:
        """Return only the local maps of (B, 3, H, W) images, normalised as for `forward`."""
        trunk = self.global_branch.backbone
        images = fit_images(images, self.global_branch.traits)
        maps: LocalMaps = self.local_head(
            trunk.forward_intermediates(images, indices=2, intermediates_only=True)[0]  # type: ignore[operator]
        )
        return maps


@dataclass(frozen=True)
class DelgOptions:
    """Options of DELG, and their only defaults.

    Attributes:
        backbone: timm's name for the backbone.
        weights: Weights of the trunk, as in `TimmGeMOptions.weights`: "hub", "none:SEED" or a file.
        local_weights: A .safetensors file of the local head; None: random with seed 0, for tests.
        dim: Dimensions of the descriptors.
        max_keypoints: Maximum number of features over all scales; those with the highest attention are kept.
        max_side_px: Longer side of the resized image at scale 1.
        min_score: Minimum attention.
        scales: Scales of the image pyramid.

    Raises:
        ConfigError: An option is invalid.
    """

    backbone: str = "resnet50"
    weights: str = "hub"
    local_weights: str | None = None
    dim: int = 128
    max_keypoints: int = 1000
    max_side_px: int = 640
    min_score: float = 0.1
    scales: tuple[float, ...] = SCALES

    def __post_init__(self) -> None:
        check_whole(dim=self.dim, max_keypoints=self.max_keypoints, max_side_px=self.max_side_px)
        if not self.scales:
            raise ConfigError("scales=(): give at least one scale")
        scales = {f"scales[{i}]": scale for i, scale in enumerate(self.scales)}
        check_positive(min_score=self.min_score, **scales)


class Delg:
    """DELG local features [Cao et al. 2020, arXiv:2001.05027].

    Args:
        device: "auto", "cpu" or "cuda".
        **options: Those of `DelgOptions`.

    Raises:
        ConfigError: An option is invalid, or there is no such device.
        InputError: timm has no such backbone, or it has no feature maps.
        WeightsError: The weights are missing or do not fit.
    """

    def __init__(self, *, device: str = "auto", **options: object) -> None:
        chosen = parse_config(options, DelgOptions, source="delg")
        self.dim = chosen.dim
        self.image_options = ImageOptions(max_side_px=chosen.max_side_px)
        self._device = choose_device(device)
        self._max_keypoints, self._min_score, self._scales = (
            chosen.max_keypoints,
            chosen.min_score,
            chosen.scales,
        )
        network = build_delg(chosen.backbone, chosen.weights, chosen.local_weights, chosen.dim)
        digest = digest_state(network.state_dict())
        self.provenance = Provenance.from_options("delg", asdict(chosen), digest)
        self.network = network.eval().to(self._device)
        traits = network.global_branch.traits
        self._mean, self._std = (
            torch.tensor(values, device=self._device).view(1, 3, 1, 1) for values in (traits.mean, traits.std)
        )

    @torch.inference_mode()
    def extract(self, image: UInt8Array) -> LocalFeatures:
        """Find the features of an image (H, W, 3) uint8 RGB; see `LocalExtractor.extract`.

        A feature's scale is the side of its cell.

        Raises:
            InputError: The image has another shape or dtype.
        """
        pixels = (to_pixels(image, self._device) - self._mean) / self._std
        levels = [self._extract_level(pixels, scale) for scale in self._scales]
        keypoints, descriptors, scores, sizes = (torch.cat(parts) for parts in zip(*levels, strict=True))
        kept = torch.nonzero((scores >= self._min_score) & lies_within(keypoints, image))[:, 0]
        order = torch.sort(scores[kept], descending=True, stable=True).indices
        best = kept[order[: self._max_keypoints]]
        return to_features(keypoints[best], descriptors[best], scores[best], image, scales=sizes[best])

    def _extract_level(self, pixels: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Describe all cells at one scale.

        Returns:
            (K, 2) keypoints, px of `pixels`; (K, D) descriptors; (K,) attention; (K,) cell sides, px.
        """
        sides = pixels.new_tensor([pixels.shape[3], pixels.shape[2]])
        resized = _resize(pixels, scale)
        enlargement = sides / sides.new_tensor([resized.shape[3], resized.shape[2]])
        maps = self.network.find_local(resized)
        stride_px = self.network.stride_px
        keypoints = (stride_px * list_cells(maps.attention) + 0.5) * enlargement - 0.5
        descriptors = functional.normalize(maps.descriptors[0].flatten(1).T, dim=1)
        sizes = keypoints.new_full((len(keypoints),), stride_px * float(enlargement.prod().sqrt()))
        return keypoints, descriptors, maps.attention.flatten(), sizes


def build_delg(backbone: str, weights: str, local_weights: str | None, dim: int) -> DelgNetwork:
    """Build the network and load its weights, on the CPU.

    Raises:
        InputError: timm has no such backbone, or it has no feature maps.
        WeightsError: The weights are missing or do not fit.
    """
    global_branch = build_network(backbone, TimmGeMOptions(weights=weights))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DelgNetwork(global_branch, dim)
    if local_weights is not None:
        state = read_state_dict(Path(local_weights))
        check_fit(network.local_head.state_dict(), state, local_weights)
        network.local_head.load_state_dict(state)
    return network


def save_delg(
    network: DelgNetwork, options: Mapping[str, object], folder: Path, *, with_trunk: bool = False
) -> None:
    """Write a checkpoint: the local head, and the options to call `Delg` with.

    Args:
        network: The network.
        options: Options of `Delg`; `weights` are those of the trunk.
        folder: Folder to write to; created if missing.
        with_trunk: Write the trunk's weights too, for a machine without them.
    """
    options = {name: value for name, value in options.items() if name != "local_weights"}
    with replacing(folder / HEAD_NAME) as part:
        save_file(_tensors(network.local_head), part)
    if with_trunk:
        options["weights"] = "trunk.safetensors"
        with replacing(folder / "trunk.safetensors") as part:
            save_file(_tensors(network.global_branch), part)
    elif Path(str(options["weights"])).is_file():
        options["weights"] = str(Path(str(options["weights"])).absolute())
    write_text(folder / LIST_NAME, json.dumps({"local_extractor": "delg", "options": options}, indent=2))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}


def list_cells(feature_map: Tensor) -> Tensor:
    """List the cells of (1, C, h, w) in reading order: (h w, 2) float32 column, row.

    Convolutions padded by half their kernel put the centre of cell (i, j) on pixel (stride i, stride j).
    """
    height, width = feature_map.shape[-2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([column.flatten(), row.flatten()], dim=1).float().to(feature_map.device)


def _resize(pixels: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return pixels
    size = [max(1, round(side * scale)) for side in pixels.shape[-2:]]
    return functional.interpolate(pixels, size=size, mode="bilinear", antialias=scale < 1)
